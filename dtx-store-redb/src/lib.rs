//! The embedded durable store of dtx: one file, no server.
//!
//! One process owns the file. One thread writes: it takes everything that waits, of coordinators
//! and participants alike, applies it in one redb transaction, makes that durable, and answers
//! all; while the disk works the next batch gathers, so that no timer is needed. Acknowledged
//! writes survive the loss of power; a crash at any byte leaves the last acknowledged state.
//!
//! Point reads (`load`, `read`, `by_key`, `history`) run where they are called, on a snapshot
//! that the writer replaces with every commit: a few lookups in cached pages cost less than
//! handing them to another thread. Listings, which may be long, go to one reader thread.
//!
//! Other processes look at the file with [`RedbReader`], also while it is owned: redb's
//! `SingleWriter` mode shares it with readers, and they see every acknowledged write. In this
//! mode each commit has two syncs and a file is checked when it is opened after a crash.
//!
//! Operators of other processes write through the owner: on Unix it listens on a socket beside the
//! file, which [`RedbOwner`] connects to.
#![forbid(unsafe_code)]

mod apply;
mod builder;
mod codec;
mod error;
#[cfg(unix)]
mod owner;
mod reader;
mod rows;
mod snapshot;
mod store;
mod tables;
mod writer;

pub use builder::{
    BATCH_WRITES_MAX_DEFAULT, CACHE_BYTES_DEFAULT, QUEUE_CALLS_MAX_DEFAULT, RedbStoreBuilder,
    VALUE_BYTES_MAX_DEFAULT,
};
#[cfg(unix)]
pub use owner::{MESSAGE_BYTES_MAX, OwnerInfo, RedbOwner};
pub use reader::RedbReader;
pub use store::RedbStore;
