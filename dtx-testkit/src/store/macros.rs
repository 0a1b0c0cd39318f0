//! The one list of cases.

/// Calls a macro with all cases: `(module name)` each.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_store_case {
    ($callback:path, $($argument:tt)*) => {
        $callback! { $($argument)*;
            commit info_is_complete_and_the_same,
            commit accept_makes_version_one,
            commit accept_of_an_existing_row_conflicts,
            commit a_write_raises_the_version_by_one,
            commit another_version_conflicts_and_changes_nothing,
            commit a_version_without_a_row_conflicts,
            commit a_repeat_answers_the_same_and_changes_nothing,
            commit a_repeat_after_a_later_write_conflicts,
            commit load_keeps_the_order,
            commit an_empty_batch_is_nothing,
            commit a_batch_with_conflicts_applies_the_rest,
            commit items_see_earlier_items,
            commit a_write_twice_in_one_batch_applies_once,
            commit the_definition_is_kept,
            commit times_are_those_of_the_store,
            commit values_at_the_limit_and_one_past_it,
            commit a_batch_at_the_limit_and_one_past_it,
            commit of_two_writers_of_one_version_one_wins,
            decide a_verdict_never_changes,
            decide a_write_without_a_verdict_keeps_it,
            decide the_same_verdict_again_applies,
            decide going_back_unfenced_needs_an_undecided_row,
            decide nothing_else_goes_unfenced,
            decide a_signal_decides_nothing_forward,
            decide fire_and_forget_is_decided_by_its_accept,
            decide a_tombstone_refuses_a_late_accept,
            decide of_two_contradictory_signals_the_first_stands,
            keys a_key_is_claimed_with_its_accept,
            keys a_key_of_another_transaction_is_named,
            keys a_key_is_unique_in_its_namespace_only,
            keys a_refused_accept_claims_no_key,
            keys a_key_claimed_in_the_same_batch_counts,
            keys a_key_at_the_limit_and_one_past_it,
            fence a_taken_over_owner_is_fenced,
            fence another_holder_is_fenced,
            fence a_shard_without_a_lease_is_fenced,
            fence a_stale_owner_is_fenced_before_its_version_counts,
            fence an_ended_lease_writes_until_it_is_taken,
            fence a_lease_given_back_is_fenced,
            fence a_fence_of_another_shard_is_invalid,
            fence a_repeat_after_a_take_over_is_committed,
            lease a_free_shard_is_granted_to_one,
            lease the_holder_keeps_its_epoch,
            lease a_lease_ends_on_the_stores_clock,
            lease epochs_strictly_increase,
            lease renewing_prolongs,
            lease a_lost_lease_is_not_renewed,
            lease giving_back_frees_at_once,
            lease giving_back_a_lost_lease_does_nothing,
            lease only_what_was_granted_is_answered,
            lease an_unknown_shard_is_invalid,
            open the_earliest_due_comes_first,
            open pages_have_no_gap_and_no_repeat,
            open only_its_own_shard,
            open the_earliest_of_each_shard_is_known,
            open a_changed_due_time_moves,
            open the_finished_leave_the_open,
            open a_finished_one_can_be_opened_again,
            open a_foreign_cursor_is_invalid,
            catalog the_newest_are_listed_first,
            catalog lists_are_filtered,
            catalog a_history_is_complete_and_in_order,
            catalog an_unknown_transaction_has_no_history,
            catalog only_old_and_finished_ones_are_forgotten,
            catalog forgetting_goes_in_steps,
            catalog a_key_outlives_its_transaction,
            catalog a_forgotten_key_refuses_a_late_accept,
            rows rows_are_made_changed_and_deleted,
            rows absent_and_version_are_checked,
            rows unchanged_rows_are_checked,
            rows too_late_is_judged_by_the_stores_clock,
            rows a_set_is_all_or_nothing,
            rows sets_see_earlier_sets,
            rows a_conflict_does_not_stop_the_other_sets,
            rows a_version_never_comes_back,
            rows scopes_do_not_share_keys,
            rows reads_keep_their_order,
            rows a_durable_read_gives_what_a_read_gives,
            rows a_scan_is_ordered_and_paged,
            rows scopes_are_ordered_and_paged,
            rows a_scope_is_read_at_one_moment,
            rows limits_of_rows,
            rows of_two_writers_of_one_row_one_wins,
            durable transactions_are_there_after_reopening,
            durable rows_are_there_after_reopening,
            durable epochs_go_on_after_reopening,
            durable versions_go_on_after_reopening,
            durable the_clock_never_goes_back,
            cancel a_commit_dropped_at_any_point_is_whole_or_not_there,
            cancel a_write_of_rows_dropped_at_any_point_is_whole_or_not_there,
            cancel a_lease_asked_for_by_one_who_went_is_his_or_free,
            cancel a_dropped_question_changes_nothing,
            cancel a_dropped_purge_forgets_whole_transactions,
            durable a_dropped_commit_can_be_repeated,
            durable a_dropped_write_can_be_read_again,
            late a_late_landing_write_is_fenced,
            late a_late_landing_signal_conflicts,
            late a_late_landing_set_of_rows_conflicts,
            late an_owner_is_fenced_against_a_concurrent_take_over,
            late a_lease_of_a_day_ends_after_a_day,
            late a_key_is_kept_for_its_days,
            durable another_handle_sees_the_same,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! store_conformance_tests {
    ($harness:ty; $($module:ident $case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                $crate::store::run::<$harness>($crate::store::cases::$module::$case);
            }
        )*
    };
}

/// Runs the whole suite against a [`StoreHarness`](crate::store::StoreHarness): one `#[test]`
/// per case, and one that compares it with the store in memory, as many steps as `DTX_KIT_STEPS`
/// says.
#[macro_export]
macro_rules! store_conformance {
    ($harness:ty) => {
        $crate::for_each_store_case! { $crate::store_conformance_tests, $harness }

        #[test]
        fn it_answers_as_the_store_in_memory_does() {
            $crate::store::run_differential::<$harness>(0x5EED);
        }
    };
}
