//! From the client's errors to the store's.

use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    ids::TxId,
};
use redis::{ErrorKind as RedisKind, RedisError, ServerErrorKind};

pub(crate) const NAME: &str = "redis";

/// A call that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What the client says.
    pub(crate) error: RedisError,
    /// Whether the server may have done it.
    pub(crate) effect: Effect,
}

impl Failure {
    /// Nothing was sent, or the server refused it before it did anything.
    pub(crate) fn refused(error: RedisError) -> Self {
        Self { error, effect: Effect::None }
    }

    /// It was sent and no answer came.
    pub(crate) fn lost(error: RedisError) -> Self {
        Self { error, effect: Effect::Unknown }
    }

    /// The server answers with an error. What it says before it runs anything changed nothing; an
    /// error of a script may have come half-way.
    pub(crate) fn of_server(error: RedisError) -> Self {
        let before = match error.kind() {
            RedisKind::Server(kind) => kind != ServerErrorKind::ResponseError,
            RedisKind::AuthenticationFailed => true,
            _ => matches!(error.code(), Some("OOM" | "MISCONF" | "NOREPLICAS" | "BUSY" | "NOAUTH")),
        };
        if before { Self::refused(error) } else { Self::lost(error) }
    }

    /// An answer of another shape than the script's.
    pub(crate) fn strange() -> Self {
        Self::lost((RedisKind::UnexpectedReturnType, "an answer of an unknown shape").into())
    }

    /// The error of a call that writes.
    pub(crate) fn of_write(&self, operation: &'static str) -> StoreError {
        let kind = match self.error.kind() {
            _ if self.error.is_timeout() => ErrorKind::Timeout,
            RedisKind::AuthenticationFailed
            | RedisKind::InvalidClientConfig
            | RedisKind::Server(ServerErrorKind::NoPerm) => ErrorKind::Invalid,
            RedisKind::UnexpectedReturnType
            | RedisKind::Parse
            | RedisKind::Server(ServerErrorKind::ResponseError) => ErrorKind::Internal,
            _ => ErrorKind::Unavailable,
        };
        StoreError::new(kind, NAME, operation)
            .with_effect(self.effect)
            .with_source(self.error.clone())
    }

    /// The error of a call that changes nothing.
    pub(crate) fn of_read(&self, operation: &'static str) -> StoreError {
        self.of_write(operation).with_effect(Effect::None)
    }
}

/// Settings that cannot work.
pub(crate) fn unusable(operation: &'static str, error: RedisError) -> StoreError {
    StoreError::new(ErrorKind::Invalid, NAME, operation)
        .with_context("the URL or the certificate cannot be used")
        .with_source(error)
}

pub(crate) fn invalid(operation: &'static str, context: impl Into<String>) -> StoreError {
    StoreError::new(ErrorKind::Invalid, NAME, operation).with_context(context)
}

/// A stored value that cannot be read. It stays where it is for an operator.
pub(crate) fn unreadable(operation: &'static str, what: impl std::fmt::Display) -> StoreError {
    StoreError::new(ErrorKind::Corrupt, NAME, operation)
        .with_context(format!("{what} cannot be read"))
}

pub(crate) fn unreadable_record(operation: &'static str, tx: TxId) -> StoreError {
    unreadable(operation, format_args!("the record of transaction {tx}"))
}
