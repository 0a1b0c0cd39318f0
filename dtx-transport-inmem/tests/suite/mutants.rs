//! The suite sees every planted fault, and every case of it sees some fault.

use std::{collections::BTreeSet, panic::AssertUnwindSafe};

use dtx_testkit::transport::{
    CASES, CONTRACT, Case,
    mutant::{Fault, MutantHarness},
};

use super::InMemoryHarness;

/// Whether the case fails.
fn fails(case: &Case, fault: Option<Fault>) -> bool {
    let harness = MutantHarness { inner: InMemoryHarness, fault };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let run = AssertUnwindSafe(|| runtime.block_on(case.run(&harness)));
    std::panic::catch_unwind(run).is_err()
}

/// The cases that must see the fault. Others may see it too.
fn seen_by(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::HasNoLimits => &["info_is_complete"],
        Fault::LosesTheFirstOfABatch => &["delivers_one", "delivers_a_batch"],
        Fault::SendsTwice => &["delivers_a_batch", "concurrent_use_counts_exactly"],
        Fault::ReversesABatch => &["keeps_the_order_that_it_declares"],
        Fault::ForgetsTheEpoch => &["keeps_every_field"],
        Fault::ForgetsHeaders | Fault::TakesBodiesForText => &["keeps_bodies_and_headers"],
        Fault::LosesWhatComesBeforeASubscription => {
            &["keeps_what_comes_before_the_first_subscription"]
        }
        Fault::SendsToOthersToo => &[
            "routes_by_participant",
            "routes_replies_by_shard",
            "a_subscription_gets_all_its_shards",
            "routes_inquiries",
            "routes_inquiry_answers_by_host",
        ],
        Fault::NeverWaitsForRoom => &["a_full_queue_waits", "a_closed_transport_refuses"],
        Fault::SplitsLargeBatches => &["a_batch_at_the_limit_and_one_past"],
        Fault::SaysOkToLargeBodies => &["a_body_at_the_limit_and_one_past"],
        Fault::HasOneResultForAll => &["each_message_has_its_own_result"],
        Fault::IsStuckAfterADroppedPublish => &["a_dropped_publish_breaks_nothing"],
        Fault::IgnoresCloseOfTransport => {
            &["a_closed_transport_ends_its_subscriptions", "a_closed_transport_refuses"]
        }
        Fault::GivesEachItsOwnGroup => &["a_group_shares", "routes_inquiries"],
        Fault::HasOneGroup => &["groups_each_get_all"],
        Fault::IgnoresPrefetch => &["prefetch_bounds_what_is_out"],
        Fault::ReturnsTooMany => &["delivers_in_pieces"],
        Fault::WaitsForMore => &["returns_at_once_what_is_there", "returns_at_the_first_message"],
        Fault::DoesNotWait => &["returns_empty_after_the_wait", "returns_at_the_first_message"],
        Fault::LosesOnDroppedReceive => &["a_dropped_receive_loses_nothing"],
        Fault::AcksOnReceive => &[
            "an_unacknowledged_message_comes_again",
            "a_closed_subscription_gives_back",
            "a_dropped_subscription_gives_back",
            "the_next_subscription_gets_what_the_last_one_held",
            "a_hung_consumer_does_not_keep_its_messages",
            "a_dying_consumer_takes_nothing_with_it",
        ],
        Fault::RepeatsAtOnce => &["an_early_repeat_does_not_happen"],
        Fault::ForgetsTheAttempt => {
            &["an_unacknowledged_message_comes_again", "a_nacked_message_comes_again"]
        }
        Fault::IgnoresAck => {
            &["an_acknowledged_message_stays_away", "a_joining_consumer_disturbs_nothing"]
        }
        Fault::RefusesAnEmptyAck => &["an_empty_batch_is_nothing"],
        Fault::RefusesASecondAck => &["a_second_ack_is_no_error"],
        Fault::IgnoresNack => &["a_nacked_message_comes_again"],
        Fault::IgnoresTheDelay => &["a_nack_waits_its_delay"],
        Fault::AcceptsStaleTokens => {
            &["a_stale_ack_is_fenced", "a_stale_nack_is_fenced", "a_stale_extension_is_fenced"]
        }
        Fault::IgnoresExtend | Fault::AcksOnExtend => &["what_is_extended_waits_anew"],
        Fault::RefusesALateExtend => &["an_extension_after_the_end_is_no_error"],
        Fault::HidesItsAckWait => &["info_is_complete"],
        Fault::IgnoresCloseOfSubscription => {
            &["a_closed_subscription_is_closed", "a_closed_subscription_gives_back"]
        }
        Fault::RefusesASecondClose => &["a_closed_subscription_is_closed"],
        Fault::StopsAtTheUnreadable => &["an_unreadable_message_stops_nobody"],
        Fault::IsStuckAfterARestart => &["works_on_after_a_restart"],
    }
}

#[test]
fn the_mutant_harness_without_a_fault_passes_every_case() {
    for case in CASES {
        assert!(!fails(case, None), "{} fails without a fault", case.name);
    }
}

#[test]
fn every_fault_is_seen_by_its_cases_and_every_case_sees_a_fault() {
    let mut blind: BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
    for fault in Fault::ALL {
        for name in seen_by(*fault) {
            let case = CASES.iter().find(|case| case.name == *name).expect(name);
            assert!(fails(case, Some(*fault)), "{name} does not see {fault:?}");
            blind.remove(name);
        }
    }
    // What is left is seen by the general faults.
    for name in blind.clone() {
        let case = CASES.iter().find(|case| case.name == name).expect(name);
        if Fault::ALL.iter().any(|fault| fails(case, Some(*fault))) {
            blind.remove(name);
        }
    }
    assert!(blind.is_empty(), "these cases see no fault: {blind:?}");
}

#[test]
fn every_sentence_has_a_mutant_that_fails_its_case() {
    for sentence in CONTRACT {
        let case = CASES.iter().find(|case| case.name == sentence.case).expect(sentence.case);
        let (number, fault) = (sentence.number, sentence.mutant);
        assert!(fails(case, Some(fault)), "{number}: {} does not see {fault:?}", case.name);
    }
}
