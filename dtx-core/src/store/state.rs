//! The traits of a coordinator's store.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::StoreError,
    ids::{HolderId, ShardCount, ShardId, TxId},
    store::{
        CommitResult, Cursor, Filter, JournalEntry, Lease, LeaseRequest, OpenPage, Page, Purge,
        TxRecord, TxWrite,
    },
    time::Timestamp,
};

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Not even the end of the process.
    Nothing,
    /// The crash of the store's process, but not of its machine.
    ProcessCrash,
    /// The loss of power.
    PowerLoss,
}

/// What a store offers beyond the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreCapabilities {
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// Whether several processes may use it at once.
    pub shared: bool,
}

/// What a store takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreLimits {
    /// The most writes in one `commit`.
    pub batch_writes_max: usize,
    /// The largest definition or state, in bytes.
    pub value_bytes_max: usize,
}

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// Its product name, such as `redb`.
    pub name: &'static str,
    /// What it offers.
    pub capabilities: StoreCapabilities,
    /// What it takes.
    pub limits: StoreLimits,
    /// How many commits it takes side by side.
    pub lanes: usize,
    /// How many shards it has.
    pub shards: ShardCount,
    /// The id of this opening where one process owns the store: every lease and every claim of
    /// another opening has ended. `None` where several processes share the store.
    pub opening: Option<HolderId>,
}

/// The durable memory of coordinators.
///
/// All methods are cancel safe in that dropping the future leaves the store sound, but a dropped
/// `commit` may still take effect: repeat it with the same ids.
#[async_trait]
pub trait StateStore: Debug + Send + Sync + 'static {
    /// What the store says of itself. No I/O.
    fn info(&self) -> &StoreInfo;

    /// The store's clock: microseconds since the Unix epoch, never going back.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Writes a batch. Each item is atomic by itself and sees the items before it; all that are
    /// `Committed` are durable on return. One result per write, in order.
    ///
    /// # Contract
    /// Exactly the decisions of [`evaluate`](crate::store::evaluate).
    ///
    /// # Idempotency
    /// The row keeps the id of its last write; the same write again answers `Committed` with the
    /// same version and changes nothing.
    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult>;

    /// The newest durable records, in order; `None` where there is none.
    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError>;

    /// Open transactions of a shard that are due at or before `due_before`, the earliest first.
    async fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<OpenPage, StoreError>;

    /// Takes the wanted shards that are free, whose lease has ended on the store's clock, or that
    /// the holder has already (then the epoch stays). The answer holds only what was granted.
    async fn acquire(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError>;

    /// Prolongs leases by their `ttl`. The answer holds only those that are still the newest of
    /// their shard; the others are lost.
    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError>;

    /// Gives leases back at once. Idempotent; a lease that is lost already is no error.
    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError>;
}

/// What people ask of a store. Never on the path of a transaction.
#[async_trait]
pub trait Catalog: Debug + Send + Sync + 'static {
    /// Transactions, the newest first.
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError>;

    /// Everything that is recorded of a transaction, the oldest first.
    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError>;

    /// The transaction of a caller's key.
    async fn by_key(&self, key: &crate::transaction::Key) -> Result<Option<TxId>, StoreError>;

    /// Forgets finished transactions and, after their own retention, their keys. Says how many
    /// transactions were forgotten; fewer than the limit means that nothing is left.
    async fn purge(&self, purge: &Purge) -> Result<u64, StoreError>;
}
