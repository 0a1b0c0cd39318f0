//! Transports with a topic prefix of their own.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use dtx_core::{
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    transport::{
        AckToken, Body, Command, Delivery, Envelope, Interest, Subscribe, Subscription, Transport,
    },
};
use dtx_testkit::servers::{Kafka, Service};
use dtx_transport_kafka::{KafkaSettings, KafkaTransport, TopicPrefix};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers as _,
};

/// The address of the broker.
pub(crate) fn brokers() -> String {
    let (variable, name) = (Kafka.variable(), Kafka.name());
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec {name} -- COMMAND sets it")
    })
}

/// A prefix that no other test has.
pub(crate) fn prefix() -> TopicPrefix {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    TopicPrefix::new(format!("t{now}-{}-{count}", std::process::id())).expect("it is valid")
}

/// The settings of a test: few partitions, and a group that finds itself soon.
pub(crate) fn settings() -> KafkaSettings {
    at(&brokers())
}

pub(crate) fn at(brokers: &str) -> KafkaSettings {
    KafkaSettings::new(brokers)
        .expect("brokers")
        .topic_prefix(prefix())
        .partitions(2)
        .batch_messages_max(2_000)
        .session_timeout(Duration::from_secs(2))
}

/// How long anything may take that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How long nothing must happen before it is believed that nothing does.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

pub(crate) fn participant() -> ParticipantName {
    ParticipantName::new("payment").expect("a name")
}

/// A command of the transaction with this number.
pub(crate) fn command_of(pattern: Pattern, tx: u32, attempt: u32) -> Command {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&tx.to_be_bytes());
    Command {
        tx: TxId::from_bytes(bytes),
        operation: OperationIndex(2),
        phase: Phase::Execute,
        pattern,
        participant: participant(),
        action: ActionName::new("take").expect("a name"),
        action_version: 3,
        attempt,
        shard: ShardId(5),
        epoch: Epoch(9),
        sequence: AcceptSequence { epoch: Epoch(8), number: 44 },
        watermark: AcceptSequence { epoch: Epoch(7), number: 33 },
        deadline: None,
        ttl: None,
        one_phase: false,
        reply: true,
        payload: Bytes::from(format!("payload {tx}")),
        inputs: Vec::new(),
    }
}

/// A command of a transaction of its own.
pub(crate) fn command(tx: u32) -> Envelope {
    Envelope::new(Body::Command(Arc::new(command_of(Pattern::Saga, tx, 1))))
}

/// Commands of one transaction, and so of one partition: their attempts tell them apart.
pub(crate) fn of_one(attempts: std::ops::Range<u32>) -> Vec<Envelope> {
    let one =
        |attempt| Envelope::new(Body::Command(Arc::new(command_of(Pattern::Saga, 1, attempt))));
    attempts.map(one).collect()
}

/// The attempt that stands in a command.
pub(crate) fn attempt_of(delivery: &Delivery) -> u32 {
    match &delivery.envelope.body {
        Body::Command(command) => command.attempt,
        other => panic!("{other:?} is no command"),
    }
}

/// The number of the transaction.
pub(crate) fn tx_of(delivery: &Delivery) -> u32 {
    let tx = delivery.envelope.tx();
    let bytes = tx.as_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub(crate) async fn connect(settings: KafkaSettings) -> KafkaTransport {
    settings.connect().await.expect("it connects")
}

pub(crate) async fn subscribe(transport: &KafkaTransport) -> Box<dyn Subscription> {
    let interest = Interest::Participant(participant());
    let subscribe = Subscribe { interest, group: "workers".to_owned(), prefetch: 10_000 };
    transport.subscribe(&subscribe).await.expect("subscribed")
}

pub(crate) async fn publish(transport: &KafkaTransport, messages: &[Envelope]) {
    for result in transport.publish(messages).await {
        result.expect("published");
    }
}

/// Receives until there are `count` deliveries, without acknowledging any.
pub(crate) async fn receive(subscription: &mut dyn Subscription, count: usize) -> Vec<Delivery> {
    let end = Instant::now() + DEADLINE;
    let mut all = Vec::new();
    while all.len() < count {
        assert!(Instant::now() < end, "only {} of {count} messages came", all.len());
        let more = subscription.receive(count - all.len(), Duration::from_millis(500)).await;
        all.extend(more.expect("received"));
    }
    all
}

pub(crate) async fn assert_quiet(subscription: &mut dyn Subscription) {
    let more = subscription.receive(10, QUIET).await.expect("received");
    assert!(more.is_empty(), "something came: {more:?}");
}

pub(crate) fn tokens(deliveries: &[Delivery]) -> Vec<AckToken> {
    deliveries.iter().map(|delivery| delivery.token).collect()
}

/// A client that is none of dtx, for looking at what is in the broker.
pub(crate) fn raw(group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers()).set("group.id", group);
    config.set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    config
}

/// What the group of the tests has committed for the topic: offset and text by partition.
pub(crate) fn committed(prefix: &TopicPrefix, topic: &str) -> Vec<(i64, String)> {
    let client: BaseConsumer =
        raw(&format!("{prefix}.workers.commands.payment")).create().expect("a client");
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, 1);
    let committed = client.committed_offsets(list, DEADLINE).expect("committed");
    let of = |offset: Offset| offset.to_raw().expect("an offset");
    committed.elements().iter().map(|one| (of(one.offset()), one.metadata().to_owned())).collect()
}

/// Names and values.
pub(crate) type Headers = Vec<(String, String)>;

/// The headers and bodies of all messages in a topic, once there are `count`.
pub(crate) fn read_all(topic: &str, count: usize) -> Vec<(Headers, Vec<u8>)> {
    let client: BaseConsumer = raw(topic).create().expect("a client");
    let mut list = TopicPartitionList::new();
    for partition in 0..2 {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    client.assign(&list).expect("assigned");
    let end = Instant::now() + DEADLINE;
    let mut all = Vec::new();
    while all.len() < count {
        assert!(Instant::now() < end, "only {} of {count} messages are there", all.len());
        let Some(Ok(message)) = client.poll(Duration::from_millis(100)) else { continue };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = message.headers().map(|all| {
            all.iter().map(|h| (h.key.to_owned(), text(h.value.unwrap_or_default()))).collect()
        });
        let body = message.payload().unwrap_or_default().to_vec();
        all.push((headers.unwrap_or_default(), body));
    }
    all
}

pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
    headers.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
}
