//! Prepared branches: transactions that a database keeps, with their locks, until it is told
//! what was decided.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::StoreError,
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId},
    name::ParticipantName,
    store::{RowWriteResult, Unit, UnitStore},
};

/// What a prepared branch is of. A database stores it as the name of the branch, so that whoever
/// finds one can ask what was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The participant.
    pub participant: ParticipantName,
    /// The transaction.
    pub tx: TxId,
    /// The operation.
    pub operation: OperationIndex,
    /// The shard of the transaction.
    pub shard: ShardId,
    /// The epoch of the command that prepared it.
    pub epoch: Epoch,
    /// The sequence of the command that prepared it.
    pub sequence: AcceptSequence,
}

/// How a branch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchEnd {
    /// Its effect stays.
    Commit,
    /// It never was.
    RollBack,
}

/// A database that prepares: the resource manager of a two-phase commit.
///
/// # Cancel safety
/// Dropping a `prepare` or an `end` may leave it applied; `branches` shows whether it was.
#[async_trait]
pub trait BranchStore: UnitStore {
    /// Whether it can prepare at all. No I/O.
    fn check_branches(&self) -> Result<(), StoreError>;

    /// Writes the claimed row and prepares: all that was done survives any crash, keeps its locks
    /// and its claim, and is seen by nobody until the branch ends.
    async fn prepare(
        &self,
        open: <Self::Unit as Unit>::Open,
        value: Bytes,
        branch: &Branch,
    ) -> RowWriteResult;

    /// The prepared branches of a participant, or those of one of its operations.
    async fn branches(
        &self,
        participant: &ParticipantName,
        of: Option<(TxId, OperationIndex)>,
    ) -> Result<Vec<Branch>, StoreError>;

    /// Ends a branch. False when there is none: it has ended before.
    async fn end(&self, branch: &Branch, end: BranchEnd) -> Result<bool, StoreError>;
}
