//! A database transaction of the caller's, in which a store can write.

use async_trait::async_trait;

use crate::store::{CommitResult, StateStore, TxWrite};

/// A store that can write over a connection of the caller's, which has an open transaction.
#[async_trait]
pub trait CallerStore: StateStore {
    /// The connection.
    type Connection: Send;

    /// Accepts a transaction as a part of the caller's own: it is there once that has committed,
    /// and never was if it does not. `Failed` when no transaction is open.
    async fn accept_over(&self, connection: &mut Self::Connection, write: TxWrite) -> CommitResult;
}
