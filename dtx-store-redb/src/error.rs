//! From redb's errors to the store's.

use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    ids::TxId,
};
use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

pub(crate) const NAME: &str = "redb";

/// An error of redb below one call.
#[derive(Debug)]
pub(crate) struct Failure(redb::Error);

macro_rules! from {
    ($($type:ty),*) => {
        $(impl From<$type> for Failure {
            fn from(error: $type) -> Self {
                Self(error.into())
            }
        })*
    };
}
from!(StorageError, TableError, TransactionError, CommitError);

impl Failure {
    /// The error of a call that changed nothing, or of one whose effect is unknown.
    pub(crate) fn into_error(self, operation: &'static str, effect: Effect) -> StoreError {
        let kind = match &self.0 {
            redb::Error::Corrupted(_) => ErrorKind::Corrupt,
            redb::Error::DatabaseClosed => ErrorKind::Closed,
            _ => ErrorKind::Internal,
        };
        StoreError::new(kind, NAME, operation).with_effect(effect).with_source(self.0)
    }

    /// The error of a read.
    pub(crate) fn of_read(self, operation: &'static str) -> StoreError {
        self.into_error(operation, Effect::None)
    }
}

pub(crate) fn invalid(operation: &'static str, context: impl Into<String>) -> StoreError {
    StoreError::new(ErrorKind::Invalid, NAME, operation).with_context(context)
}

pub(crate) fn closed(operation: &'static str, effect: Effect) -> StoreError {
    StoreError::new(ErrorKind::Closed, NAME, operation)
        .with_effect(effect)
        .with_context("the store was closed")
}

/// A record that cannot be read. It stays where it is for an operator.
pub(crate) fn unreadable(operation: &'static str, tx: TxId) -> StoreError {
    StoreError::new(ErrorKind::Corrupt, NAME, operation)
        .with_context(format!("the record of transaction {tx} cannot be read"))
}

/// Why a file could not be opened.
pub(crate) fn of_open(error: DatabaseError, path: &std::path::Path) -> StoreError {
    let file = path.display();
    let (kind, context) = match &error {
        DatabaseError::DatabaseAlreadyOpen => {
            (ErrorKind::Busy, format!("{file} is owned by another store; one at a time may write"))
        }
        DatabaseError::LockProtocolMismatch => {
            (ErrorKind::Busy, format!("{file} is in use by a program with another redb"))
        }
        DatabaseError::UpgradeRequired(_) => {
            (ErrorKind::Unsupported, format!("{file} has an older format of redb"))
        }
        DatabaseError::Storage(StorageError::Corrupted(_)) => {
            (ErrorKind::Corrupt, format!("{file} is damaged or is no redb file"))
        }
        _ => (ErrorKind::Unavailable, format!("{file} cannot be opened")),
    };
    StoreError::new(kind, NAME, "open").with_context(context).with_source(error)
}
