//! Transactions that begin as a part of the caller's own database transaction.

use std::any::Any;

use dtx_core::{
    engine::accept_write,
    ids::TxId,
    store::{CallerStore, CommitResult},
    transaction::Transaction,
};

use super::{dtx::Dtx, error::SubmitError};
use crate::operator::{fresh_write_id, new_id};

impl Dtx {
    /// Begins a transaction as a part of the caller's own: `connection` has an open transaction
    /// in the database of this coordinator's store, whose type is `S`. The transaction is there
    /// when that commits, and its owner finds it on its next look; if it does not commit, it
    /// never was.
    /// [`attach`](Self::attach) waits for the outcome then.
    ///
    /// # Errors
    /// [`SubmitError`]; `OtherStore` when the store is not of that type. After an error of
    /// the store, roll the caller's transaction back.
    ///
    /// # Idempotency
    /// With a key, the same transaction begun again is the same transaction. Whoever comes with
    /// the same key meanwhile waits for the end of the caller's transaction.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the caller's transaction in an unknown state: roll it back.
    pub async fn begin_over<S: CallerStore>(
        &self,
        connection: &mut S::Connection,
        transaction: Transaction,
    ) -> Result<TxId, SubmitError> {
        self.check(&transaction)?;
        let shared = &self.inner.shared;
        let store: &dyn Any = self.inner.store.as_ref();
        let store = store.downcast_ref::<S>().ok_or(SubmitError::OtherStore)?;
        let tx = shared.new_id().unwrap_or_else(new_id);
        let now = shared.store.now().await.map_err(SubmitError::Store)?;
        let deadline = shared.settings.engine.deadline;
        let write = accept_write(&transaction, tx, fresh_write_id(), now, deadline);
        match store.accept_over(connection, write).await {
            CommitResult::Committed(_) => Ok(tx),
            CommitResult::DuplicateKey { tx } => {
                self.check_same(tx, Some(&transaction)).await?;
                Ok(tx)
            }
            CommitResult::Failed(error) => Err(SubmitError::Store(error)),
            // Nobody else has the id of a transaction that is not there yet.
            CommitResult::Conflict { .. } | CommitResult::Fenced => Err(SubmitError::Lost(tx)),
        }
    }
}
