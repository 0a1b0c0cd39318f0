//! The store of dtx on PostgreSQL, for coordinators and participants of several processes.
//!
//! One commit of a coordinator is one statement, whatever the number of transactions in it: the
//! writes travel as arrays to a function in the store's own schema, which locks the lease rows
//! and the transactions, decides each write by itself, and makes all of them durable at once.
//! Every write of rows locks its scopes first, so that commands of one scope never pass each
//! other.
//!
//! What an acknowledged write survives is read from the server when the store is opened, and said
//! in [`info`](dtx_core::store::StateStore::info). A standby is refused: it may not know of a
//! verdict yet.
//!
//! # Cancel safety
//! Whatever writes runs in a task of its own: dropping a future cancels the wait, not the work.
#![forbid(unsafe_code)]

mod batch;
mod branch;
mod caller;
mod catalog;
mod codec;
mod config;
mod copy;
mod error;
mod hints;
mod migration;
mod opening;
mod outbox;
mod participant;
mod partitions;
mod parts;
mod records;
mod rows;
mod schema;
mod state;
mod statements;
mod store;
mod unit;

pub use branch::GID_BYTES_MAX;
pub use caller::{ONCE_BYTES_MAX, Once, PgInbox};
pub use config::{
    BATCH_WRITES_MAX_DEFAULT, CALL_TIMEOUT_DEFAULT, CONNECT_TIMEOUT_DEFAULT,
    CONNECTIONS_MAX_DEFAULT, PgConfig, VALUE_BYTES_MAX_DEFAULT,
};
pub use copy::{CopyRead, PgCopy, StandbyQuorum, StandbyQuorumError};
pub use migration::{Migration, migrations};
pub use opening::{Finding, ServerReport};
pub use outbox::{
    DeadMessage, PgOutbox, Relay, RelayHandle, RelaySettings, RelaySettingsError, RelayStats,
};
pub use schema::{SCHEMA_BYTES_MAX, SchemaError, SchemaName};
pub use sqlx::PgConnection;
pub use store::PgStore;
pub use unit::{Pg, PgOpen};
