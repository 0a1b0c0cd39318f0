//! Consumers that die, join and hang, messages that cannot be read, brokers that are killed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dtx_core::{
    error::ErrorKind,
    transport::{Delivery, Envelope, Subscription, Transport},
};
use tokio::time::{Instant, timeout};

use super::{TransportHarness, messages::*};

/// How long one subscription is asked while others may have what is looked for.
const TURN: Duration = Duration::from_millis(50);

/// Receives from each in turn and acknowledges, until the messages with these numbers have all
/// come. Anything may come more often.
async fn collect(
    subscriptions: &mut [Box<dyn Subscription>],
    expected: impl IntoIterator<Item = u32>,
) -> Vec<Delivery> {
    let end = Instant::now() + DEADLINE;
    let mut missing: BTreeSet<u32> = expected.into_iter().collect();
    let mut all = Vec::new();
    while !missing.is_empty() {
        assert!(Instant::now() < end, "these did not come: {missing:?}");
        for subscription in subscriptions.iter_mut() {
            let received = timeout(DEADLINE, subscription.receive(64, TURN)).await;
            let some = match received.expect("receive ends") {
                Ok(some) => some,
                // A broker that is away may be said to be.
                Err(error) => {
                    assert_ne!(error.kind(), ErrorKind::Closed, "{error}");
                    tokio::time::sleep(TURN).await;
                    continue;
                }
            };
            for number in numbers(&some) {
                missing.remove(&number);
            }
            // What is not acknowledged now comes again, which is expected here.
            drop(subscription.ack(&tokens(&some)).await);
            all.extend(some);
        }
    }
    all
}

/// One that holds a message and does nothing any more, as a process that hangs: the message comes
/// again, to it or to another one of the group.
pub(super) async fn a_hung_consumer_does_not_keep_its_messages(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut hung = subscribe(&transport, to(PAYMENT)).await;
    publish(&transport, &commands(PAYMENT, 1..2)).await;
    let held = receive(&mut *hung, 1).await;
    let other = subscribe(&transport, to(PAYMENT)).await;
    let mut both = vec![other, hung];
    if harness.redelivery().is_none() {
        // Only its end brings it back.
        both.truncate(1);
    }
    let again = collect(&mut both, [1]).await;
    assert_eq!(again[0].envelope, held[0].envelope);
    assert!(again[0].attempt > 1, "it is delivered again, not for the first time");
}

/// One of three goes away without a word, with what it holds: the others get all of it.
pub(super) async fn a_dying_consumer_takes_nothing_with_it(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut consumers = Vec::new();
    for _ in 0..3 {
        consumers.push(subscribe_as(&transport, to(PAYMENT), "workers", 16).await);
    }
    for batch in 0..3 {
        publish(&transport, &commands(PAYMENT, batch * 20..(batch + 1) * 20)).await;
    }
    let mut dying = consumers.remove(1);
    let held = timeout(DEADLINE, dying.receive(16, TURN)).await.expect("receive ends");
    drop(held.expect("received"));
    drop(dying);
    let came = collect(&mut consumers, 0..60).await;
    assert!(numbers(&came).iter().all(|number| *number < 60));
}

/// One that joins a group may change who gets what. Nothing is lost by it, and what was
/// acknowledged before stays away.
pub(super) async fn a_joining_consumer_disturbs_nothing(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut consumers = vec![subscribe(&transport, to(PAYMENT)).await];
    publish(&transport, &commands(PAYMENT, 0..20)).await;
    collect(&mut consumers, 0..20).await;
    publish(&transport, &commands(PAYMENT, 20..40)).await;
    consumers.push(subscribe(&transport, to(PAYMENT)).await);
    publish(&transport, &commands(PAYMENT, 40..60)).await;
    let mut came = collect(&mut consumers, 20..60).await;
    came.extend(drain(&mut *consumers[0], 0).await);
    came.extend(drain(&mut *consumers[1], 0).await);
    let came = numbers(&came);
    assert!(came.iter().all(|n| (20..60).contains(n)), "an acknowledged one came: {came:?}");
    for consumer in &mut consumers {
        assert_quiet(&mut **consumer, harness.redelivery().unwrap_or_default() + QUIET).await;
    }
}

/// A message that nobody can read is put aside: those around it come, and it does not.
pub(super) async fn an_unreadable_message_stops_nobody(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    publish(&transport, &commands(PAYMENT, 0..1)).await;
    for _ in 0..3 {
        harness.publish_unreadable(&transport, &participant(PAYMENT)).await;
    }
    publish(&transport, &commands(PAYMENT, 1..2)).await;
    assert_each_once(&drain(&mut *payment, 2).await, 0..2);
    assert_quiet(&mut *payment, harness.redelivery().unwrap_or_default() + QUIET).await;
    publish(&transport, &commands(PAYMENT, 2..3)).await;
    assert_each_once(&drain(&mut *payment, 1).await, 2..3);
}

/// The broker is killed and comes back, with a subscription open: what was published is there,
/// publishing and receiving go on.
pub(super) async fn works_on_after_a_restart(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut consumers = vec![subscribe(&transport, to(PAYMENT)).await];
    publish(&transport, &commands(PAYMENT, 0..10)).await;
    let held = receive(&mut *consumers[0], 5).await;
    consumers[0].ack(&tokens(&held)).await.expect("acknowledged");
    let acked = numbers(&held);
    harness.restart(&transport).await;
    publish_until_ok(&transport, commands(PAYMENT, 10..20)).await;
    collect(&mut consumers, (0..20).filter(|number| !acked.contains(number))).await;
    consumers.push(subscribe(&transport, to(PAYMENT)).await);
    publish_until_ok(&transport, commands(PAYMENT, 20..30)).await;
    collect(&mut consumers, 20..30).await;
}

/// Publishes again what was not published, until all is.
async fn publish_until_ok(transport: &Arc<dyn Transport>, mut messages: Vec<Envelope>) {
    let end = Instant::now() + DEADLINE;
    while !messages.is_empty() {
        assert!(Instant::now() < end, "it does not publish any more");
        let results = timeout(DEADLINE, transport.publish(&messages)).await.expect("publish ends");
        let failed = messages.into_iter().zip(results).filter(|(_, result)| result.is_err());
        messages = failed.map(|(message, _)| message).collect();
        if !messages.is_empty() {
            tokio::time::sleep(TURN).await;
        }
    }
}
