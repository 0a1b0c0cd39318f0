//! Which case and which mutant each sentence of the contract of participants has.

use super::mutant::Fault;
use crate::contract::Sentence;

macro_rules! sentences {
    ($($number:literal $case:literal $mutant:ident;)*) => {
        /// The numbered sentences of the contract of participants, in the documentation's order.
        pub const CONTRACT: &[Sentence<Fault>] = &[
            $(Sentence { number: $number, case: $case, mutant: Fault::$mutant }),*
        ];
    };
}

sentences! {
    "A1" "one_run_has_one_effect" SkipsTheEffect;
    "A2" "every_action_repeated_changes_nothing" RunsRepeatsAgain;
    "A3" "a_repeat_has_the_same_answer" AnswersRepeatsAnew;
    "A4" "replies_echo_attempt_and_epoch" SwapsAttempts;
    "A5" "two_transactions_have_two_effects" MixesTransactions;
    "A6" "two_operations_have_two_effects" MixesOperations;
    "A7" "going_back_leaves_nothing" SkipsTheWayBack;
    "A8" "unwinding_twice_changes_nothing" RefusesASecondWayBack;
    "A9" "going_back_first_leaves_a_tombstone" LeavesNoTombstone;
    "A10" "what_comes_after_going_back_is_refused" RepeatsTheUndone;
    "A11" "what_was_executed_is_not_cancelled" CancelsTheExecuted;
    "A12" "concurrent_duplicates_have_one_effect" SaysNoToDuplicates;
    "A13" "a_no_changes_nothing" KeepsTheEffectOfANo;
    "A14" "a_lower_epoch_is_unknown" IgnoresEpochs;
    "A15" "an_unknown_version_is_unknown" TakesEveryVersion;
    "A16" "an_unknown_action_is_unknown" TakesEveryAction;
    "A17" "a_phase_out_of_order_is_not_done" SkipsPhases;
    "A18" "answers_survive_a_crash" ForgetsInACrash;
    "A19" "tombstones_survive_a_crash" ForgetsTombstonesInACrash;
    "A20" "a_crash_before_every_write_leaves_one_effect" AnswersBeforeItWrites;
    "A21" "every_write_that_fails_leaves_one_effect" SaysDoneWhenAWriteFails;
    "A22" "every_write_whose_answer_is_lost_leaves_one_effect" RunsAgainAfterALostAnswer;
}
