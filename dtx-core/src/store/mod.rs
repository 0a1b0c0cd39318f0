//! What a store must offer, and the rules that every store follows.

mod branch;
mod caller;
mod evaluate;
mod lease;
mod lease_table;
mod memory;
mod participant;
mod query;
mod rows;
mod state;
mod unit;
mod write;

pub use branch::{Branch, BranchEnd, BranchStore};
pub use caller::CallerStore;
pub use evaluate::{
    Decision, Facts, InvalidWrite, KeyFacts, LeaseFacts, RowFacts, WriteClaim, check_batch,
    check_write, evaluate,
};
pub use lease::{Fence, Lease, LeaseRequest};
pub use lease_table::LeaseTable;
pub use memory::{Clock, ManualClock, MemorySettings, MemoryState, MemoryStore, SystemClock};
pub use participant::{
    ParticipantStore, RowChange, RowExpect, RowKey, RowSet, RowWriteResult, SCOPE_BYTES_MAX, Scope,
    ScopeError, ScopeRead, ScopeRows, StoredRow,
};
pub use query::{
    Answered, Cursor, Filter, JournalEntry, JournalEvent, OpenPage, Outcome, PAGE_ITEMS_DEFAULT,
    PAGE_ITEMS_MAX, Page, Purge, Status, Summary, page_items,
};
pub use rows::{
    ROW_KEY_BYTES_MAX, RowDecision, SET_ROWS_MAX, check_row_key, check_set, evaluate_set,
};
pub use state::{
    Catalog, Durability, Hints, StateStore, StoreCapabilities, StoreInfo, StoreLimits,
};
pub use unit::{Begun, Detached, Opened, Unit, UnitStore};
pub use write::{CommitResult, Expect, RecordKind, TxRecord, TxWrite, Verdict};
