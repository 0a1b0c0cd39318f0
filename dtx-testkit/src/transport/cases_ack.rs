//! Acknowledgements and what comes again.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    error::ErrorKind,
    transport::{Delivery, Nack, Subscription, Transport},
};
use tokio::time::Instant;

use super::{TransportHarness, messages::*};

/// Longer than any redelivery of this transport takes.
fn past_redelivery(harness: &dyn TransportHarness) -> Duration {
    harness.redelivery().unwrap_or_default() * 2 + QUIET
}

/// A subscription that holds message 1.
async fn holding_one(transport: &Arc<dyn Transport>) -> (Box<dyn Subscription>, Vec<Delivery>) {
    let mut payment = subscribe(transport, to(PAYMENT)).await;
    publish(transport, &commands(PAYMENT, 1..2)).await;
    let held = receive(&mut *payment, 1).await;
    (payment, held)
}

pub(super) async fn an_acknowledged_message_stays_away(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (mut payment, held) = holding_one(&transport).await;
    payment.ack(&tokens(&held)).await.expect("acknowledged");
    assert_quiet(&mut *payment, past_redelivery(harness)).await;
    payment.close().await.expect("closed");
    let mut next = subscribe(&transport, to(PAYMENT)).await;
    assert_quiet(&mut *next, QUIET).await;
}

/// Declared: it comes again by itself, with a larger attempt. Not declared: it does not.
pub(super) async fn an_unacknowledged_message_comes_again(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (mut payment, held) = holding_one(&transport).await;
    let Some(_) = harness.redelivery() else {
        return assert_quiet(&mut *payment, QUIET).await;
    };
    for attempt in 2..4 {
        let again = receive(&mut *payment, 1).await;
        assert_eq!(again[0].envelope, held[0].envelope);
        assert_eq!(again[0].attempt, attempt);
    }
}

pub(super) async fn an_early_repeat_does_not_happen(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    // Both are there before: a group that changes may give anew what is held too long.
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let mut other = subscribe(&transport, to(PAYMENT)).await;
    publish(&transport, &commands(PAYMENT, 1..2)).await;
    let end = Instant::now() + DEADLINE;
    let mut held = 0;
    while held == 0 {
        assert!(Instant::now() < end, "nothing came");
        for subscription in [&mut payment, &mut other] {
            held += subscription.receive(1, QUIET).await.expect("received").len();
        }
    }
    assert_eq!(held, 1);
    let span = harness.redelivery().map_or(QUIET, |after| after / 4);
    assert_quiet(&mut *payment, span).await;
    assert_quiet(&mut *other, span).await;
}

pub(super) async fn a_nacked_message_comes_again(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (mut payment, held) = holding_one(&transport).await;
    let began = Instant::now();
    let nack = Nack { token: held[0].token, delay: Duration::ZERO };
    payment.nack(&[nack]).await.expect("given back");
    let again = receive(&mut *payment, 1).await;
    assert_eq!(again[0].envelope, held[0].envelope);
    assert_eq!(again[0].attempt, 2);
    if let Some(redelivery) = harness.redelivery() {
        assert!(began.elapsed() < redelivery, "only the lost acknowledgement brought it back");
    }
    payment.ack(&tokens(&again)).await.expect("acknowledged");
    assert_quiet(&mut *payment, past_redelivery(harness)).await;
}

pub(super) async fn a_nack_waits_its_delay(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (mut payment, held) = holding_one(&transport).await;
    let delay = past_redelivery(harness);
    let began = Instant::now();
    payment.nack(&[Nack { token: held[0].token, delay }]).await.expect("given back");
    let again = receive(&mut *payment, 1).await;
    assert_eq!(again[0].attempt, 2);
    assert!(began.elapsed() >= delay, "it came after {:?}, not {delay:?}", began.elapsed());
}

pub(super) async fn a_closed_subscription_gives_back(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (mut payment, held) = holding_one(&transport).await;
    let mut other = subscribe(&transport, to(PAYMENT)).await;
    payment.close().await.expect("closed");
    assert_given_back(harness, &mut *other, &held).await;
}

pub(super) async fn a_dropped_subscription_gives_back(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (payment, held) = holding_one(&transport).await;
    let mut other = subscribe(&transport, to(PAYMENT)).await;
    drop(payment);
    assert_given_back(harness, &mut *other, &held).await;
}

pub(super) async fn the_next_subscription_gets_what_the_last_one_held(
    harness: &dyn TransportHarness,
) {
    let transport = harness.open().await;
    let (mut payment, held) = holding_one(&transport).await;
    payment.close().await.expect("closed");
    let mut next = subscribe(&transport, to(PAYMENT)).await;
    assert_given_back(harness, &mut *next, &held).await;
}

async fn assert_given_back(
    harness: &dyn TransportHarness,
    other: &mut dyn Subscription,
    held: &[Delivery],
) {
    let began = Instant::now();
    let again = receive(other, held.len()).await;
    assert_eq!(again[0].envelope, held[0].envelope);
    assert_eq!(again[0].attempt, 2);
    if let Some(redelivery) = harness.redelivery() {
        assert!(began.elapsed() < redelivery, "only the lost acknowledgement brought it back");
    }
    other.ack(&tokens(&again)).await.expect("acknowledged");
    assert_quiet(other, past_redelivery(harness)).await;
}

pub(super) async fn a_second_ack_is_no_error(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (mut payment, held) = holding_one(&transport).await;
    let (once, twice) = (tokens(&held), [tokens(&held), tokens(&held)].concat());
    payment.ack(&once).await.expect("acknowledged");
    payment.ack(&twice).await.expect("a repeat is no error");
    // Nor does a late nack undo it.
    let nack = Nack { token: once[0], delay: Duration::ZERO };
    payment.nack(&[nack]).await.expect("too late is no error");
    assert_quiet(&mut *payment, past_redelivery(harness)).await;
}

/// A token of an older subscription is refused and settles nothing, but does not keep a good one
/// beside it from being settled.
pub(super) async fn a_stale_ack_is_fenced(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (mut old, held) = holding_one(&transport).await;
    old.close().await.expect("closed");
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    publish(&transport, &commands(PAYMENT, 2..3)).await;
    let again = receive(&mut *payment, 2).await;
    assert_ne!(held[0].token.generation, again[0].token.generation);
    let good = again.iter().find(|d| d.envelope != held[0].envelope).expect("message 2");
    let stale = payment.ack(&[held[0].token, good.token]).await;
    assert_eq!(kind_of(stale, "a stale ack"), ErrorKind::Fenced);
    drop(payment);
    let mut next = subscribe(&transport, to(PAYMENT)).await;
    assert_each_once(&drain(&mut *next, 1).await, [1]);
}

pub(super) async fn a_stale_nack_is_fenced(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (mut old, held) = holding_one(&transport).await;
    old.close().await.expect("closed");
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let again = receive(&mut *payment, 1).await;
    let nack = Nack { token: held[0].token, delay: Duration::ZERO };
    assert_eq!(kind_of(payment.nack(&[nack]).await, "a stale nack"), ErrorKind::Fenced);
    payment.ack(&tokens(&again)).await.expect("acknowledged");
    assert_quiet(&mut *payment, past_redelivery(harness)).await;
}

/// As long as it is extended it stays away; then it comes again, and it was not settled.
pub(super) async fn what_is_extended_waits_anew(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (mut payment, held) = holding_one(&transport).await;
    let span = harness.redelivery().map_or(QUIET, |after| after * 3 / 4);
    for _ in 0..3 {
        assert_quiet(&mut *payment, span).await;
        payment.extend(&tokens(&held)).await.expect("extended");
    }
    if harness.redelivery().is_none() {
        payment.close().await.expect("closed");
        payment = subscribe(&transport, to(PAYMENT)).await;
    }
    let again = receive(&mut *payment, 1).await;
    assert_eq!(again[0].envelope, held[0].envelope);
    assert_eq!(again[0].attempt, 2);
    payment.ack(&tokens(&again)).await.expect("acknowledged");
    assert_quiet(&mut *payment, past_redelivery(harness)).await;
}

pub(super) async fn an_extension_after_the_end_is_no_error(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (mut payment, held) = holding_one(&transport).await;
    payment.ack(&tokens(&held)).await.expect("acknowledged");
    payment.extend(&tokens(&held)).await.expect("too late is no error");
    payment.extend(&[]).await.expect("nothing to extend is no error");
    assert_quiet(&mut *payment, past_redelivery(harness)).await;
}

pub(super) async fn a_stale_extension_is_fenced(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let (mut old, held) = holding_one(&transport).await;
    old.close().await.expect("closed");
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let again = receive(&mut *payment, 1).await;
    let stale = payment.extend(&[held[0].token, again[0].token]).await;
    assert_eq!(kind_of(stale, "a stale extension"), ErrorKind::Fenced);
    payment.ack(&tokens(&again)).await.expect("acknowledged");
    assert_quiet(&mut *payment, past_redelivery(harness)).await;
}
