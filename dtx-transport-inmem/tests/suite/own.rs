//! What only this transport promises.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    error::ErrorKind,
    ids::{HolderId, OperationIndex, ShardId, TxId},
    name::ParticipantName,
    transport::{
        Body, Delivery, Envelope, InquiryAnswer, Interest, Nack, Subscribe, Subscription, Transport,
    },
};
use dtx_testkit::cancel::drop_after_polls;
use dtx_transport_inmem::{Builder, InMemoryTransport};
use tokio::time::{Instant, timeout};

const ACK_WAIT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(3_600);

fn small() -> Builder {
    InMemoryTransport::builder()
        .queue_messages_max(4)
        .pending_messages_max(3)
        .pending_addresses_max(2)
        .ack_wait(ACK_WAIT)
}

fn open() -> InMemoryTransport {
    small().build().expect("the settings are sound")
}

/// A message for a host; it is numbered by its operation.
fn message(host: u128, number: u16) -> Envelope {
    Envelope::new(Body::InquiryAnswer(InquiryAnswer {
        tx: TxId::from_bytes([1; 16]),
        operation: OperationIndex(number),
        participant: ParticipantName::new("payment").expect("a name"),
        host: HolderId(host),
        verdict: None,
        retry_after: Duration::ZERO,
    }))
}

fn numbers(deliveries: &[Delivery]) -> Vec<u16> {
    let number = |delivery: &Delivery| match &delivery.envelope.body {
        Body::InquiryAnswer(answer) => answer.operation.0,
        other => panic!("{other:?} was not sent"),
    };
    deliveries.iter().map(number).collect()
}

async fn publish(transport: &InMemoryTransport, host: u128, messages: impl Iterator<Item = u16>) {
    let batch: Vec<_> = messages.map(|number| message(host, number)).collect();
    let results = timeout(LONG, transport.publish(&batch)).await.expect("there is room");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

async fn subscribe(
    transport: &InMemoryTransport,
    host: u128,
    group: &str,
    prefetch: usize,
) -> Box<dyn Subscription> {
    let interest = Interest::InquiryAnswers(HolderId(host));
    let subscribe = Subscribe { interest, group: group.to_owned(), prefetch };
    transport.subscribe(&subscribe).await.expect("subscribed")
}

/// What is there now.
async fn now(subscription: &mut dyn Subscription) -> Vec<Delivery> {
    subscription.receive(100, Duration::ZERO).await.expect("received")
}

fn nack(delivery: &Delivery, delay: Duration) -> Nack {
    Nack { token: delivery.token, delay }
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_cannot_be_served_is_refused() {
    let transport = open();
    let wish =
        |interest, group: &str, prefetch| Subscribe { interest, group: group.to_owned(), prefetch };
    let shards = |shards: &[u16]| Interest::Replies(shards.iter().copied().map(ShardId).collect());
    let bad = [
        wish(shards(&[]), "g", 1),
        wish(shards(&[1]), "", 1),
        wish(shards(&[1]), "g", 0),
        wish(shards(&[1]), "g", (1 << 20) + 1),
    ];
    for wish in bad {
        let error = transport.subscribe(&wish).await.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{wish:?}");
    }
    assert!(transport.subscribe(&wish(shards(&[1]), "g", 1 << 20)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_oldest_pending_messages_and_addresses_are_dropped() {
    let transport = open();
    publish(&transport, 1, 0..3).await;
    publish(&transport, 2, 0..4).await;
    let mut two = subscribe(&transport, 2, "g", 10).await;
    assert_eq!(numbers(&now(&mut *two).await), [1, 2, 3], "3 messages are kept");
    // Two addresses are kept: 1 is the older one of 1 and 3 when 4 comes.
    publish(&transport, 3, 0..1).await;
    let mut one = subscribe(&transport, 1, "g", 10).await;
    assert_eq!(numbers(&now(&mut *one).await), [0, 1, 2], "2 addresses fit");
    drop(one);
    publish(&transport, 4, 0..1).await;
    let mut three = subscribe(&transport, 3, "g", 10).await;
    assert!(now(&mut *three).await.is_empty(), "3 waited for longest");
    let mut one = subscribe(&transport, 1, "g", 10).await;
    assert_eq!(numbers(&now(&mut *one).await), [0, 1, 2]);
    let mut four = subscribe(&transport, 4, "g", 10).await;
    assert_eq!(numbers(&now(&mut *four).await), [0]);
}

#[tokio::test(start_paused = true)]
async fn what_the_last_subscription_leaves_is_pending_again() {
    let transport = open();
    let mut first = subscribe(&transport, 1, "g", 2).await;
    publish(&transport, 1, 0..3).await;
    let held = now(&mut *first).await;
    assert_eq!(numbers(&held), [0, 1]);
    first.nack(&[nack(&held[0], LONG)]).await.expect("given back");
    drop(first);
    let mut next = subscribe(&transport, 1, "other", 10).await;
    let again = now(&mut *next).await;
    assert_eq!(numbers(&again), [1, 2, 0], "held, waiting, delayed");
    assert_eq!(again.iter().map(|d| d.attempt).collect::<Vec<_>>(), [2, 1, 2]);
    // A group that leaves while another one stays takes its messages with it.
    let leaving = subscribe(&transport, 1, "leaving", 10).await;
    publish(&transport, 1, 7..8).await;
    drop(leaving);
    assert_eq!(numbers(&now(&mut *next).await), [7]);
    let mut back = subscribe(&transport, 1, "leaving", 10).await;
    assert!(now(&mut *back).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_waits_goes_on_when_the_last_subscription_leaves() {
    let transport = open();
    let subscription = subscribe(&transport, 1, "g", 1).await;
    publish(&transport, 1, 0..4).await;
    let publisher = transport.clone();
    let waiting = tokio::spawn(async move { publish(&publisher, 1, 4..5).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(subscription);
    timeout(ACK_WAIT, waiting).await.expect("it goes on").expect("published");
    let mut next = subscribe(&transport, 1, "g", 10).await;
    assert_eq!(numbers(&now(&mut *next).await), [2, 3, 4], "the newest three");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_waits_ends_when_the_transport_closes() {
    let transport = open();
    let _subscription = subscribe(&transport, 1, "g", 1).await;
    let batch: Vec<_> = (0..6).map(|number| message(1, number)).collect();
    let publisher = transport.clone();
    let waiting = tokio::spawn(async move { publisher.publish(&batch).await });
    tokio::task::yield_now().await;
    transport.close().await.expect("closed");
    let results = timeout(ACK_WAIT, waiting).await.expect("it ends").expect("no panic");
    let placed: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(placed, [true, true, true, true, false, false]);
    let error = results[5].as_ref().expect_err("it was not placed");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn one_full_group_makes_publish_wait_and_the_others_get_nothing_twice() {
    let transport = open();
    let mut slow = subscribe(&transport, 1, "slow", 10).await;
    let mut quick = subscribe(&transport, 1, "quick", 10).await;
    publish(&transport, 1, 0..4).await;
    assert_eq!(now(&mut *quick).await.len(), 4);
    let publisher = transport.clone();
    let waiting = tokio::spawn(async move { publish(&publisher, 1, 4..6).await });
    tokio::task::yield_now().await;
    assert!(now(&mut *quick).await.is_empty(), "a message has room in all queues or in none");
    assert_eq!(now(&mut *slow).await.len(), 4);
    timeout(ACK_WAIT / 2, waiting).await.expect("it goes on").expect("published");
    assert_eq!(numbers(&now(&mut *quick).await), [4, 5]);
    assert_eq!(numbers(&now(&mut *slow).await), [4, 5]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_may_go_beyond_the_bound_and_is_first() {
    let transport = open();
    let mut subscription = subscribe(&transport, 1, "g", 4).await;
    publish(&transport, 1, 0..4).await;
    assert_eq!(now(&mut *subscription).await.len(), 4);
    publish(&transport, 1, 4..8).await;
    let mut other = subscribe(&transport, 1, "g", 10).await;
    drop(subscription);
    assert_eq!(numbers(&now(&mut *other).await), (0..8).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receiver_brings_back_what_another_one_lost() {
    let transport = open();
    let mut stuck = subscribe(&transport, 1, "g", 10).await;
    let mut waiting = subscribe(&transport, 1, "g", 10).await;
    // It begins to wait while nothing is out, so nothing was due.
    let waiting = tokio::spawn(async move {
        let began = Instant::now();
        let came = waiting.receive(10, LONG).await.expect("received");
        (numbers(&came), came[0].attempt, began.elapsed(), waiting)
    });
    tokio::task::yield_now().await;
    publish_to_holder(&transport, &mut *stuck).await;
    let (came, attempt, after, mut other) = waiting.await.expect("no panic");
    assert_eq!((came, attempt), (vec![0], 2));
    assert!(after >= ACK_WAIT && after < ACK_WAIT * 2, "it came after {after:?}");

    // The acknowledgement of the one that lost it is too late: it settles nothing.
    let held = now(&mut *stuck).await;
    assert!(held.is_empty());
    drop(stuck);
    tokio::time::advance(ACK_WAIT).await;
    assert_eq!(numbers(&now(&mut *other).await), [0]);
}

/// Publishes one message which goes to this subscription, whoever else waits.
async fn publish_to_holder(transport: &InMemoryTransport, holder: &mut dyn Subscription) {
    let batch = [message(1, 0)];
    let results = transport.publish(&batch).await;
    assert!(results[0].is_ok());
    assert_eq!(numbers(&now(holder).await), [0], "it was quicker than the one that was woken");
}

#[tokio::test(start_paused = true)]
async fn a_late_ack_settles_nothing() {
    let transport = open();
    let mut subscription = subscribe(&transport, 1, "g", 10).await;
    publish(&transport, 1, 0..1).await;
    let held = now(&mut *subscription).await;
    tokio::time::advance(ACK_WAIT - Duration::from_millis(1)).await;
    assert!(now(&mut *subscription).await.is_empty(), "not yet");
    tokio::time::advance(Duration::from_millis(1)).await;
    let again = now(&mut *subscription).await;
    assert_eq!(again[0].attempt, 2);
    subscription.ack(&[held[0].token]).await.expect("too late is no error");
    tokio::time::advance(ACK_WAIT).await;
    assert_eq!(now(&mut *subscription).await[0].attempt, 3);
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_is_shorter_than_what_others_wait_for_wakes_them() {
    let transport = open();
    let mut failing = subscribe(&transport, 1, "g", 10).await;
    publish(&transport, 1, 0..1).await;
    let held = now(&mut *failing).await;
    let mut waiting = subscribe(&transport, 1, "g", 10).await;
    let waiting = tokio::spawn(async move {
        let began = Instant::now();
        let came = waiting.receive(10, LONG).await.expect("received");
        (numbers(&came), began.elapsed())
    });
    tokio::task::yield_now().await;
    failing.nack(&[nack(&held[0], ACK_WAIT / 10)]).await.expect("given back");
    let (came, after) = waiting.await.expect("no panic");
    assert_eq!(came, [0]);
    assert!(after >= ACK_WAIT / 10 && after < ACK_WAIT / 5, "it came after {after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_nacked_at_once_is_behind_those_that_wait() {
    let transport = open();
    let mut subscription = subscribe(&transport, 1, "g", 10).await;
    publish(&transport, 1, 0..3).await;
    let first = subscription.receive(1, Duration::ZERO).await.expect("received");
    subscription.nack(&[nack(&first[0], Duration::ZERO)]).await.expect("given back");
    assert_eq!(numbers(&now(&mut *subscription).await), [1, 2, 0]);
}

/// Two wait; a batch wakes one, and that one wakes the next for what it leaves.
#[tokio::test(start_paused = true)]
async fn a_batch_reaches_all_that_wait() {
    let transport = open();
    // Something is out already, so that a delivery is nothing new for those that wait.
    let mut holder = subscribe(&transport, 1, "g", 1).await;
    publish(&transport, 1, 9..10).await;
    assert_eq!(now(&mut *holder).await.len(), 1);
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let mut subscription = subscribe(&transport, 1, "g", 10).await;
        tasks.push(tokio::spawn(async move {
            let began = Instant::now();
            let came = subscription.receive(1, LONG).await.expect("received");
            assert!(began.elapsed() < ACK_WAIT, "it was not woken");
            // Kept until the others have theirs, so that its end does not wake them.
            (subscription, came.len())
        }));
    }
    tokio::task::yield_now().await;
    publish(&transport, 1, 0..3).await;
    let mut subscriptions = Vec::new();
    for task in tasks {
        let (subscription, count) = task.await.expect("no panic");
        assert_eq!(count, 1);
        subscriptions.push(subscription);
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_take_turns() {
    let transport = open();
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let mut subscription = subscribe(&transport, 1, "g", 10).await;
        tasks.push(tokio::spawn(async move {
            let mut count = 0;
            loop {
                let came = subscription.receive(1, ACK_WAIT / 2).await.expect("received");
                subscription.ack(&[came[0].token]).await.expect("acknowledged");
                if numbers(&came) == [u16::MAX] {
                    return count;
                }
                count += 1;
            }
        }));
    }
    for number in 0..10 {
        tokio::time::advance(Duration::from_millis(1)).await;
        publish(&transport, 1, number..number + 1).await;
    }
    tokio::time::advance(Duration::from_millis(1)).await;
    publish(&transport, 1, [u16::MAX, u16::MAX].into_iter()).await;
    for task in tasks {
        assert_eq!(task.await.expect("no panic"), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_without_room_is_not_woken_in_anothers_place() {
    let transport = open();
    let mut full = subscribe(&transport, 1, "g", 1).await;
    let mut free = subscribe(&transport, 1, "g", 1).await;
    publish(&transport, 1, 0..1).await;
    assert_eq!(now(&mut *full).await.len(), 1);
    let full = tokio::spawn(async move { full.receive(1, ACK_WAIT / 2).await });
    let free = tokio::spawn(async move {
        let began = Instant::now();
        (numbers(&free.receive(1, LONG).await.expect("received")), began.elapsed())
    });
    tokio::task::yield_now().await;
    publish(&transport, 1, 1..2).await;
    let (came, after) = free.await.expect("no panic");
    assert_eq!(came, [1]);
    assert!(after < ACK_WAIT / 4, "it was not woken");
    assert!(full.await.expect("no panic").expect("received").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_takes_room_until_it_comes() {
    let transport = open();
    let mut subscription = subscribe(&transport, 1, "g", 10).await;
    let delay = ACK_WAIT / 2;
    for _ in 0..3 {
        publish(&transport, 1, 0..4).await;
        let held = now(&mut *subscription).await;
        let nacks: Vec<_> = held.iter().map(|delivery| nack(delivery, delay)).collect();
        subscription.nack(&nacks).await.expect("given back");
        let one_more = [message(1, 4)];
        assert!(timeout(delay / 2, transport.publish(&one_more)).await.is_err(), "it is full");
        tokio::time::advance(delay).await;
        let again = now(&mut *subscription).await;
        assert_eq!(numbers(&again), [0, 1, 2, 3]);
        let tokens: Vec<_> = again.iter().map(|delivery| delivery.token).collect();
        subscription.ack(&tokens).await.expect("acknowledged");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_last_subscription_left_is_kept() {
    let transport = open();
    drop(subscribe(&transport, 1, "g", 10).await);
    publish(&transport, 1, 0..2).await;
    let mut next = subscribe(&transport, 1, "g", 10).await;
    assert_eq!(numbers(&now(&mut *next).await), [0, 1]);
}

/// A receive that was woken and is dropped before it takes the message hands the wake on.
#[tokio::test(start_paused = true)]
async fn a_wake_is_not_lost_with_the_receiver_that_got_it() {
    let transport = open();
    let mut first = subscribe(&transport, 1, "g", 10).await;
    let mut second = subscribe(&transport, 1, "g", 10).await;
    let mut dropped = Box::pin(first.receive(10, LONG));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(dropped.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    let waiting = tokio::spawn(async move {
        let began = Instant::now();
        (numbers(&second.receive(10, LONG).await.expect("received")), began.elapsed())
    });
    tokio::task::yield_now().await;
    publish(&transport, 1, 0..1).await;
    drop(dropped);
    let (came, after) = waiting.await.expect("no panic");
    assert_eq!(came, [0]);
    assert!(after < ACK_WAIT, "it was not woken");
}

/// What a dropped receive did not return is still queued; no redelivery time passes.
#[tokio::test(start_paused = true)]
async fn what_a_dropped_receive_did_not_return_stays_queued() {
    for polls in 0..5 {
        let transport = open();
        let mut subscription = subscribe(&transport, 1, "g", 10).await;
        let (returned, ()) = tokio::join!(
            drop_after_polls(subscription.receive(10, ACK_WAIT / 2), polls),
            publish(&transport, 1, 0..2)
        );
        let mut all = numbers(&returned.transpose().expect("received").unwrap_or_default());
        let rest = now(&mut *subscription).await;
        assert!(rest.iter().all(|delivery| delivery.attempt == 1));
        all.extend(numbers(&rest));
        assert_eq!(all, [0, 1], "after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_was_ended_refuses_its_tokens() {
    let transport = open();
    let mut subscription = subscribe(&transport, 1, "g", 10).await;
    publish(&transport, 1, 0..1).await;
    let held = now(&mut *subscription).await;
    subscription.close().await.expect("closed");
    let error = subscription.ack(&[held[0].token]).await.expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
    let error = subscription.nack(&[]).await.expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

/// Real threads and real time: publishers that wait for room, subscriptions that come and go,
/// receives that are dropped. Each message is settled once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_from_many_threads_nothing_is_lost() {
    const PUBLISHERS: u16 = 4;
    const EACH: u16 = 2_000;
    let transport = InMemoryTransport::builder().queue_messages_max(50).build().expect("sound");
    let settled = Arc::new(std::sync::Mutex::new(Vec::<u16>::new()));
    let total = usize::from(PUBLISHERS * EACH);
    let mut tasks = Vec::new();
    // One stays, so that the queue never goes pending, which would drop messages.
    for consumer in 0..4 {
        let (transport, settled) = (transport.clone(), Arc::clone(&settled));
        let mut subscription = subscribe(&transport, 1, "g", 20).await;
        tasks.push(tokio::spawn(async move {
            for round in 0.. {
                if settled.lock().expect("no panic").len() >= total {
                    return;
                }
                let receive = subscription.receive(7, Duration::from_millis(5));
                let came = match round % 3 {
                    0 => drop_after_polls(receive, 1).await.transpose(),
                    _ => receive.await.map(Some),
                };
                let came = came.expect("received").unwrap_or_default();
                if consumer > 0 && round % 11 == 0 {
                    // Gone with what it holds.
                    subscription = subscribe(&transport, 1, "g", 20).await;
                    continue;
                }
                let tokens: Vec<_> = came.iter().map(|delivery| delivery.token).collect();
                subscription.ack(&tokens).await.expect("acknowledged");
                settled.lock().expect("no panic").extend(numbers(&came));
            }
        }));
    }
    for publisher in 0..PUBLISHERS {
        let transport = transport.clone();
        tasks.push(tokio::spawn(async move {
            let first = publisher * EACH;
            for batch in (first..first + EACH).collect::<Vec<_>>().chunks(60) {
                publish(&transport, 1, batch.iter().copied()).await;
            }
        }));
    }
    for task in tasks {
        timeout(Duration::from_secs(60), task).await.expect("it ends").expect("no task fails");
    }
    let mut settled = settled.lock().expect("no panic").clone();
    settled.sort_unstable();
    assert_eq!(settled, (0..PUBLISHERS * EACH).collect::<Vec<_>>());
}
