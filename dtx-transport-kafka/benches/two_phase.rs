//! Two-phase sagas of three participants over Kafka, 1,024 in flight, against a bare client of the
//! same library that moves as many messages of the same size in the same run.
//!
//! `cargo xtask services exec kafka -- cargo bench -p dtx-transport-kafka --features test-kafka`

use std::{
    env,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dtx_core::{
    answer::Done,
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    resource::{Amount, Debit, Ledger},
    store::{MemoryStore, Outcome},
    transaction::Transaction,
    transport::{Body, Command, Envelope, Transport, WireMessage},
};
use dtx_runtime::{coordinator::Dtx, participant::OnStore};
use dtx_transport_kafka::{KafkaSettings, TopicPrefix};
use rdkafka::{
    ClientConfig, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use tokio::{sync::Semaphore, task::JoinSet};

const PARTICIPANTS: [&str; 3] = ["payment", "stock", "shipping"];
/// Commands and replies of prepare and execute.
const MESSAGES: u64 = 12;
const IN_FLIGHT: usize = 1_024;
const ACCOUNTS: u64 = 2_048;

fn settings(brokers: &str, prefix: &str) -> KafkaSettings {
    let settings = KafkaSettings::new(brokers).expect("brokers");
    settings.topic_prefix(TopicPrefix::new(prefix).expect("a prefix"))
}

fn transaction(number: u64) -> Transaction {
    let mut builder = Transaction::builder(Pattern::TwoPhaseSaga);
    for participant in PARTICIPANTS {
        let account = format!("a{}", number % ACCOUNTS);
        builder = builder.call::<Debit>(participant, Amount { account, cents: 1 });
    }
    builder.build().expect("a transaction")
}

/// Transactions in a second, once they run.
async fn over_kafka(brokers: &str, prefix: &str, count: u64) -> f64 {
    let store = MemoryStore::new();
    let ledger = Ledger::on(&store);
    let accounts: Vec<_> = (0..ACCOUNTS).map(|n| (format!("a{n}"), 1_000_000)).collect();
    let transport = Arc::new(settings(brokers, prefix).connect().await.expect("it connects"));
    let shared: Arc<dyn Transport> = Arc::clone(&transport) as _;
    let mut builder = Dtx::builder().store(store.clone()).shared_transport(shared);
    for participant in PARTICIPANTS {
        ledger.open_accounts(participant, &accounts).await.expect("accounts");
        let participant = Ledger::on(&store).participant(participant);
        builder = builder.participant(participant.expect("a participant"));
    }
    let dtx = builder.allow_volatile().start().await.expect("it starts");
    run(&dtx, IN_FLIGHT as u64).await;
    let (before, began) = (transport.stats(), Instant::now());
    run(&dtx, count).await;
    let took = began.elapsed().as_secs_f64();
    // The client counts its requests once a second, so the last ones may be left out.
    dtx.shutdown(Duration::from_secs(10)).await;
    let after = transport.stats();
    let messages = after.messages - before.messages;
    let requests = after.produce_requests - before.produce_requests;
    println!(
        "{messages} messages ({:.1} for each transaction) in {requests} produce requests: {:.1} in each",
        messages as f64 / count as f64,
        messages as f64 / requests.max(1) as f64
    );
    count as f64 / took
}

async fn run(dtx: &Dtx, count: u64) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let permit = Arc::clone(&room).acquire_owned().await.expect("it is open");
        let mut handle = dtx.submit(transaction(number)).await.expect("submitted");
        tasks.spawn(async move {
            let outcome = handle.outcome().await;
            drop(permit);
            outcome
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        assert_eq!(outcome.expect("no panic").expect("an outcome"), Outcome::Committed);
    }
}

fn command() -> Command {
    Command {
        tx: TxId::from_bytes([7; 16]),
        operation: OperationIndex(2),
        phase: Phase::Execute,
        pattern: Pattern::TwoPhaseSaga,
        participant: ParticipantName::new("payment").expect("a name"),
        action: ActionName::new("debit").expect("a name"),
        action_version: 1,
        attempt: 1,
        shard: ShardId(5),
        epoch: Epoch(9),
        sequence: AcceptSequence { epoch: Epoch(8), number: 44 },
        watermark: AcceptSequence { epoch: Epoch(7), number: 33 },
        deadline: Some(Duration::from_secs(60)),
        ttl: Some(Duration::from_secs(60)),
        one_phase: false,
        reply: true,
        payload: "{\"account\":\"a1000\",\"cents\":1}".into(),
        inputs: Vec::new(),
    }
}

fn headers(message: &WireMessage) -> OwnedHeaders {
    let all = OwnedHeaders::new_with_capacity(message.headers.len());
    let add = |all: OwnedHeaders, (key, value): &(&'static str, String)| {
        all.insert(Header { key, value: Some(value) })
    };
    message.headers.iter().fold(all, add)
}

/// Messages in a second that a bare client produces and consumes, half of them like commands and
/// half like replies, with as many in flight as the transactions have.
fn bare(brokers: &str, prefix: &str, count: u64) -> f64 {
    let topic = format!("{prefix}.2ps.payment");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let mut reads = config.clone();
    reads.set("group.id", format!("{prefix}.bare")).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = reads.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::from(dtx_transport_kafka::PARTITIONS_DEFAULT) {
        let wait = Duration::from_secs(10);
        let (_, end) = consumer.fetch_watermarks(&topic, partition, wait).expect("the end");
        let end = rdkafka::Offset::Offset(end);
        list.add_partition_offset(&topic, partition, end).expect("an offset");
    }
    consumer.assign(&list).expect("assigned");
    config.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "1");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    let envelope = Envelope::new(Body::Command(Arc::new(command())));
    let reply = Envelope::new(Body::Reply(command().reply(Ok(Done::default()))));
    let messages = [envelope, reply].map(|envelope| WireMessage::encode(&envelope));
    let began = Instant::now();
    let produces = thread::spawn(move || {
        for number in 0..count {
            while producer.in_flight_count() > 3 * IN_FLIGHT as i32 {
                thread::yield_now();
            }
            let message = &messages[(number % 2) as usize];
            let key = number.to_string();
            let record = BaseRecord::<str, [u8]>::to(&topic).key(&key);
            let record = record.headers(headers(message)).payload(&message.body[..]);
            assert!(producer.send(record).is_ok(), "there is room");
        }
        producer.flush(Duration::from_secs(60)).expect("it is written");
    });
    let mut came = 0;
    while came < count {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            message.expect("a message");
            came += 1;
        }
    }
    produces.join().expect("no panic");
    count as f64 / began.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let brokers = env::var("DTX_TEST_KAFKA_BROKERS").expect("DTX_TEST_KAFKA_BROKERS is set");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let prefix = format!("bench{now}");
    let count = 10_000;
    let transactions = over_kafka(&brokers, &prefix, count).await;
    let moved = transactions * MESSAGES as f64;
    let of = (brokers, prefix);
    let bare = tokio::task::spawn_blocking(move || bare(&of.0, &of.1, count * MESSAGES)).await;
    let bare = bare.expect("no panic");
    println!("{transactions:.0} transactions/s, {moved:.0} messages/s; bare client {bare:.0}/s");
    println!("{:.0} % of the bare client", moved / bare * 100.0);
}
