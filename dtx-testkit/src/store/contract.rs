//! Which case and which mutant each sentence of the traits of stores has.

use super::mutant::Bug;
use crate::contract::Sentence;

macro_rules! sentences {
    ($($number:literal $case:literal $mutant:ident;)*) => {
        /// The numbered sentences of the traits of stores, in the documentation's order.
        pub const CONTRACT: &[Sentence<Bug>] = &[
            $(Sentence { number: $number, case: $case, mutant: Bug::$mutant }),*
        ];
    };
}

sentences! {
    "S1" "info_is_complete_and_the_same" ChangesItsInfo;
    "S2" "the_clock_never_goes_back" ClockGoesBack;
    "S3" "a_batch_with_conflicts_applies_the_rest" ReversesResults;
    "S4" "a_refused_accept_claims_no_key" ClaimsKeysOfRefused;
    "S5" "items_see_earlier_items" IsBlindToEarlierItems;
    "S6" "a_batch_with_conflicts_applies_the_rest" StopsAtConflicts;
    "S7" "transactions_are_there_after_reopening" LosesAllOnReopen;
    "S8" "a_repeat_answers_the_same_and_changes_nothing" ForgetsWriteIds;
    "S9" "another_handle_sees_the_same" LoadsWhatWas;
    "S10" "load_keeps_the_order" ReversesLoads;
    "S11" "load_keeps_the_order" HidesTheAbsent;
    "S12" "only_its_own_shard" OpensOtherShards;
    "S13" "the_earliest_due_comes_first" OpensTheUndue;
    "S14" "the_earliest_due_comes_first" IgnoresDueOrder;
    "S15" "pages_have_no_gap_and_no_repeat" CutsPages;
    "S16" "only_what_was_granted_is_answered" GrantsOnlyTheFirst;
    "S17" "a_lease_ends_on_the_stores_clock" NeverEndsLeases;
    "S18" "the_holder_keeps_its_epoch" RaisesEpochsAnew;
    "S19" "a_free_shard_is_granted_to_one" AnswersAllWanted;
    "S20" "epochs_strictly_increase" RepeatsEpochs;
    "S21" "renewing_prolongs" RenewsNothing;
    "S22" "a_lost_lease_is_not_renewed" RenewsLostLeases;
    "S23" "giving_back_frees_at_once" ReleasesNothing;
    "S24" "giving_back_a_lost_lease_does_nothing" ReleasesWhoeverHasIt;
    "S25" "a_commit_dropped_at_any_point_is_whole_or_not_there" ForgetsWriteIds;
    "S26" "the_earliest_of_each_shard_is_known" MixesUpShards;
    "E1" "a_repeat_after_a_take_over_is_committed" ForgetsWriteIds;
    "E2" "a_taken_over_owner_is_fenced" IgnoresFences;
    "E3" "a_verdict_never_changes" OverwritesVerdicts;
    "E4" "another_version_conflicts_and_changes_nothing" IgnoresVersions;
    "E5" "a_key_of_another_transaction_is_named" DropsKeys;
    "E6" "a_write_raises_the_version_by_one" AnswersWithoutWriting;
    "C1" "the_newest_are_listed_first" ListsTheOldestFirst;
    "C2" "lists_are_filtered" IgnoresFilters;
    "C3" "a_history_is_complete_and_in_order" ForgetsHistory;
    "C4" "a_key_is_claimed_with_its_accept" ForgetsWhoHasKeys;
    "C5" "only_old_and_finished_ones_are_forgotten" IgnoresAges;
    "C6" "a_key_outlives_its_transaction" DropsKeysAtOnce;
    "C7" "forgetting_goes_in_steps" MiscountsPurges;
    "C8" "forgetting_goes_in_steps" PurgesWithoutLimit;
    "P1" "info_is_complete_and_the_same" ChangesItsInfo;
    "P2" "a_scope_is_read_at_one_moment" TearsReads;
    "P3" "reads_keep_their_order" ReversesReads;
    "P4" "a_set_is_all_or_nothing" TearsSets;
    "P5" "sets_see_earlier_sets" IsBlindToEarlierItems;
    "P6" "rows_are_there_after_reopening" LosesAllOnReopen;
    "P7" "sets_see_earlier_sets" ReversesResults;
    "P8" "absent_and_version_are_checked" IgnoresRowVersions;
    "P9" "unchanged_rows_are_checked" IgnoresUnchanged;
    "P10" "too_late_is_judged_by_the_stores_clock" IgnoresNotAfter;
    "P11" "a_version_never_comes_back" RepeatsRowVersions;
    "P12" "a_scan_is_ordered_and_paged" ScansWithoutPrefix;
    "P13" "a_scan_is_ordered_and_paged" ScansBackwards;
    "P14" "scopes_are_ordered_and_paged" ListsEveryScope;
    "P15" "scopes_are_ordered_and_paged" ScansBackwards;
    "P16" "a_write_of_rows_dropped_at_any_point_is_whole_or_not_there" TearsSetsWhenDropped;
    "P17" "a_durable_read_gives_what_a_read_gives" ForgetsOnDurableReads;
}
