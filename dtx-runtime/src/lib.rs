//! The part of dtx that runs on tokio: the coordinator, and the host of participants.
//!
//! Everything that decides is in `dtx-core`; this crate drives it: it receives, writes, sends and
//! waits. Users depend on the facade crate `dtx`, which re-exports all of this.
#![forbid(unsafe_code)]

pub mod coordinator;
pub mod operator;
pub mod participant;
pub mod subscription;
