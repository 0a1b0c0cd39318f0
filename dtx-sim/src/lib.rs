//! A deterministic simulator of dtx, and of services built on it.
//!
//! The real [`ShardEngine`](dtx_core::engine::ShardEngine), barrier and resources run under a
//! seeded scheduler in virtual time: two coordinators, a shared store, and three to eight
//! participants. The same seed gives the same run.
//!
//! # What goes wrong
//!
//! Messages are lost, doubled, late and out of order. Nodes are cut off from each other: one of
//! them, in one direction, in part, or in halves. Coordinators, participants and the store crash
//! and come back; coordinators stand still for longer than a lease and wake with an old epoch.
//! Commits are refused, lost, or land long after their failure was told. Clocks run at different
//! rates and jump, ahead and back, those of the stores as well. Participants say no, do not know,
//! or break a promise; a transaction kills whoever handles it. [`Fault`] names all of it.
//!
//! Every seed draws its own mix, and switches mechanisms off: expiry, inquiries, wakes,
//! collection and retries in a quarter of the seeds each, because mechanisms that repair each
//! other's damage hide bugs. Then the faults stop, everything is up, and every transaction must
//! end.
//!
//! # What must hold
//!
//! After every landing: a verdict stays, nothing that is durable is overwritten, epochs only
//! rise, what has ended stays ended. With every command, reply and outcome: what it depends on is
//! durable. At the end: all or nothing took effect, once; stock and money are conserved; nothing
//! is held; every transaction has ended, with the outcome that was told.
//!
//! # Over regions
//!
//! The nodes of a run can lie in [`Regions`]: messages take their way, calls to the store as well,
//! whole regions are lost, and partitions run between regions.
//!
//! A run can be written down and judged by others: [`history`].
//!
//! # One's own participants
//!
//! [`Sim::explore`] takes participants of the user's own and what must hold of them; see
//! [`Explorer`].
#![forbid(unsafe_code)]

mod check;
mod claims;
mod client;
mod clock;
mod coordinator;
mod counters;
mod detached;
mod draw;
mod event;
mod exhaustive;
mod explore;
mod faults;
mod finish;
pub mod history;
mod host;
mod inquiry;
mod journal;
mod landing;
#[cfg(feature = "model")]
mod model;
mod moves;
mod mutation;
mod network;
mod participant;
mod regions;
mod report;
mod rng;
mod service;
mod setup;
mod sim;
mod strays;
mod swarm;
mod trace;
mod trouble;
mod view;
mod workload;
mod world;

pub use check::Violation;
pub use counters::Counters;
pub use draw::Draw;
pub use exhaustive::{Explored, Planned, Scenario, StepFault, explore_faults, replay_faults};
pub use explore::Explorer;
pub use faults::{Fault, Faults, UnknownFault};
#[cfg(feature = "model")]
#[doc(hidden)]
pub use model::Bug;
#[cfg(feature = "model")]
pub use model::{Case, Checked, check_case};
#[doc(hidden)]
pub use mutation::Mutation;
pub use participant::{Participant, Run};
pub use regions::Regions;
pub use report::{End, KeptSeed, Report, Summary};
pub use sim::Sim;
