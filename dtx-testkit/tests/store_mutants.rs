//! Each mutant fails the cases that its broken guarantee belongs to: the suite can fail.
#![allow(missing_docs)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use dtx_testkit::store::{
    StoreHarness,
    mutant::{Bug, Mutant, plant},
    run,
};

macro_rules! failures {
    ($harness:ty; $($module:ident $case:ident,)*) => {{
        let mut failed: Vec<&'static str> = Vec::new();
        $(
            let case = || run::<$harness>(dtx_testkit::store::cases::$module::$case);
            if catch_unwind(AssertUnwindSafe(case)).is_err() {
                failed.push(stringify!($case));
            }
        )*
        failed
    }};
}

fn failures_of<H: StoreHarness>() -> Vec<&'static str> {
    dtx_testkit::for_each_store_case! { failures, H }
}

/// The bug is found, by the named case among others, and most cases still pass: what
/// fails everything proves nothing.
fn caught(bug: Bug, case: &str) {
    plant(bug);
    let failed = failures_of::<Mutant>();
    assert!(failed.contains(&case), "{bug:?} must fail {case}; it failed {failed:?}");
    assert!(failed.len() <= 15, "{bug:?} failed {failed:?}");
}

#[test]
fn every_mutant_is_caught() {
    caught(Bug::ForgetsWriteIds, "a_repeat_answers_the_same_and_changes_nothing");
    caught(Bug::IgnoresFences, "a_taken_over_owner_is_fenced");
    caught(Bug::OverwritesVerdicts, "a_verdict_never_changes");
    caught(Bug::IgnoresVersions, "another_version_conflicts_and_changes_nothing");
    caught(Bug::StopsAtConflicts, "a_batch_with_conflicts_applies_the_rest");
    caught(Bug::DropsKeys, "a_key_of_another_transaction_is_named");
    caught(Bug::ForgetsHistory, "a_history_is_complete_and_in_order");
    caught(Bug::IgnoresDueOrder, "the_earliest_due_comes_first");
    caught(Bug::CutsPages, "pages_have_no_gap_and_no_repeat");
    caught(Bug::RenewsLostLeases, "a_lost_lease_is_not_renewed");
    caught(Bug::IgnoresAges, "only_old_and_finished_ones_are_forgotten");
    caught(Bug::RepeatsEpochs, "epochs_strictly_increase");
    caught(Bug::IgnoresUnchanged, "unchanged_rows_are_checked");
    caught(Bug::IgnoresNotAfter, "too_late_is_judged_by_the_stores_clock");
    caught(Bug::TearsSets, "a_set_is_all_or_nothing");
    caught(Bug::RepeatsRowVersions, "a_version_never_comes_back");
}
