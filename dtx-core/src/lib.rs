//! The pure part of dtx.
//!
//! Everything that decides is here and nothing here does I/O: transaction definitions, the
//! pattern machines, the shard engine, the barrier and the resources, and the traits that
//! stores and transports implement. No async runtime is in the dependency tree of this crate.
//!
//! Users depend on the facade crate `dtx`, which re-exports all of this.
#![forbid(unsafe_code)]

pub mod answer;
pub mod crash;
pub mod engine;
pub mod error;
pub mod frame;
pub mod ids;
pub mod json;
pub mod modifier;
pub mod mutant;
pub mod name;
pub mod outbox;
pub mod pattern;
pub mod resource;
pub mod store;
pub mod time;
pub mod transaction;
pub mod transport;
