//! The one list of cases, and the macro that makes tests of it.

use std::{future::Future, pin::Pin};

use super::{
    TransportHarness, cases_ack::*, cases_cancel::*, cases_close::*, cases_delivery::*,
    cases_faults::*, cases_limits::*, cases_routing::*,
};

type Run = for<'a> fn(&'a dyn TransportHarness) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One case of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The name of the test.
    pub name: &'static str,
    run: Run,
}

impl Case {
    /// Runs the case.
    ///
    /// # Panics
    /// When the transport breaks the contract.
    pub async fn run(&self, harness: &dyn TransportHarness) {
        (self.run)(harness).await;
    }
}

/// Runs the case with this name.
///
/// # Panics
/// When there is no such case, or the transport breaks the contract.
pub async fn run(name: &str, harness: &dyn TransportHarness) {
    let case = CASES.iter().find(|case| case.name == name).expect("a case of the suite");
    case.run(harness).await;
}

/// The names of all cases, handed to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __transport_cases {
    ($($to:ident)::+ ! $args:tt) => {
        $($to)::+! { $args
            info_is_complete
            delivers_one
            delivers_a_batch
            delivers_in_pieces
            an_empty_batch_is_nothing
            returns_at_once_what_is_there
            returns_empty_after_the_wait
            returns_at_the_first_message
            keeps_every_field
            keeps_bodies_and_headers
            keeps_the_order_that_it_declares
            keeps_what_comes_before_the_first_subscription
            a_group_shares
            groups_each_get_all
            routes_by_participant
            routes_replies_by_shard
            a_subscription_gets_all_its_shards
            routes_inquiries
            routes_inquiry_answers_by_host
            an_acknowledged_message_stays_away
            an_unacknowledged_message_comes_again
            an_early_repeat_does_not_happen
            a_nacked_message_comes_again
            a_nack_waits_its_delay
            a_closed_subscription_gives_back
            a_dropped_subscription_gives_back
            the_next_subscription_gets_what_the_last_one_held
            a_second_ack_is_no_error
            a_stale_ack_is_fenced
            a_stale_nack_is_fenced
            what_is_extended_waits_anew
            an_extension_after_the_end_is_no_error
            a_stale_extension_is_fenced
            prefetch_bounds_what_is_out
            a_full_queue_waits
            a_batch_at_the_limit_and_one_past
            a_body_at_the_limit_and_one_past
            each_message_has_its_own_result
            a_dropped_receive_loses_nothing
            a_dropped_publish_breaks_nothing
            concurrent_use_counts_exactly
            a_closed_subscription_is_closed
            a_closed_transport_ends_its_subscriptions
            a_closed_transport_refuses
            a_hung_consumer_does_not_keep_its_messages
            a_dying_consumer_takes_nothing_with_it
            a_joining_consumer_disturbs_nothing
            an_unreadable_message_stops_nobody
            works_on_after_a_restart
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __transport_tests {
    ([$harness:expr, $args:tt] $($name:ident)+) => {
        $(
            #[tokio::test $args]
            async fn $name() {
                $crate::transport::run(stringify!($name), &$harness).await;
            }
        )+
    };
}

/// Makes one `#[tokio::test]` per case of [`CASES`](crate::transport::CASES) for a
/// [`TransportHarness`](crate::transport::TransportHarness). Further arguments go to
/// `tokio::test`; a transport whose only clock is tokio's gives `start_paused = true`. The crate
/// needs `tokio` with `macros` as a dev-dependency.
#[macro_export]
macro_rules! transport_conformance {
    ($harness:expr $(, $($args:tt)*)?) => {
        $crate::__transport_cases! { $crate::__transport_tests ! [$harness, ($($($args)*)?)] }
    };
}

macro_rules! table {
    ([] $($name:ident)+) => {
        /// All cases.
        pub const CASES: &[Case] =
            &[$(Case { name: stringify!($name), run: |harness| Box::pin($name(harness)) }),+];
    };
}

crate::__transport_cases! { table ! [] }
