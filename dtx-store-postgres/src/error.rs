//! From the errors of sqlx and the codes of the server to the store's errors.

use std::time::Duration;

use dtx_core::error::{Effect, ErrorKind, StoreError};

pub(crate) const NAME: &str = "postgres";

/// The codes of the server after which the same statement may succeed at once: it met another
/// one, and has changed nothing.
const AGAIN: [&str; 2] = ["40001", "40P01"];

/// Why a call failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) effect: Effect,
    context: String,
    again: bool,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, effect: Effect, context: impl Into<String>) -> Self {
        Self { kind, effect, context: context.into(), again: false }
    }

    /// Whether the same call may succeed at once.
    pub(crate) fn again(&self) -> bool {
        self.again
    }

    pub(crate) fn into_error(self, operation: &'static str) -> StoreError {
        StoreError::new(self.kind, NAME, operation)
            .with_effect(self.effect)
            .with_context(self.context)
    }

    /// No answer within this time.
    pub(crate) fn late(after: Duration, effect: Effect) -> Self {
        let context = format!("no answer within {} ms", after.as_millis());
        Self::new(ErrorKind::Timeout, effect, context)
    }

    /// A failure to get a connection: nothing was sent.
    pub(crate) fn of_connecting(error: &sqlx::Error) -> Self {
        let mut failure = Self::of(error, Effect::None);
        // A refused connection says nothing about the statement that it was wanted for.
        failure.effect = Effect::None;
        failure
    }

    /// A failure of a statement that, had it reached the server, would have had this effect.
    pub(crate) fn of(error: &sqlx::Error, effect: Effect) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default().into_owned();
                let (kind, certain) = of_code(&code);
                Self {
                    kind,
                    effect: if certain { Effect::None } else { effect },
                    context: format!("{} (SQLSTATE {code})", error.message()),
                    again: AGAIN.contains(&code.as_str()),
                }
            }
            sqlx::Error::PoolTimedOut => {
                let context = "no connection became free in time";
                Self::new(ErrorKind::Unavailable, Effect::None, context)
            }
            sqlx::Error::PoolClosed => {
                Self::new(ErrorKind::Closed, Effect::None, "the store was closed")
            }
            sqlx::Error::Configuration(_) => {
                Self::new(ErrorKind::Invalid, Effect::None, error.to_string())
            }
            // Not said what was wrong with it beyond this: an error of a row may show its content.
            sqlx::Error::ColumnDecode { index, .. } => {
                let context = format!("column {index} cannot be read");
                Self::new(ErrorKind::Corrupt, Effect::None, context)
            }
            sqlx::Error::Io(io) if let Some(setting) = of_certificate(io) => {
                let context = format!("{setting}: {io}");
                Self::new(ErrorKind::Unavailable, effect, context)
            }
            sqlx::Error::Tls(_) => Self::new(ErrorKind::Unavailable, effect, chain(error)),
            _ => Self::new(ErrorKind::Unavailable, effect, error.to_string()),
        }
    }
}

/// Which setting a certificate did not fit, if that is what was wrong.
fn of_certificate(error: &std::io::Error) -> Option<&'static str> {
    use rustls::{CertificateError as Wrong, Error};
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(
            Wrong::NotValidForName | Wrong::NotValidForNameContext { .. },
        ) => Some("host: the certificate of the server is not of the host in the URL"),
        Error::InvalidCertificate(_) => Some(
            "sslrootcert: the certificate of the server is not of an authority that is trusted",
        ),
        _ => None,
    }
}

/// An error with what is below it: what was wrong with a certificate stands there.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        below = error.source();
    }
    text
}

/// What a code of the server means, and whether it is certain that nothing was changed.
fn of_code(code: &str) -> (ErrorKind, bool) {
    match (code.get(..2).unwrap_or_default(), code) {
        (_, code) if AGAIN.contains(&code) => (ErrorKind::Unavailable, true),
        // Cancelled, also by its own time-out. A commit that waits for a standby is not: the server
        // says that it is done.
        (_, "57014") => (ErrorKind::Timeout, false),
        // The server ends, or the connection does; a commit may have been under way.
        ("57" | "08", _) => (ErrorKind::Unavailable, false),
        // Too many connections, no memory, no disk, or a lock that did not come.
        ("53" | "55", _) => (ErrorKind::Unavailable, true),
        // Became a standby.
        (_, "25006") => (ErrorKind::Unavailable, true),
        // Who we are, what we may, and what is not there.
        ("28" | "3D" | "3F" | "42", _) => (ErrorKind::Invalid, true),
        ("0A", _) => (ErrorKind::Unsupported, true),
        ("XX", "XX001" | "XX002") => (ErrorKind::Corrupt, true),
        _ => (ErrorKind::Internal, true),
    }
}

pub(crate) fn invalid(operation: &'static str, context: impl Into<String>) -> StoreError {
    StoreError::new(ErrorKind::Invalid, NAME, operation).with_context(context)
}

pub(crate) fn corrupt(operation: &'static str, context: impl Into<String>) -> StoreError {
    StoreError::new(ErrorKind::Corrupt, NAME, operation).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_can_be_done_and_what_is_certain() {
        assert_eq!(of_code("40001"), (ErrorKind::Unavailable, true));
        assert_eq!(of_code("57P01"), (ErrorKind::Unavailable, false));
        assert_eq!(of_code("57014"), (ErrorKind::Timeout, false));
        assert_eq!(of_code("53300"), (ErrorKind::Unavailable, true));
        assert_eq!(of_code("28P01"), (ErrorKind::Invalid, true));
        assert_eq!(of_code("42P01"), (ErrorKind::Invalid, true));
        assert_eq!(of_code("XX001"), (ErrorKind::Corrupt, true));
        assert_eq!(of_code(""), (ErrorKind::Internal, true));
    }

    #[test]
    fn a_lost_connection_leaves_the_effect_open_and_a_refused_one_does_not() {
        let lost = || sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(Failure::of(&lost(), Effect::Unknown).effect, Effect::Unknown);
        assert_eq!(Failure::of_connecting(&lost()).effect, Effect::None);
        assert_eq!(Failure::of(&sqlx::Error::PoolTimedOut, Effect::Unknown).effect, Effect::None);
    }
}
