//! Every single fault, and every pair of faults, at every step of one transaction.

mod explore;
mod fault;
mod run;
mod scenario;

pub use explore::{Explored, explore_faults, replay_faults};
pub use fault::{Planned, StepFault};
pub use scenario::Scenario;
