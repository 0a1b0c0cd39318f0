//! From the client's errors to the transport's.

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

/// No connection could be made.
pub(crate) fn of_connect(source: ConnectError) -> TransportError {
    let (kind, context) = match source.kind() {
        ConnectErrorKind::ServerParse => (ErrorKind::Invalid, "the address of a server is none"),
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => (
            ErrorKind::Invalid,
            "the server does not let us in; check the settings `user` and `token`",
        ),
        ConnectErrorKind::Tls => (
            ErrorKind::Invalid,
            "TLS failed; check `root_certificate`, the host in the address, and whether the \
             server asks for a `client_certificate`",
        ),
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
