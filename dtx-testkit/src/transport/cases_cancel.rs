//! Futures that are dropped half-way, and many users at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use dtx_core::transport::{Envelope, Transport};
use tokio::time::timeout;

use super::{TransportHarness, messages::*};
use crate::cancel::drop_after_polls;

/// The most polls after which a future is dropped here.
const POLLS_MAX: usize = 8;

/// `receive` is dropped after every number of polls while messages arrive: what it did not
/// return comes with a later one.
pub(super) async fn a_dropped_receive_loses_nothing(harness: &dyn TransportHarness) {
    for polls in 0..=POLLS_MAX {
        let transport = harness.open().await;
        let mut payment = subscribe(&transport, to(PAYMENT)).await;
        let other = subscribe(&transport, to(PAYMENT)).await;
        let messages = commands(PAYMENT, 0..6);
        let (returned, ()) = tokio::join!(
            drop_after_polls(payment.receive(2, QUIET), polls),
            publish_apart(&transport, &messages)
        );
        let returned = returned.transpose().expect("received").unwrap_or_default();
        payment.ack(&tokens(&returned)).await.expect("acknowledged");
        // What was not returned comes again: to the same subscription, or to another one of the
        // group when the one whose receive was dropped is never asked again.
        let mut last = match polls % 2 {
            0 => std::mem::replace(&mut payment, other),
            _ => other,
        };
        last.close().await.expect("closed");
        let mut all = drain(&mut *payment, 6 - returned.len()).await;
        all.extend(returned);
        assert_each_once(&all, 0..6);
    }
}

/// Publishes one by one, so that a waiting receiver is woken in between.
async fn publish_apart(transport: &Arc<dyn Transport>, messages: &[Envelope]) {
    for message in messages {
        tokio::task::yield_now().await;
        publish(transport, std::slice::from_ref(message)).await;
    }
}

/// `publish` is dropped after every number of polls: any part of the batch may have been
/// published, nothing else, and the transport works on.
pub(super) async fn a_dropped_publish_breaks_nothing(harness: &dyn TransportHarness) {
    for polls in 0..=POLLS_MAX {
        let transport = harness.open().await;
        let mut payment = subscribe(&transport, to(PAYMENT)).await;
        // Where a queue is bounded the batch does not fit, so that the future does wait.
        let count = harness.queue_messages_max().unwrap_or(20) as u32 + 5;
        let batch = commands(PAYMENT, 0..count);
        let (published, mut came) = tokio::join!(
            timeout(QUIET, drop_after_polls(transport.publish(&batch), polls)),
            async {
                match polls % 2 {
                    0 => Vec::new(),
                    _ => receive(&mut *payment, polls.min(1)).await,
                }
            }
        );
        payment.ack(&tokens(&came)).await.expect("acknowledged");
        came.extend(drain(&mut *payment, 0).await);
        let mut once = numbers(&came);
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), came.len(), "a message came twice");
        assert!(once.iter().all(|number| *number < count), "{once:?}");
        if let Ok(Some(results)) = published {
            assert_eq!((results.len(), once.len()), (batch.len(), batch.len()));
        }
        publish(&transport, &commands(PAYMENT, count..count + 1)).await;
        // What a dropped publish had handed over may come as late as this, and not again.
        let late = drain(&mut *payment, 1).await;
        let is_new = |number: &u32| *number <= count && !once.contains(number);
        let expected = numbers(&late).into_iter().filter(is_new).chain([count]);
        assert_each_once(&late, expected);
    }
}

/// Four publishers, three consumers of one group: each message is counted once.
pub(super) async fn concurrent_use_counts_exactly(harness: &dyn TransportHarness) {
    const PUBLISHERS: u32 = 4;
    const MESSAGES: u32 = 150;
    let transport = harness.open().await;
    let counts = Arc::new(Mutex::new(BTreeMap::<u32, u32>::new()));
    let mut tasks = Vec::new();
    for consumer in 0..3 {
        let mut payment = subscribe_as(&transport, to(PAYMENT), "workers", 16).await;
        let counts = Arc::clone(&counts);
        tasks.push(tokio::spawn(async move {
            let all = || counts.lock().expect("no test panics here").len() as u32;
            while all() < PUBLISHERS * MESSAGES {
                let some = payment.receive(5 + consumer, Duration::from_millis(50)).await;
                let some = some.expect("received");
                payment.ack(&tokens(&some)).await.expect("acknowledged");
                let mut counts = counts.lock().expect("no test panics here");
                for number in numbers(&some) {
                    *counts.entry(number).or_default() += 1;
                }
            }
            assert_quiet(&mut *payment, QUIET).await;
        }));
    }
    for publisher in 0..PUBLISHERS {
        let transport = Arc::clone(&transport);
        tasks.push(tokio::spawn(async move {
            let first = publisher * MESSAGES;
            for batch in commands(PAYMENT, first..first + MESSAGES).chunks(7) {
                publish(&transport, batch).await;
                tokio::task::yield_now().await;
            }
        }));
    }
    for task in tasks {
        timeout(DEADLINE, task).await.expect("every message comes").expect("no task fails");
    }
    let counts = counts.lock().expect("no test panics here");
    assert_eq!(counts.len() as u32, PUBLISHERS * MESSAGES);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}
