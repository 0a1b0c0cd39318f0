//! The floor: the library alone, without dtx. It carries the messages that dtx has written, over
//! streams on disk, each acknowledged by the server when it is published and by whoever received
//! it when it is handled.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use crate::{IN_FLIGHT, PARTICIPANTS};

/// Prepare and execute.
const PHASES: usize = 2;
/// How many messages are asked for at once.
const PULL: usize = 1_024;
/// Of whose transaction a message is, in the place where dtx has its id.
const NUMBER: &str = "dtx-tx";

/// A message as dtx has written it.
#[derive(Clone)]
pub(crate) struct Sample {
    headers: HeaderMap,
    body: Bytes,
}

/// Listens to what dtx publishes.
pub(crate) struct Samples {
    command: Subscriber,
    reply: Subscriber,
}

impl Samples {
    pub(crate) async fn of(url: &str, prefix: &str) -> Self {
        let client = async_nats::connect(url).await.expect("the server is there");
        let command = format!("{prefix}.2ps.{}.prepare", PARTICIPANTS[0]);
        let command = client.subscribe(command).await.expect("subscribed");
        let reply = client.subscribe(format!("{prefix}.response.*")).await.expect("subscribed");
        client.flush().await.expect("the server knows");
        Self { command, reply }
    }

    async fn take(mut self) -> [Sample; 2] {
        let of = |message: Option<Message>| {
            let message = message.expect("a message");
            let headers = message.headers.expect("headers");
            Sample { headers, body: message.payload }
        };
        [of(self.command.next().await), of(self.reply.next().await)]
    }
}

/// The streams of the floor: one for the commands of all, one for the replies.
pub(crate) struct Bare {
    url: String,
    prefix: String,
    command: Sample,
    reply: Sample,
}

async fn ask(client: &Client, subject: String, request: serde_json::Value) {
    let body = serde_json::to_vec(&request).expect("it is JSON");
    client.request(format!("$JS.API.{subject}"), body.into()).await.expect("answered");
}

fn number(message: &Message) -> usize {
    let headers = message.headers.as_ref().expect("headers");
    headers.get(NUMBER).expect("a number").as_str().parse().expect("it is one")
}

/// Publishes without waiting; the acknowledgements are counted.
struct Sends {
    client: Client,
    inbox: String,
    sent: AtomicUsize,
    acknowledged: Arc<AtomicUsize>,
    counts: AbortHandle,
}

impl Sends {
    async fn new(url: &str) -> Self {
        let client = async_nats::connect(url).await.expect("the server is there");
        let inbox = client.new_inbox();
        let mut acks = client.subscribe(inbox.clone()).await.expect("subscribed");
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&acknowledged);
        let counts = tokio::spawn(async move {
            while acks.next().await.is_some() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            client,
            inbox,
            sent: AtomicUsize::new(0),
            acknowledged,
            counts: counts.abort_handle(),
        }
    }

    async fn send(&self, subject: String, number: usize, sample: &Sample) {
        let mut headers = sample.headers.clone();
        // As long as the text of a transaction's id.
        headers.insert(NUMBER, format!("{number:036}").as_str());
        let sent = self.sent.fetch_add(1, Ordering::Relaxed);
        headers.insert("Nats-Msg-Id", format!("{}-{sent}", self.inbox).as_str());
        let (inbox, body) = (self.inbox.clone(), sample.body.clone());
        let sent = self.client.publish_with_reply_and_headers(subject, inbox, headers, body);
        sent.await.expect("sent");
    }

    fn open(&self) -> usize {
        self.sent.load(Ordering::Relaxed) - self.acknowledged.load(Ordering::Relaxed)
    }

    async fn all_are_acknowledged(&self) {
        while self.open() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Sends {
    fn drop(&mut self) {
        self.counts.abort();
    }
}

/// Pulls from a consumer and acknowledges.
struct Receives {
    client: Client,
    messages: Subscriber,
    pull: String,
    inbox: String,
    came: usize,
    asked: usize,
}

impl Receives {
    async fn next(&mut self) -> Message {
        loop {
            if self.asked - self.came <= PULL / 2 {
                let body = serde_json::to_vec(&json!({ "batch": PULL })).expect("it is JSON");
                let (subject, inbox) = (self.pull.clone(), self.inbox.clone());
                let sent = self.client.publish_with_reply(subject, inbox, body.into());
                sent.await.expect("asked");
                self.asked += PULL;
            }
            let message = self.messages.next().await.expect("a message");
            let Some(ack) = message.reply.clone() else { continue };
            self.came += 1;
            let sent = self.client.publish(ack, Bytes::from_static(b"+ACK"));
            sent.await.expect("acknowledged");
            return message;
        }
    }
}

impl Bare {
    pub(crate) async fn new(url: &str, prefix: &str, samples: Samples) -> Self {
        let [command, reply] = samples.take().await;
        let bare = Self { url: url.into(), prefix: prefix.into(), command, reply };
        let client = async_nats::connect(url).await.expect("the server is there");
        for (stream, subjects) in [("COMMANDS", "2ps.*.*"), ("REPLIES", "response.*")] {
            let name = bare.stream(stream);
            let subjects = [bare.subject(subjects)];
            let config = json!({ "name": name, "subjects": subjects, "storage": "file" });
            ask(&client, format!("STREAM.CREATE.{name}"), config).await;
        }
        for participant in PARTICIPANTS {
            let filter = bare.subject(&format!("2ps.{participant}.*"));
            bare.consumer(&client, "COMMANDS", participant, filter).await;
        }
        bare.consumer(&client, "REPLIES", "driver", bare.subject("response.*")).await;
        bare
    }

    fn stream(&self, name: &str) -> String {
        format!("BARE_{}_{name}", self.prefix)
    }

    fn subject(&self, rest: &str) -> String {
        format!("bare-{}.{rest}", self.prefix)
    }

    async fn consumer(&self, client: &Client, stream: &str, name: &str, filter: String) {
        let stream = self.stream(stream);
        let config = json!({ "stream_name": stream, "config": { "durable_name": name,
            "ack_policy": "explicit", "deliver_policy": "all", "filter_subject": filter,
            "max_ack_pending": 65_536 } });
        ask(client, format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), config).await;
    }

    async fn receives(&self, stream: &str, name: &str) -> Receives {
        let client = async_nats::connect(&self.url).await.expect("the server is there");
        let inbox = client.new_inbox();
        let messages = client.subscribe(inbox.clone()).await.expect("subscribed");
        let pull = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", self.stream(stream));
        Receives { client, messages, pull, inbox, came: 0, asked: 0 }
    }

    fn command_to(&self, participant: &str, phase: &str) -> String {
        self.subject(&format!("2ps.{participant}.{phase}"))
    }

    async fn command(&self, sends: &Sends, number: usize, phase: &str) {
        for participant in PARTICIPANTS {
            sends.send(self.command_to(participant, phase), number, &self.command).await;
        }
    }

    async fn reply(&self, sends: &Sends, number: usize) {
        let subject = self.subject(&format!("response.{}", number % 64));
        sends.send(subject, number, &self.reply).await;
    }

    /// Transactions in a second of the bare client: commands to three services, each of which
    /// answers every command, and the second commands of a transaction once all have answered.
    pub(crate) async fn round_trips(self: &Arc<Self>, count: usize, in_flight: usize) -> f64 {
        let sends = Arc::new(Sends::new(&self.url).await);
        let mut services = JoinSet::new();
        for participant in PARTICIPANTS {
            let (this, sends) = (Arc::clone(self), Arc::clone(&sends));
            let mut receives = self.receives("COMMANDS", participant).await;
            services.spawn(async move {
                loop {
                    let number = number(&receives.next().await);
                    this.reply(&sends, number).await;
                }
            });
        }
        let mut replies = self.receives("REPLIES", "driver").await;
        // The first ones find all connections and are not counted.
        let (mut begun, mut done) = (0, 0);
        let mut left = HashMap::new();
        let mut began = Instant::now();
        while done < in_flight + count {
            while begun < in_flight + count && left.len() < in_flight {
                left.insert(begun, PHASES * PARTICIPANTS.len());
                self.command(&sends, begun, "prepare").await;
                begun += 1;
            }
            let number = number(&replies.next().await);
            let open = left.get_mut(&number).expect("it is open");
            *open -= 1;
            match *open {
                0 => {
                    left.remove(&number);
                    done += 1;
                    if done == in_flight {
                        began = Instant::now();
                    }
                }
                open if open % PARTICIPANTS.len() == 0 => {
                    self.command(&sends, number, "execute").await;
                }
                _ => {}
            }
        }
        sends.all_are_acknowledged().await;
        replies.client.flush().await.expect("sent");
        let took = began.elapsed().as_secs_f64();
        services.shutdown().await;
        count as f64 / took
    }

    /// Messages in a second that go one way, none of which waits for another: half of them
    /// commands and half replies.
    pub(crate) async fn one_way(self: &Arc<Self>, count: usize) -> f64 {
        let sends = Sends::new(&self.url).await;
        let came = Arc::new(AtomicUsize::new(0));
        let mut reads = JoinSet::new();
        let of = PARTICIPANTS.map(|name| ("COMMANDS", name));
        for (stream, name) in of.into_iter().chain([("REPLIES", "driver")]) {
            let mut receives = self.receives(stream, name).await;
            let came = Arc::clone(&came);
            reads.spawn(async move {
                loop {
                    receives.next().await;
                    came.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let began = Instant::now();
        for number in 0..count {
            while sends.open() >= PARTICIPANTS.len() * IN_FLIGHT {
                tokio::task::yield_now().await;
            }
            let tx = number / 2;
            match number % 2 {
                0 => {
                    let subject = self.command_to(PARTICIPANTS[tx % 3], "prepare");
                    sends.send(subject, tx, &self.command).await;
                }
                _ => self.reply(&sends, tx).await,
            }
        }
        while came.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
        sends.all_are_acknowledged().await;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        reads.shutdown().await;
        rate
    }
}
