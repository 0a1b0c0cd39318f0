use std::{sync::Arc, time::Duration};

use dtx_core::{
    error::ErrorKind,
    name::ParticipantName,
    transport::{Interest, Subscribe, Subscription, Transport},
};
use dtx_transport_inmem::InMemoryTransport;
use tokio::{task::yield_now, time::advance};

use super::{ManagedTransport, SubscriptionSettings};

const TTL: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

fn managed() -> ManagedTransport {
    ManagedTransport::new(Arc::new(InMemoryTransport::new()), &SubscriptionSettings::default())
}

async fn subscribe(transport: &ManagedTransport, name: &str) -> Box<dyn Subscription> {
    let interest = Interest::Participant(ParticipantName::new(name).expect("a name"));
    let wish = Subscribe { interest, group: name.to_owned(), prefetch: 1 };
    transport.subscribe(&wish).await.expect("it is open")
}

/// Moves the clock, and lets the collector look.
async fn pass(time: Duration) {
    advance(time).await;
    for _ in 0..8 {
        yield_now().await;
    }
}

/// More than the time between two looks.
async fn a_while() {
    pass(31 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_is_closed_and_what_is_idle_and_read_stays() {
    let transport = managed();
    let mut left = subscribe(&transport, "left").await;
    let mut read = subscribe(&transport, "read").await;
    let mut waits = subscribe(&transport, "waits").await;
    let waiting = tokio::spawn(async move { waits.receive(1, 10 * TTL).await.map(|_| waits) });
    for _ in 0..4 {
        assert!(read.receive(1, Duration::ZERO).await.expect("it is read").is_empty());
        advance(TTL / 2).await;
        a_while().await;
    }
    assert_eq!(transport.subscriptions(), 2, "the one that was left is gone");
    let error = left.receive(1, SECOND).await.expect_err("it was closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(read.receive(1, SECOND).await.is_ok());
    assert!(!waiting.is_finished(), "a receive that waits uses it all the time");
}

#[tokio::test(start_paused = true)]
async fn the_time_to_live_is_exact_at_the_look_that_finds_it_over() {
    let settings = SubscriptionSettings { ttl: 60 * SECOND, interval: 20 * SECOND };
    let transport = ManagedTransport::new(Arc::new(InMemoryTransport::new()), &settings);
    let _left = subscribe(&transport, "left").await;
    for _ in 0..59 {
        pass(SECOND).await;
    }
    assert_eq!(transport.subscriptions(), 1, "not before");
    for _ in 0..22 {
        pass(SECOND).await;
    }
    assert_eq!(transport.subscriptions(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_use_renews() {
    let transport = managed();
    let mut held = subscribe(&transport, "held").await;
    for _ in 0..10 {
        held.extend(&[]).await.expect("it is open");
        advance(TTL - 40 * SECOND).await;
        a_while().await;
    }
    assert_eq!(transport.subscriptions(), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_subscriptions_leave_nothing_behind() {
    let transport = managed();
    for round in 0..10 {
        let mut left = Vec::new();
        for number in 0..1_000 {
            let mut subscription = subscribe(&transport, &format!("p{round}-{number}")).await;
            match number % 3 {
                0 => drop(subscription),
                1 => subscription.close().await.expect("it closes"),
                _ => left.push(subscription),
            }
        }
        assert_eq!(transport.subscriptions(), left.len());
        advance(TTL).await;
        a_while().await;
        assert_eq!(transport.subscriptions(), 0, "round {round}");
        for mut subscription in left {
            let error = subscription.receive(1, SECOND).await.expect_err("it was closed");
            assert_eq!(error.kind(), ErrorKind::Closed);
            subscription.close().await.expect("again is no error");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_all_and_who_waits_too() {
    let transport = managed();
    let mut left = subscribe(&transport, "left").await;
    let mut waits = subscribe(&transport, "waits").await;
    let waiting = tokio::spawn(async move { waits.receive(1, TTL).await });
    yield_now().await;
    transport.close().await.expect("it closes");
    let error = waiting.await.expect("no panic").expect_err("it was closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(left.receive(1, SECOND).await.expect_err("closed").kind(), ErrorKind::Closed);
    transport.close_subscriptions().await;
    assert_eq!(transport.subscriptions(), 0);
}

#[tokio::test]
async fn who_holds_messages_must_extend_them_within_the_time_to_live() {
    let ack_wait = |ttl| {
        let settings = SubscriptionSettings { ttl, interval: SECOND };
        let transport = ManagedTransport::new(Arc::new(InMemoryTransport::new()), &settings);
        transport.info().limits.ack_wait
    };
    assert_eq!(ack_wait(SECOND), Some(SECOND));
    assert_eq!(ack_wait(TTL), InMemoryTransport::new().info().limits.ack_wait);
}

#[test]
fn a_zero_is_named() {
    let fault = |ttl, interval| {
        SubscriptionSettings { ttl, interval }.check().expect_err("it is zero").field
    };
    assert_eq!(SubscriptionSettings::default().check(), Ok(()));
    assert_eq!(fault(Duration::ZERO, SECOND), "subscriptions.ttl");
    assert_eq!(fault(SECOND, Duration::ZERO), "subscriptions.interval");
}
