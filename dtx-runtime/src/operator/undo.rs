//! Undo without a coordinator: the reversing transaction is accepted for whoever owns its shard.

use dtx_core::{
    engine::accept_write,
    error::StoreError,
    ids::TxId,
    store::CommitResult,
    transaction::{Transaction, UndoPlanError, undo_key},
};
use thiserror::Error;

use super::{Operator, access::fresh_write_id};
use crate::coordinator::{SignalError, SubmitError};

/// How often the accept is tried again when its fate is unknown.
const ATTEMPTS_MAX: usize = 5;

/// A reversal that was not started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UndoError {
    /// The store has no such transaction.
    #[error("transaction {0} is unknown")]
    Unknown(TxId),
    /// Whoever reverses something must say why.
    #[error("an undo needs a reason")]
    NoReason,
    /// It cannot be reversed.
    #[error("transaction {0} cannot be undone")]
    Plan(TxId, #[source] UndoPlanError),
    /// The reversing transaction was not accepted.
    #[error("the reversing transaction was not accepted")]
    Submit(#[from] SubmitError),
    /// The store failed.
    #[error("the store did not take the reversing transaction")]
    Store(#[from] StoreError),
}

/// A reversal that is under way, or was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The reversing transaction.
    pub tx: TxId,
    /// Whether this call started it.
    pub is_new: bool,
}

/// What is to be done for an undo.
pub(crate) enum UndoPlan {
    /// It was started before.
    Known(TxId),
    /// This reverses it.
    Start(Box<Transaction>),
}

impl Operator {
    /// Starts the one transaction that reverses a committed one, linked to it by `undo_of`. It is
    /// accepted when this returns; the owner of its shard finds it on its next look.
    ///
    /// # Errors
    /// [`UndoError`].
    ///
    /// # Idempotency
    /// A transaction is reversed once: a further call names the same reversing transaction,
    /// whatever became of it.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the reversal started.
    pub async fn undo(&self, tx: TxId, by: &str, reason: &str) -> Result<Undone, UndoError> {
        let transaction = match self.plan_undo(tx, by, reason).await? {
            UndoPlan::Known(tx) => return Ok(Undone { tx, is_new: false }),
            UndoPlan::Start(transaction) => transaction,
        };
        let id = new_id();
        let write_id = fresh_write_id();
        let mut failed = None;
        for _ in 0..ATTEMPTS_MAX {
            let now = self.store.now().await?;
            let write = accept_write(&transaction, id, write_id, now, self.settings.deadline);
            match self.store.commit(&[write]).await.pop() {
                Some(CommitResult::Committed(_)) => return Ok(Undone { tx: id, is_new: true }),
                Some(CommitResult::DuplicateKey { tx }) => {
                    return Ok(Undone { tx, is_new: false });
                }
                // The same write settles it (rule 9).
                Some(CommitResult::Failed(error)) => failed = Some(error),
                // The id was taken by the owner meanwhile: it landed, and was written to.
                _ => return Ok(Undone { tx: id, is_new: true }),
            }
        }
        Err(failed.map_or(UndoError::Unknown(tx), UndoError::Store))
    }

    pub(crate) async fn plan_undo(
        &self,
        tx: TxId,
        by: &str,
        reason: &str,
    ) -> Result<UndoPlan, UndoError> {
        if reason.is_empty() {
            return Err(UndoError::NoReason);
        }
        if let Some(known) = self.catalog.by_key(&undo_key(tx)).await? {
            return Ok(UndoPlan::Known(known));
        }
        let record = match self.record(tx).await {
            Ok(record) => record,
            Err(SignalError::Store(error)) => return Err(UndoError::Store(error)),
            Err(_) => return Err(UndoError::Unknown(tx)),
        };
        let plan = self.reversals.plan(&record, by, reason);
        let transaction = plan.map_err(|error| UndoError::Plan(tx, error))?;
        Ok(UndoPlan::Start(Box::new(transaction)))
    }
}

/// An id for whoever owns no shard.
pub(crate) fn new_id() -> TxId {
    let random = uuid::Uuid::new_v4();
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&random.as_bytes()[..10]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    TxId::from_parts(millis, bytes)
}
