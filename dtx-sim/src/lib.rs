//! A deterministic simulator of dtx.
//!
//! The real [`ShardEngine`](dtx_core::engine::ShardEngine), barrier and resources run under a
//! seeded scheduler in virtual time: two coordinators, a shared store, and participants, with
//! messages that are lost, doubled, late and out of order, with crashes, stalls, take-overs,
//! clocks that drift and jump, and a store that answers late or not at all. Every seed draws its
//! own mix of faults and switches some mechanisms off. Afterwards faults stop, and everything
//! must end. The same seed gives the same run.
//!
//! ```
//! let summary = dtx_sim::explore(0, 20);
//! assert_eq!(summary.failed, 0, "{:?}", summary.first_violations);
//! ```
#![forbid(unsafe_code)]

mod check;
mod client;
mod clock;
mod coordinator;
mod detached;
mod event;
mod exhaustive;
mod explore;
mod finish;
mod host;
mod inquiry;
#[cfg(feature = "model")]
mod model;
mod mutation;
mod report;
mod rng;
mod service;
mod setup;
mod sim;
mod swarm;
mod trace;
mod view;
mod workload;
mod world;

pub use check::Violation;
pub use exhaustive::{Explored, Fault, Planned, Scenario, explore_faults, replay_faults};
#[doc(hidden)]
pub use explore::explore_mutant;
pub use explore::{explore, replay};
#[cfg(feature = "model")]
#[doc(hidden)]
pub use model::Bug;
#[cfg(feature = "model")]
pub use model::{Case, Checked, check_case};
#[doc(hidden)]
pub use mutation::Mutation;
pub use report::{Counters, End, Report, Summary};
pub use sim::Sim;
