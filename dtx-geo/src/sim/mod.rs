//! A seeded world of regions, in which pools are judged.
//!
//! It stands here and not in the simulator of transactions (`dtx-sim`), because it needs what that
//! one has not: a map of round trips with their jitter, a clock per region, and a million requests
//! per run. It needs nothing of the engine, and this crate rests on the core alone. The same seed
//! gives the same run.
//!
//! [`compare`] runs one workload through the pool and through what others do, [`compare_phases`]
//! does so for the phases of transactions, and [`fidelity`] asks whether this world is like the real
//! one. The tests of this module run small pools through every kind of fault and check the invariants after each step.

mod baseline;
mod carry;
#[cfg(test)]
mod carry_tests;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod chaos_tests;
mod check;
#[cfg(test)]
mod exhaustive;
mod fidelity;
#[cfg(test)]
mod lookers_tests;
mod network;
mod phases;
mod places;
mod plans;
mod pools;
mod result;
mod workload;
mod world;

pub use check::{CHECKED_UNITS_MAX, Checker, Disk, changes, left};
pub use fidelity::{Fidelity, fidelity};
pub use phases::{PhaseComparison, PhaseOutcome, PhaseRow, PlaceRow, Way, compare_phases};
pub use places::{Longer, PlaceWay, PlacesRow, compare_places};
pub use plans::{ByRounds, CostModel, cost_model, drawn_latency};
pub use pools::{Setup, compare, throughput};
pub use result::{Comparison, Outcome, Throughput};
pub use workload::{UnknownWorkload, Workload};
