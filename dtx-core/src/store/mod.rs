//! What a store must offer, and the rules that every store follows.

mod lease;
mod participant;
mod query;
mod state;
mod write;

pub use lease::{Fence, Lease, LeaseRequest};
pub use participant::{
    ParticipantStore, RowChange, RowExpect, RowKey, RowSet, RowWriteResult, SCOPE_BYTES_MAX, Scope,
    ScopeError, ScopeRead, ScopeRows, StoredRow,
};
pub use query::{
    Answered, Cursor, Filter, JournalEntry, JournalEvent, OpenPage, Outcome, Page, Purge, Status,
    Summary,
};
pub use state::{Catalog, Durability, StateStore, StoreCapabilities, StoreInfo, StoreLimits};
pub use write::{CommitResult, Expect, RecordKind, TxRecord, TxWrite, Verdict};
