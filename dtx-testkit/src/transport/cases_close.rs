//! The end of subscriptions and of transports.

use std::sync::Arc;

use dtx_core::{
    error::ErrorKind,
    transport::{Subscribe, Transport},
};
use tokio::time::{Instant, timeout};

use super::{TransportHarness, messages::*};

pub(super) async fn a_closed_subscription_is_closed(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    publish(&transport, &commands(PAYMENT, 0..3)).await;
    payment.close().await.expect("closed");
    payment.close().await.expect("a second close is no error");
    let began = Instant::now();
    let received = payment.receive(1, DEADLINE).await;
    assert_eq!(kind_of(received, "receive after close"), ErrorKind::Closed);
    assert!(began.elapsed() < DEADLINE / 2, "it waited");
}

pub(super) async fn a_closed_transport_ends_its_subscriptions(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut idle = subscribe(&transport, to(INVENTORY)).await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let waiting = tokio::spawn(async move {
        let received = payment.receive(1, DEADLINE).await;
        (payment, received)
    });
    // Lets the receiver begin its wait; the case holds either way.
    tokio::task::yield_now().await;
    close_twice(&transport).await;
    let ended = timeout(DEADLINE / 2, waiting).await.expect("a waiting receive ends");
    let (mut payment, received) = ended.expect("no panic");
    assert_eq!(kind_of(received, "a waiting receive"), ErrorKind::Closed);
    let received = idle.receive(1, QUIET).await;
    assert_eq!(kind_of(received, "a later receive"), ErrorKind::Closed);
    // Subscriptions can still be ended.
    payment.close().await.expect("closed");
    drop(idle);
}

pub(super) async fn a_closed_transport_refuses(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    close_twice(&transport).await;
    let messages = commands(PAYMENT, 0..2);
    let results = timeout(DEADLINE, transport.publish(&messages)).await.expect("publish ends");
    assert_eq!(results.len(), 2, "one result per message");
    for result in results {
        assert_eq!(kind_of(result, "publish after close"), ErrorKind::Closed);
    }
    let subscribe = Subscribe { interest: to(PAYMENT), group: "workers".to_owned(), prefetch: 1 };
    let subscribed = transport.subscribe(&subscribe).await;
    assert_eq!(kind_of(subscribed, "subscribe after close"), ErrorKind::Closed);
}

async fn close_twice(transport: &Arc<dyn Transport>) {
    for _ in 0..2 {
        timeout(DEADLINE, transport.close()).await.expect("close ends").expect("closed");
    }
}
