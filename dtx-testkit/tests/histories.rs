//! Histories of a sound store are linearizable, and those of broken ones are found not to be.
#![allow(missing_docs)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use dtx_core::store::Scope;
use dtx_testkit::{
    linear::{Processes, Target},
    store::{
        MemoryHarness, StoreHarness,
        mutant::{Bug, Mutant, plant},
    },
};

/// All clients run here: the stores in memory have no other process.
fn check<H: StoreHarness>() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
    let harness = runtime.block_on(H::open());
    let processes =
        Processes { test: "", environment: Vec::new(), children: 0, here: 4, calls: 200, keys: 4 };
    let (state, rows) = (harness.state(), harness.participants());
    processes.check(&Target { state, rows, scope: Scope::new("s").expect("a scope") });
}

#[test]
fn a_sound_store_is_linearizable() {
    check::<MemoryHarness>();
}

#[test]
fn broken_stores_are_found() {
    for bug in [
        Bug::IgnoresVersions,
        Bug::LoadsWhatWas,
        Bug::AnswersWithoutWriting,
        Bug::IgnoresRowVersions,
        Bug::RepeatsRowVersions,
    ] {
        plant(bug);
        let checked = catch_unwind(AssertUnwindSafe(check::<Mutant>));
        let Err(reason) = checked else { panic!("{bug:?} was not found") };
        let reason = reason.downcast_ref::<String>().expect("a reason");
        assert!(reason.contains("Broken"), "{bug:?}: {reason}");
    }
}
