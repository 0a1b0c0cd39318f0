//! The conformance suite of participants: of yours, too.
//!
//! Implement [`ParticipantHarness`] (how to start the participant, one action with its input, and
//! what can be observed of its effect) and write one line in a test:
//!
//! ```text
//! dtx_testkit::participant_conformance!(MyParticipant);
//! ```
//!
//! which makes one test per case, for every pattern that the sample names. The suite takes the
//! coordinator's place: it sends commands over a wire of its own and keeps the rows of the inbox,
//! so that it can lose a command or an answer, break every write, and crash the host at each of
//! them.

pub mod cases;
mod contract;
mod harness;
mod macros;
pub mod mutant;
mod rows;
mod units;
mod wire;
mod world;

pub use contract::CONTRACT;
pub use harness::{Guard, ParticipantHarness, Sample, run};
pub use rows::{Break, BrittleRows};
pub use units::{BrittleUnits, Stop};
pub use wire::Wire;
pub use world::World;
