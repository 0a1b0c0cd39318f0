//! The one list of cases.

/// Calls a macro with all cases.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_participant_case {
    ($callback:path, $($argument:tt)*) => {
        $callback! { $($argument)*;
            one_run_has_one_effect,
            every_action_repeated_changes_nothing,
            a_repeat_has_the_same_answer,
            replies_echo_attempt_and_epoch,
            two_transactions_have_two_effects,
            two_operations_have_two_effects,
            going_back_leaves_nothing,
            unwinding_twice_changes_nothing,
            going_back_first_leaves_a_tombstone,
            what_comes_after_going_back_is_refused,
            what_was_executed_is_not_cancelled,
            concurrent_duplicates_have_one_effect,
            concurrent_forward_and_back_leave_nothing,
            a_no_changes_nothing,
            a_lower_epoch_is_unknown,
            an_unknown_version_is_unknown,
            an_unknown_action_is_unknown,
            a_phase_out_of_order_is_not_done,
            a_lost_answer_is_told_again,
            answers_survive_a_crash,
            tombstones_survive_a_crash,
            a_crash_before_every_write_leaves_one_effect,
            a_crash_after_every_write_leaves_one_effect,
            a_crash_at_every_write_can_be_taken_back,
            every_write_that_fails_leaves_one_effect,
            every_write_whose_answer_is_lost_leaves_one_effect,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! participant_conformance_tests {
    ($harness:ty; $($case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                $crate::participant::run::<$harness>($crate::participant::cases::$case);
            }
        )*
    };
}

/// Runs the whole suite against a
/// [`ParticipantHarness`](crate::participant::ParticipantHarness): one `#[test]` per case.
#[macro_export]
macro_rules! participant_conformance {
    ($harness:ty) => {
        $crate::for_each_participant_case! { $crate::participant_conformance_tests, $harness }
    };
}
