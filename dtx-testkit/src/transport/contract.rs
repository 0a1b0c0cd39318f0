//! Which case and which mutant each sentence of the traits of transports has.

use super::mutant::Fault;
use crate::contract::Sentence;

macro_rules! sentences {
    ($($number:literal $case:literal $mutant:ident;)*) => {
        /// The numbered sentences of the traits of transports, in the documentation's order.
        pub const CONTRACT: &[Sentence<Fault>] = &[
            $(Sentence { number: $number, case: $case, mutant: Fault::$mutant }),*
        ];
    };
}

sentences! {
    "T1" "info_is_complete" HasNoLimits;
    "T2" "each_message_has_its_own_result" HasOneResultForAll;
    "T3" "a_full_queue_waits" NeverWaitsForRoom;
    "T4" "a_body_at_the_limit_and_one_past" SaysOkToLargeBodies;
    "T5" "a_batch_at_the_limit_and_one_past" SplitsLargeBatches;
    "T6" "a_closed_transport_refuses" IgnoresCloseOfTransport;
    "T7" "keeps_what_comes_before_the_first_subscription" LosesWhatComesBeforeASubscription;
    "T8" "routes_by_participant" SendsToOthersToo;
    "T9" "a_group_shares" GivesEachItsOwnGroup;
    "T10" "groups_each_get_all" HasOneGroup;
    "T11" "prefetch_bounds_what_is_out" IgnoresPrefetch;
    "T12" "keeps_every_field" ForgetsTheEpoch;
    "T13" "a_closed_transport_ends_its_subscriptions" IgnoresCloseOfTransport;
    "T14" "a_dropped_publish_breaks_nothing" IsStuckAfterADroppedPublish;
    "T15" "delivers_in_pieces" ReturnsTooMany;
    "T16" "returns_at_once_what_is_there" WaitsForMore;
    "T17" "returns_empty_after_the_wait" DoesNotWait;
    "T18" "a_closed_subscription_is_closed" IgnoresCloseOfSubscription;
    "T19" "a_dropped_receive_loses_nothing" LosesOnDroppedReceive;
    "T20" "an_unacknowledged_message_comes_again" AcksOnReceive;
    "T21" "an_acknowledged_message_stays_away" IgnoresAck;
    "T22" "a_second_ack_is_no_error" RefusesASecondAck;
    "T23" "a_stale_ack_is_fenced" AcceptsStaleTokens;
    "T24" "a_nacked_message_comes_again" IgnoresNack;
    "T25" "a_nack_waits_its_delay" IgnoresTheDelay;
    "T26" "what_is_extended_waits_anew" IgnoresExtend;
    "T27" "an_extension_after_the_end_is_no_error" RefusesALateExtend;
    "T28" "a_closed_subscription_gives_back" IgnoresCloseOfSubscription;
    "T29" "a_closed_subscription_is_closed" RefusesASecondClose;
}
