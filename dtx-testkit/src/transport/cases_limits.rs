//! Everything is bounded: at each limit, and one past it.

use std::sync::Arc;

use bytes::Bytes;
use dtx_core::{
    error::{Effect, ErrorKind},
    transport::{Body, Envelope},
};
use tokio::time::timeout;

use super::{TransportHarness, messages::*};

pub(super) async fn prefetch_bounds_what_is_out(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe_as(&transport, to(PAYMENT), "workers", 4).await;
    publish(&transport, &commands(PAYMENT, 0..10)).await;
    let mut out = receive(&mut *payment, 4).await;
    let span = harness.redelivery().map_or(QUIET, |after| after / 4);
    assert_quiet(&mut *payment, span).await;
    let mut all = Vec::new();
    while all.len() < 10 {
        // For each one that is acknowledged another one comes, and no more.
        let done = out.remove(0);
        payment.ack(&[done.token]).await.expect("acknowledged");
        all.push(done);
        if all.len() + out.len() < 10 {
            let more = receive(&mut *payment, 1).await;
            assert_eq!(payment.receive(10, span / 16).await.expect("received").len(), 0);
            out.extend(more);
        }
    }
    assert_each_once(&all, 0..10);
}

/// Declared: at the bound `publish` is done, one past it it waits for room. Not declared: it
/// never waits.
pub(super) async fn a_full_queue_waits(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let Some(max) = harness.queue_messages_max() else {
        for batch in 0..20 {
            publish(&transport, &commands(PAYMENT, batch * 50..(batch + 1) * 50)).await;
        }
        assert_each_once(&drain(&mut *payment, 1_000).await, 0..1_000);
        return;
    };
    let max = max as u32;
    publish(&transport, &commands(PAYMENT, 0..max)).await;
    // One past it, and one for somebody else, which the full queue does not concern.
    let mut inventory = subscribe(&transport, to(INVENTORY)).await;
    let messages = [command(PAYMENT, max), command(INVENTORY, max + 1)];
    let publisher = Arc::clone(&transport);
    let waiting = tokio::spawn(async move { publish(&publisher, &messages).await });
    assert_each_once(&drain(&mut *inventory, 1).await, [max + 1]);
    assert!(!waiting.is_finished(), "publish did not wait");
    let first = receive(&mut *payment, 1).await;
    payment.ack(&tokens(&first)).await.expect("acknowledged");
    timeout(DEADLINE, waiting).await.expect("there is room").expect("published");
    let mut all = drain(&mut *payment, max as usize).await;
    all.extend(first);
    assert_each_once(&all, 0..=max);
}

pub(super) async fn a_batch_at_the_limit_and_one_past(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let max = transport.info().limits.batch_messages_max as u32;
    let at_limit = commands(PAYMENT, 0..max);
    let ((), came) =
        tokio::join!(publish(&transport, &at_limit), drain(&mut *payment, max as usize));
    assert_each_once(&came, 0..max);

    let past = commands(PAYMENT, 0..max + 1);
    let results = timeout(DEADLINE, transport.publish(&past)).await.expect("publish ends");
    assert_eq!(results.len(), past.len(), "one result per message");
    for result in results {
        let error = result.expect_err("the batch is too large");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None));
    }
    assert_quiet(&mut *payment, QUIET).await;
}

fn with_body(number: u32, bytes: usize) -> Envelope {
    let mut command = command_to(PAYMENT, number);
    command.payload = Bytes::from(vec![b'x'; bytes]);
    Envelope::new(Body::Command(Arc::new(command)))
}

pub(super) async fn a_body_at_the_limit_and_one_past(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let max = transport.info().limits.body_bytes_max;
    let at_limit = with_body(1, max);
    publish(&transport, std::slice::from_ref(&at_limit)).await;
    let came = drain(&mut *payment, 1).await;
    assert!(came[0].envelope == at_limit, "the body was changed");

    let results = transport.publish(&[with_body(2, max + 1)]).await;
    assert_eq!(results.len(), 1);
    for result in results {
        assert_eq!(kind_of(result, "one byte past the limit"), ErrorKind::Invalid);
    }
    assert_quiet(&mut *payment, QUIET).await;
}

pub(super) async fn each_message_has_its_own_result(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let too_large = transport.info().limits.body_bytes_max + 1;
    let batch = [command(PAYMENT, 0), with_body(1, too_large), command(PAYMENT, 2)];
    let results = timeout(DEADLINE, transport.publish(&batch)).await.expect("publish ends");
    let ok: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, false, true]);
    assert_each_once(&drain(&mut *payment, 2).await, [0, 2]);
}
