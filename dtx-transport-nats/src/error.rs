//! From the client's errors to the transport's.

use std::{error::Error, io};

use async_nats::{ConnectError, ConnectErrorKind};
use dtx_core::error::{ErrorKind, TransportError};

/// The product name in infos and errors.
pub(crate) const NAME: &str = "nats";

pub(crate) fn error(kind: ErrorKind, operation: &'static str) -> TransportError {
    TransportError::new(kind, NAME, operation)
}

pub(crate) fn invalid(operation: &'static str, context: impl Into<String>) -> TransportError {
    error(ErrorKind::Invalid, operation).with_context(context)
}

pub(crate) fn closed(operation: &'static str) -> TransportError {
    error(ErrorKind::Closed, operation)
}

const TLS_FAILED: &str = "TLS failed; check `root_certificate`, the host in the address, and \
                          whether the server asks for a `client_certificate`";

/// Whether an error comes from TLS.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    // An error of input and output has no source but what it was made of.
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_tls(inner)) || error.source().is_some_and(is_tls)
}

/// No connection could be made.
pub(crate) fn of_connect(source: ConnectError) -> TransportError {
    let (kind, context) = match source.kind() {
        ConnectErrorKind::ServerParse => (ErrorKind::Invalid, "the address of a server is none"),
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => (
            ErrorKind::Invalid,
            "the server does not let us in; check the settings `user` and `token`",
        ),
        // A handshake that fails is an error of input and output to the client.
        ConnectErrorKind::Io if is_tls(&source) => (ErrorKind::Invalid, TLS_FAILED),
        ConnectErrorKind::Tls => (ErrorKind::Invalid, TLS_FAILED),
        ConnectErrorKind::Dns => {
            (ErrorKind::Unavailable, "the host in the address of a server has no address")
        }
        ConnectErrorKind::TimedOut => (
            ErrorKind::Unavailable,
            "no server answered within `connect_timeout`; check the addresses",
        ),
        ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            (ErrorKind::Unavailable, "no server can be reached; check the addresses")
        }
    };
    error(kind, "connect").with_context(context).with_source(source)
}
