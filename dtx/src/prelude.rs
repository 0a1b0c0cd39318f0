//! What most users need: `use dtx::prelude::*`.

pub use dtx_core::{
    answer::{Answer, NotDone, rejected},
    pattern::Pattern,
    resource::{
        Amount, Credit, Debit, Ledger, Lock, LockKey, Locks, PutBack, Reservations, Take, Units,
    },
    store::{MemoryStore, Outcome},
    transaction::{Action, Consistency, Gate, OperationDraft, StepKind, Transaction},
};
pub use dtx_runtime::{
    coordinator::{CoordinatorSettings, Dtx, Handle},
    operator::Operator,
    participant::{
        Compensate, Context, Deliver, Execute, OnStore, Participant, Prepare, Reserve, Status,
        TwoPhaseCommit, Validate, Vote,
    },
};
#[cfg(feature = "redb")]
pub use dtx_store_redb::RedbStore;
#[cfg(feature = "inmem")]
pub use dtx_transport_inmem::InMemoryTransport;

#[cfg(feature = "postgres")]
pub use crate::BeginIn;
#[cfg(feature = "postgres")]
pub use dtx_store_postgres::{Pg, PgConfig, PgStore};
