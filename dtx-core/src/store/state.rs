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
/// The numbered sentences are those that the conformance suite checks, each by a case of its own.
///
/// # Cancel safety
/// **S25** All methods are cancel safe in that dropping the future leaves the store sound, but a
/// dropped `commit` may still take effect: repeat it with the same ids.
#[async_trait]
pub trait StateStore: Debug + Send + Sync + 'static {
    /// **S1** What the store says of itself: the same each time, and no I/O.
    fn info(&self) -> &StoreInfo;

    /// **S2** The store's clock: microseconds since the Unix epoch, never going back.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// **S3** Writes a batch: one result per write, in order. **S4** Each item is atomic by
    /// itself: what is refused leaves nothing. **S5** It sees the items before it. **S6** It does
    /// not depend on what becomes of the others. **S7** All that are `Committed` are durable on
    /// return.
    ///
    /// # Contract
    /// Exactly the decisions of [`evaluate`](crate::store::evaluate).
    ///
    /// # Idempotency
    /// **S8** The row keeps the id of its last write; the same write again answers `Committed`
    /// with the same version and changes nothing.
    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult>;

    /// **S9** The newest durable records, whoever wrote them. **S10** They are in the order of
    /// the ids. **S11** `None` stands where there is none.
    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError>;

    /// **S12** Open transactions of one shard. **S13** They are due at or before `due_before`.
    /// **S14** The earliest comes first. **S15** Page after page, each comes once.
    async fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<OpenPage, StoreError>;

    /// **S16** Takes the wanted shards that are free. **S17** So are those whose lease has ended
    /// on the store's clock. **S18** Those that the holder has already are prolonged and keep
    /// their epoch. **S19** The answer holds only what was granted. **S20** Each grant has a
    /// higher epoch than every one of the shard before it.
    async fn acquire(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError>;

    /// **S21** Prolongs leases by their `ttl`, from now. **S22** The answer holds only those that
    /// are still the newest of their shard; the others are lost.
    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError>;

    /// **S23** Gives leases back at once; again is no error. **S24** A lease that is lost already
    /// is no error, and that of the next holder stays.
    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError>;
}

/// What people ask of a store. Never on the path of a transaction.
#[async_trait]
pub trait Catalog: Debug + Send + Sync + 'static {
    /// **C1** Transactions, the newest first. **C2** Only those that the filter asks for.
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError>;

    /// **C3** Everything that is recorded of a transaction, the oldest first.
    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError>;

    /// **C4** The transaction of a caller's key.
    async fn by_key(&self, key: &crate::transaction::Key) -> Result<Option<TxId>, StoreError>;

    /// **C5** Forgets finished transactions of the age that was asked for. **C6** Their keys stay
    /// for their own retention. **C7** Says how many transactions were forgotten; fewer than the
    /// limit means that nothing is left. **C8** Never more than the limit.
    async fn purge(&self, purge: &Purge) -> Result<u64, StoreError>;
}
