//! Which store and which transport, as people write them.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use dtx::{OpenError, transport::Transport};
use thiserror::Error;

/// Where transactions and the rows of the participants are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// In this process: gone when it ends.
    Memory,
    /// In a redb file.
    Redb(PathBuf),
    /// On a PostgreSQL server.
    Postgres(ServerUrl),
    /// On a Redis server or a cluster of them.
    Redis(ServerUrl),
}

/// The URL of a server, whose password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The URL with its password.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    /// Without what stands between the user and the host, and without what follows a `?`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.0.split(['?', '#']).next().unwrap_or_default();
        let (scheme, rest) = plain.split_once("://").unwrap_or(("server", plain));
        match rest.rsplit_once('@') {
            Some((who, place)) => {
                let user = who.split(':').next().unwrap_or_default();
                let hidden = if who.contains(':') { ":***" } else { "" };
                write!(f, "{scheme}://{user}{hidden}@{place}")
            }
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What carries the messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TransportAddress {
    /// Inside this process.
    #[default]
    InMemory,
    /// Through brokers of Kafka.
    Kafka(ServerUrl),
    /// Through a server of NATS.
    Nats(ServerUrl),
}

impl TransportAddress {
    /// Opens the transport.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Cancel safety
    /// As [`dtx::open_transport`].
    pub async fn open(&self) -> Result<Arc<dyn Transport>, OpenError> {
        match self {
            Self::InMemory => dtx::open_transport("inmem").await,
            Self::Kafka(url) | Self::Nats(url) => dtx::open_transport(url.expose()).await,
        }
    }
}

/// A text that names no store or no transport.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// No store is written so.
    #[error(
        "{0:?} is no store; give memory or redb:PATH, such as redb:shop.redb, or \
         postgres://USER@HOST/DATABASE or redis://HOST:PORT"
    )]
    Store(String),
    /// No transport is written so.
    #[error("{0:?} is no transport; give inmem, kafka://HOST:PORT or nats://HOST:PORT")]
    Transport(String),
}

impl FromStr for StoreAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("redb", path)) if !path.is_empty() => Ok(Self::Redb(path.into())),
            Some(("postgres" | "postgresql", rest)) if rest.len() > 2 && rest.starts_with("//") => {
                Ok(Self::Postgres(ServerUrl(text.to_owned())))
            }
            Some(("redis" | "rediss", rest)) if rest.len() > 2 && rest.starts_with("//") => {
                Ok(Self::Redis(ServerUrl(text.to_owned())))
            }
            // What looks like a URL may hold a password.
            _ => Err(AddressError::Store(before_slashes(text))),
        }
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Redb(path) => write!(f, "redb:{}", path.display()),
            Self::Postgres(url) | Self::Redis(url) => url.fmt(f),
        }
    }
}

impl FromStr for TransportAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once("://") {
            None if text == "inmem" => Ok(Self::InMemory),
            Some(("kafka", rest)) if !rest.is_empty() => {
                Ok(Self::Kafka(ServerUrl(text.to_owned())))
            }
            Some(("nats" | "tls", rest)) if !rest.is_empty() => {
                Ok(Self::Nats(ServerUrl(text.to_owned())))
            }
            _ => Err(AddressError::Transport(before_slashes(text))),
        }
    }
}

fn before_slashes(text: &str) -> String {
    text.split("//").next().unwrap_or_default().to_owned()
}

impl fmt::Display for TransportAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InMemory => f.write_str("inmem"),
            Self::Kafka(url) | Self::Nats(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        let servers =
            ["postgres://h", "postgresql://ann@h:1/d", "redis://h:1", "rediss://ann@h:1/2"];
        for text in ["memory", "redb:a.redb", "redb:/x/a:b.redb"].into_iter().chain(servers) {
            assert_eq!(text.parse::<StoreAddress>().expect(text).to_string(), text);
        }
        for text in ["", "redb", "redb:", "Memory", "postgres:x", "redis:x"] {
            assert_eq!(text.parse::<StoreAddress>(), Err(AddressError::Store(text.to_owned())));
        }
        let wrong = "postgre://ann:s3cret@h".parse::<StoreAddress>().expect_err("it is wrong");
        assert!(!wrong.to_string().contains("s3cret"), "{wrong}");
        assert_eq!("inmem".parse(), Ok(TransportAddress::InMemory));
        for text in ["kafka://h:1,i:2", "nats://h", "tls://ann@h:1"] {
            assert_eq!(text.parse::<TransportAddress>().expect(text).to_string(), text);
        }
        for text in ["", "nats", "nats:h", "kafka://", "amqp://ann:s3cret@h"] {
            let wrong = text.parse::<TransportAddress>().expect_err(text);
            assert!(!wrong.to_string().contains("s3cret"), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://ann:s3cret@h:1/d",
            "postgres://ann:s3@cret@h:1/d",
            "postgres://ann:s3cret@h:1/d?password=s3cret",
        ] {
            let address: StoreAddress = url.parse().expect("it is a store");
            let shown = format!("{address} {address:?}");
            assert!(shown.contains("postgres://ann:***@h:1/d"), "{shown}");
            assert!(!shown.contains("s3cret") && !shown.contains("cret@"), "{shown}");
        }
    }
}
