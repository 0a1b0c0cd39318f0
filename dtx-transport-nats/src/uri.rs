//! Addresses of servers.

use std::str::FromStr;

use async_nats::ServerAddr;
use dtx_core::error::TransportError;

use crate::error::invalid;

/// What an address says. No part of it is shown in errors: it may have a password.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) server: ServerAddr,
    pub(crate) is_tls: bool,
    /// User and password.
    pub(crate) login: Option<(String, String)>,
    pub(crate) prefix: Option<String>,
}

impl FromStr for Address {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Self, TransportError> {
        let not_one = |why: &str| {
            let form = "nats://[user:password@]host[:port][?prefix=NAME], or tls:// for TLS";
            invalid("connect", format!("the address of a server is {form}; {why}"))
        };
        let (text, query) = text.split_once('?').unwrap_or((text, ""));
        let address = ServerAddr::from_str(text).map_err(|_| not_one("this is none"))?;
        if !matches!(address.scheme(), "nats" | "tls") {
            return Err(not_one("it begins otherwise"));
        }
        if address.host().is_empty() {
            return Err(not_one("it has no host"));
        }
        let decoded = |text: Option<&str>| {
            decode(text.unwrap_or_default()).ok_or_else(|| not_one("it has a wrong % in it"))
        };
        let login = match address.username() {
            None => None,
            user => Some((decoded(user)?, decoded(address.password())?)),
        };
        let mut prefix = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("prefix", name)) => prefix = Some(name.to_owned()),
                _ => return Err(not_one("it asks for something else")),
            }
        }
        let host = address.host();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let plain = format!("{}://{host}:{}", address.scheme(), address.port());
        let server = ServerAddr::from_str(&plain).map_err(|_| not_one("this is none"))?;
        Ok(Self { server, is_tls: address.scheme() == "tls", login, prefix })
    }
}

/// Without the percent signs.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        bytes.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn an_address_has_a_host_and_maybe_more() {
        let full = address("tls://me:p%40ss%2B+@example.org:7000?prefix=shop");
        assert!(full.is_tls);
        assert_eq!(full.login, Some(("me".to_owned(), "p@ss++".to_owned())));
        assert_eq!(full.prefix.as_deref(), Some("shop"));
        assert_eq!(full.server.as_url_str().trim_end_matches('/'), "tls://example.org:7000");
        let plain = address("nats://[::1]");
        assert_eq!((plain.is_tls, plain.server.port(), plain.server.host()), (false, 4222, "::1"));
        assert!(plain.login.is_none());
    }

    #[test]
    fn no_error_shows_a_password() {
        for bad in [
            "http://me:hunter2@h",
            "nats://me:hunter2@",
            "nats://me:hunter2%ZZ@h",
            "nats://me:hunter2%+1@h",
            "nats://me:hunter2@h?x=1",
            "ws://me:hunter2@h",
        ] {
            let error = bad.parse::<Address>().map(|_| ()).expect_err(bad);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
