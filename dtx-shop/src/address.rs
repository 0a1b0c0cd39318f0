//! Which store and which transport, as people write them.

use std::{fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

/// Where transactions and the rows of the participants are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// In this process: gone when it ends.
    Memory,
    /// In a redb file.
    Redb(PathBuf),
}

/// What carries the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportAddress {
    /// Inside this process.
    #[default]
    InMemory,
}

/// A text that names no store or no transport.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// No store is written so.
    #[error("{0:?} is no store; give memory or redb:PATH, such as redb:shop.redb")]
    Store(String),
    /// No transport is written so.
    #[error("{0:?} is no transport; give inmem")]
    Transport(String),
}

impl FromStr for StoreAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("redb", path)) if !path.is_empty() => Ok(Self::Redb(path.into())),
            _ => Err(AddressError::Store(text.to_owned())),
        }
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Redb(path) => write!(f, "redb:{}", path.display()),
        }
    }
}

impl FromStr for TransportAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text {
            "inmem" => Ok(Self::InMemory),
            _ => Err(AddressError::Transport(text.to_owned())),
        }
    }
}

impl fmt::Display for TransportAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InMemory => f.write_str("inmem"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["memory", "redb:a.redb", "redb:/x/a:b.redb"] {
            assert_eq!(text.parse::<StoreAddress>().expect(text).to_string(), text);
        }
        for text in ["", "redb", "redb:", "Memory", "postgres:x"] {
            assert_eq!(text.parse::<StoreAddress>(), Err(AddressError::Store(text.to_owned())));
        }
        assert_eq!("inmem".parse(), Ok(TransportAddress::InMemory));
        assert!("nats".parse::<TransportAddress>().is_err());
    }
}
