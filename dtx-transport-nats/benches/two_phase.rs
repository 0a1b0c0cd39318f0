//! Two-phase sagas of three participants over NATS, 1,024 in flight, against a bare client of the
//! same library that moves as many messages of the same size in the same run.
//!
//! `cargo xtask services exec nats -- cargo bench -p dtx-transport-nats --features test-nats`

use std::{env, sync::Arc, time::Duration};

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use dtx_core::{
    answer::Done,
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    resource::{Amount, Debit, Ledger},
    store::{MemoryStore, Outcome},
    transaction::Transaction,
    transport::{Body, Command, Envelope, WireMessage},
};
use dtx_runtime::{coordinator::Dtx, participant::OnStore};
use dtx_transport_nats::{NatsSettings, NatsTransport};
use futures_util::StreamExt;
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

const PARTICIPANTS: [&str; 3] = ["payment", "stock", "shipping"];
/// Commands and replies of prepare and execute.
const MESSAGES: usize = 12;
const IN_FLIGHT: usize = 1_024;
const ACCOUNTS: usize = 2_048;
/// How many messages the bare client asks for at once.
const PULL: usize = 1_024;

fn transaction(number: usize) -> Transaction {
    let mut builder = Transaction::builder(Pattern::TwoPhaseSaga);
    for participant in PARTICIPANTS {
        let account = format!("a{}", number % ACCOUNTS);
        builder = builder.call::<Debit>(participant, Amount { account, cents: 1 });
    }
    builder.build().expect("a transaction")
}

/// Transactions in a second, once they run.
async fn over_nats(url: &str, prefix: &str, count: usize) -> f64 {
    let store = MemoryStore::new();
    let ledger = Ledger::on(&store);
    let accounts: Vec<_> = (0..ACCOUNTS).map(|n| (format!("a{n}"), 1_000_000)).collect();
    let settings = NatsSettings::new(url).expect("an address").prefix(prefix).expect("a prefix");
    let transport = NatsTransport::connect(settings).await.expect("it connects");
    let mut builder = Dtx::builder().store(store.clone()).transport(transport);
    for participant in PARTICIPANTS {
        ledger.open_accounts(participant, &accounts).await.expect("accounts");
        let participant = Ledger::on(&store).participant(participant);
        builder = builder.participant(participant.expect("a participant"));
    }
    let dtx = builder.allow_volatile().start().await.expect("it starts");
    run(&dtx, IN_FLIGHT).await;
    let began = Instant::now();
    run(&dtx, count).await;
    let took = began.elapsed().as_secs_f64();
    dtx.shutdown(Duration::from_secs(10)).await;
    count as f64 / took
}

async fn run(dtx: &Dtx, count: usize) {
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

async fn ask(client: &Client, subject: String, request: serde_json::Value) {
    let body = serde_json::to_vec(&request).expect("it is JSON");
    client.request(format!("$JS.API.{subject}"), body.into()).await.expect("answered");
}

/// Publishes with as many in flight as the transactions have, and awaits every acknowledgement.
async fn produce(client: Client, subject: String, count: usize) {
    let inbox = client.new_inbox();
    let mut acks = client.subscribe(inbox.clone()).await.expect("subscribed");
    let command_envelope = Envelope::new(Body::Command(Arc::new(command())));
    let reply = Envelope::new(Body::Reply(command().reply(Ok(Done::default()))));
    let messages = [command_envelope, reply].map(|envelope| WireMessage::encode(&envelope));
    let mut acknowledged = 0;
    for number in 0..count {
        if number - acknowledged >= 3 * IN_FLIGHT {
            acks.next().await.expect("an acknowledgement");
            acknowledged += 1;
        }
        let message = &messages[number % 2];
        let mut headers = HeaderMap::new();
        for (name, value) in &message.headers {
            headers.insert(*name, value.as_str());
        }
        let (subject, inbox) = (subject.clone(), inbox.clone());
        let sent =
            client.publish_with_reply_and_headers(subject, inbox, headers, message.body.clone());
        sent.await.expect("sent");
    }
    for _ in acknowledged..count {
        acks.next().await.expect("an acknowledgement");
    }
}

/// Messages in a second that a bare client publishes and receives, half of them like commands and
/// half like replies.
async fn bare(url: &str, prefix: &str, count: usize) -> f64 {
    let client = async_nats::connect(url).await.expect("the server is there");
    let other = async_nats::connect(url).await.expect("the server is there");
    let stream = format!("{prefix}_BARE");
    let subject = format!("{prefix}.bare.payment");
    let config = json!({ "name": stream, "subjects": [subject], "storage": "file" });
    ask(&client, format!("STREAM.CREATE.{stream}"), config).await;
    let config = json!({ "stream_name": stream, "config": { "durable_name": "bare",
        "ack_policy": "explicit", "deliver_policy": "all", "max_ack_pending": 65_536 } });
    ask(&client, format!("CONSUMER.DURABLE.CREATE.{stream}.bare"), config).await;
    let began = Instant::now();
    let produces = tokio::spawn(produce(other, subject, count));
    let inbox = client.new_inbox();
    let mut messages = client.subscribe(inbox.clone()).await.expect("subscribed");
    let pull = serde_json::to_vec(&json!({ "batch": PULL })).expect("it is JSON");
    let (mut came, mut asked) = (0, 0);
    while came < count {
        if asked - came <= PULL / 2 {
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.bare");
            let sent = client.publish_with_reply(subject, inbox.clone(), pull.clone().into());
            sent.await.expect("asked");
            asked += PULL;
        }
        let message = messages.next().await.expect("a message");
        let Some(ack) = message.reply else { continue };
        client.publish(ack, Bytes::from_static(b"+ACK")).await.expect("acknowledged");
        came += 1;
    }
    client.flush().await.expect("it is sent");
    produces.await.expect("no panic");
    count as f64 / began.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let url = env::var("DTX_TEST_NATS_URL").expect("DTX_TEST_NATS_URL is set");
    let prefix = format!("b{}", uuid::Uuid::new_v4().simple());
    let count = 10_000;
    let transactions = over_nats(&url, &prefix, count).await;
    let moved = transactions * MESSAGES as f64;
    let bare = bare(&url, &prefix, count * MESSAGES).await;
    println!("{transactions:.0} transactions/s, {moved:.0} messages/s; bare client {bare:.0}/s");
    println!("{:.0} % of the bare client", moved / bare * 100.0);
}
