//! Latency-aware phases over the shipped maps, beside what others do.

mod bound;
mod compare;
mod result;
mod transaction;
mod world;

pub use compare::compare_phases;
pub use result::{PhaseComparison, PhaseOutcome, PhaseRow, PlaceRow, Way};
