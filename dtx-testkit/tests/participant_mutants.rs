//! The suite of participants passes what is right and sees what is wrong.
#![allow(missing_docs)]

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use dtx_testkit::participant::{
    cases,
    mutant::{Fault, Mutant, plant},
    run,
};

macro_rules! runs {
    ($harness:ty; $($case:ident,)*) => {
        &[$((stringify!($case), || run::<$harness>(cases::$case))),*]
    };
}

type Case = (&'static str, fn());

fn all() -> &'static [Case] {
    dtx_testkit::for_each_participant_case! { runs, Mutant }
}

fn fails(case: &str, fault: Option<Fault>) -> bool {
    let (_, run) = all().iter().find(|(name, _)| *name == case).expect(case);
    plant(fault);
    catch_unwind(AssertUnwindSafe(run)).is_err()
}

/// The case that must see the fault. Others may see it too.
fn seen_by(fault: Fault) -> &'static str {
    match fault {
        Fault::RunsRepeatsAgain => "every_action_repeated_changes_nothing",
        Fault::AnswersRepeatsAnew => "a_repeat_has_the_same_answer",
        Fault::SwapsAttempts => "replies_echo_attempt_and_epoch",
        Fault::MixesTransactions => "two_transactions_have_two_effects",
        Fault::MixesOperations => "two_operations_have_two_effects",
        Fault::SkipsTheWayBack => "going_back_leaves_nothing",
        Fault::RefusesASecondWayBack => "unwinding_twice_changes_nothing",
        Fault::LeavesNoTombstone => "going_back_first_leaves_a_tombstone",
        Fault::RepeatsTheUndone => "what_comes_after_going_back_is_refused",
        Fault::CancelsTheExecuted => "what_was_executed_is_not_cancelled",
        Fault::SaysNoToDuplicates => "concurrent_duplicates_have_one_effect",
        Fault::KeepsTheEffectOfANo => "a_no_changes_nothing",
        Fault::IgnoresEpochs => "a_lower_epoch_is_unknown",
        Fault::TakesEveryVersion => "an_unknown_version_is_unknown",
        Fault::TakesEveryAction => "an_unknown_action_is_unknown",
        Fault::SkipsPhases => "a_phase_out_of_order_is_not_done",
        Fault::ForgetsInACrash => "answers_survive_a_crash",
        Fault::ForgetsTombstonesInACrash => "tombstones_survive_a_crash",
        Fault::AnswersBeforeItWrites => "a_crash_before_every_write_leaves_one_effect",
        Fault::RunsAgainAfterALostAnswer => "every_write_whose_answer_is_lost_leaves_one_effect",
        Fault::SaysDoneWhenAWriteFails => "every_write_that_fails_leaves_one_effect",
    }
}

#[test]
fn what_is_right_passes_every_case() {
    for (name, _) in all() {
        assert!(!fails(name, None), "{name} fails without a fault");
    }
}

#[test]
fn every_fault_is_seen_by_its_case() {
    for fault in Fault::ALL {
        assert!(fails(seen_by(*fault), Some(*fault)), "{} does not see {fault:?}", seen_by(*fault));
    }
    let seen: BTreeSet<_> = Fault::ALL.iter().map(|fault| seen_by(*fault)).collect();
    assert_eq!(seen.len(), Fault::ALL.len(), "each fault has a case of its own");
}
