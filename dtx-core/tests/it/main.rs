//! Tests of dtx-core through its public API.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

mod abandon;
mod coverage;
mod digest;
mod engine_races;
mod engine_rules;
mod golden;
mod operators;
mod parallelism;
mod placement;
mod properties;
mod rig;
mod script;
mod simulated;
mod state_names;
mod transactions;
