//! Messages to send, and ways to receive them that end.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use dtx_core::{
    answer::Done,
    error::ErrorKind,
    ids::{AcceptSequence, Epoch, HolderId, OperationIndex, ShardId, TxId},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    transport::{
        AckToken, Body, Command, Delivery, Envelope, Inquiry, InquiryAnswer, Interest, Subscribe,
        Subscription, Transport,
    },
};
use tokio::time::{Instant, timeout};

/// How long anything may take that must happen.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// How long nothing must happen before it is believed that nothing does.
pub(super) const QUIET: Duration = Duration::from_millis(250);

pub(super) const PAYMENT: &str = "payment";
pub(super) const INVENTORY: &str = "inventory";

pub(super) fn participant(name: &str) -> ParticipantName {
    ParticipantName::new(name).expect("a name")
}

/// The transaction with this number.
pub(super) fn tx(number: u32) -> TxId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    TxId::from_bytes(bytes)
}

fn number(envelope: &Envelope) -> u32 {
    let bytes = envelope.tx();
    let bytes = bytes.as_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub(super) fn command_to(to: &str, number: u32) -> Command {
    Command {
        tx: tx(number),
        operation: OperationIndex(2),
        phase: Phase::Reserve,
        pattern: Pattern::ThreePhaseSaga,
        participant: participant(to),
        action: ActionName::new("take").expect("a name"),
        action_version: 3,
        attempt: 1,
        shard: ShardId(5),
        epoch: Epoch(9),
        sequence: AcceptSequence { epoch: Epoch(8), number: 44 },
        watermark: AcceptSequence { epoch: Epoch(7), number: 33 },
        deadline: Some(Duration::from_millis(1_500)),
        ttl: Some(Duration::from_secs(60)),
        one_phase: true,
        reply: true,
        payload: Bytes::from(format!("payload {number}")),
        inputs: Vec::new(),
    }
}

pub(super) fn command(to: &str, number: u32) -> Envelope {
    Envelope::new(Body::Command(Arc::new(command_to(to, number))))
}

pub(super) fn commands(to: &str, numbers: impl IntoIterator<Item = u32>) -> Vec<Envelope> {
    numbers.into_iter().map(|number| command(to, number)).collect()
}

pub(super) fn reply(shard: u16, number: u32) -> Envelope {
    let command = Command { shard: ShardId(shard), ..command_to(PAYMENT, number) };
    Envelope::new(Body::Reply(command.reply(Ok(Done::with(format!("output {number}"))))))
}

pub(super) fn inquiry(number: u32) -> Envelope {
    Envelope::new(Body::Inquiry(Inquiry {
        tx: tx(number),
        pattern: Pattern::TwoPhaseCommit,
        operation: OperationIndex(1),
        participant: participant(PAYMENT),
        host: HolderId(77),
    }))
}

pub(super) fn inquiry_answer(host: u128, number: u32) -> Envelope {
    Envelope::new(Body::InquiryAnswer(InquiryAnswer {
        tx: tx(number),
        operation: OperationIndex(1),
        participant: participant(PAYMENT),
        host: HolderId(host),
        verdict: None,
        retry_after: Duration::from_millis(125),
    }))
}

pub(super) fn to(name: &str) -> Interest {
    Interest::Participant(participant(name))
}

/// Subscribes in the group `workers`, with room for all that the suite sends.
pub(super) async fn subscribe(
    transport: &Arc<dyn Transport>,
    interest: Interest,
) -> Box<dyn Subscription> {
    subscribe_as(transport, interest, "workers", 1_000).await
}

pub(super) async fn subscribe_as(
    transport: &Arc<dyn Transport>,
    interest: Interest,
    group: &str,
    prefetch: usize,
) -> Box<dyn Subscription> {
    let subscribe = Subscribe { interest, group: group.to_owned(), prefetch };
    let subscription = timeout(DEADLINE, transport.subscribe(&subscribe)).await;
    subscription.expect("subscribe ends").expect("subscribed")
}

/// Publishes and checks that every message has its `Ok`.
pub(super) async fn publish(transport: &Arc<dyn Transport>, messages: &[Envelope]) {
    let results = timeout(DEADLINE, transport.publish(messages)).await.expect("publish ends");
    assert_eq!(results.len(), messages.len(), "one result per message");
    for (index, result) in results.iter().enumerate() {
        assert!(result.is_ok(), "message {index}: {result:?}");
    }
}

/// Receives until there are `count` deliveries, without acknowledging any.
pub(super) async fn receive(subscription: &mut dyn Subscription, count: usize) -> Vec<Delivery> {
    let end = Instant::now() + DEADLINE;
    let mut all = Vec::new();
    while all.len() < count {
        assert!(Instant::now() < end, "only {} of {count} messages came", all.len());
        let wait = Duration::from_secs(1);
        let more = timeout(DEADLINE, subscription.receive(count - all.len(), wait)).await;
        all.extend(more.expect("receive ends").expect("received"));
    }
    all
}

/// Receives and acknowledges until nothing comes for a while; at least `count` must have come.
pub(super) async fn drain(subscription: &mut dyn Subscription, count: usize) -> Vec<Delivery> {
    let end = Instant::now() + DEADLINE;
    let mut all = Vec::new();
    loop {
        let more = timeout(DEADLINE, subscription.receive(64, QUIET)).await;
        let more = more.expect("receive ends").expect("received");
        subscription.ack(&tokens(&more)).await.expect("acknowledged");
        if more.is_empty() && all.len() >= count {
            return all;
        }
        all.extend(more);
        assert!(Instant::now() < end, "{} messages came, {count} were expected", all.len());
    }
}

/// Checks that nothing comes for `span`.
pub(super) async fn assert_quiet(subscription: &mut dyn Subscription, span: Duration) {
    let end = Instant::now() + span;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let more = timeout(DEADLINE + span, subscription.receive(64, left)).await;
        let more = more.expect("receive ends").expect("received");
        assert!(more.is_empty(), "something came: {:?}", numbers(&more));
        if left.is_zero() {
            return;
        }
        if Instant::now() < end {
            // A receive that returns early must not turn this into a busy loop.
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn tokens(deliveries: &[Delivery]) -> Vec<AckToken> {
    deliveries.iter().map(|delivery| delivery.token).collect()
}

/// The numbers of the messages, in the order in which they came.
pub(super) fn numbers(deliveries: &[Delivery]) -> Vec<u32> {
    deliveries.iter().map(|delivery| number(&delivery.envelope)).collect()
}

/// Checks that each of these came exactly once, in any order.
pub(super) fn assert_each_once(deliveries: &[Delivery], expected: impl IntoIterator<Item = u32>) {
    let mut came = numbers(deliveries);
    came.sort_unstable();
    assert_eq!(came, expected.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
}

/// The kind of an error that must be there.
pub(super) fn kind_of<T>(
    result: Result<T, dtx_core::error::TransportError>,
    what: &str,
) -> ErrorKind {
    match result {
        Ok(_) => panic!("{what} did not fail"),
        Err(error) => error.kind(),
    }
}
