//! Transports with a prefix of their own on the server that tests share.

use std::{
    env, fs,
    path::PathBuf,
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_nats::HeaderMap;
use bytes::Bytes;
use dtx_core::{
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    transport::{Body, Command, Envelope, Interest, Subscribe, Subscription, Transport},
};
use dtx_testkit::{
    servers::{Nats, Server, Service},
    transport::TransportHarness,
};
use dtx_transport_nats::{NatsSettings, NatsTransport};

use crate::raw;

/// Short, so that the suite sees what comes again.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(1);

/// The URL of the server that tests share.
pub(crate) fn url() -> String {
    let (variable, name) = (Nats.variable(), Nats.name());
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec {name} -- COMMAND sets it")
    })
}

/// A server of one test alone. `more` is added to its configuration.
pub(crate) fn server(service: &'static dyn Service, name: &str, more: &[(&str, &str)]) -> Server {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("nats-{name}"));
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    fs::create_dir_all(&folder).expect("a folder");
    for (file, text) in more {
        fs::write(folder.join(file), text).expect("it is written");
    }
    Server::start(service, &folder).expect("it starts")
}

/// A prefix that no other test has.
pub(crate) fn prefix() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let since = std::time::UNIX_EPOCH.elapsed().expect("it is later than that").as_millis();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("t{:x}-{:x}-{number}", process::id(), since & 0xffff_ffff)
}

/// The settings of a test, on this server, in this prefix.
pub(crate) fn settings(url: &str, prefix: &str) -> NatsSettings {
    let settings = NatsSettings::new(url).expect("it is valid");
    let settings = settings.prefix(prefix).expect("it is valid");
    settings.ack_wait(ACK_WAIT).batch_messages_max(100).body_bytes_max(4_096)
}

/// Connects.
pub(crate) async fn connect(settings: NatsSettings) -> NatsTransport {
    NatsTransport::connect(settings).await.expect("it connects")
}

pub(crate) fn payment() -> ParticipantName {
    ParticipantName::new("payment").expect("a name")
}

/// A command to the participant `payment` with this number.
pub(crate) fn command(pattern: Pattern, number: u32) -> Envelope {
    let mut tx = [9; 16];
    tx[..4].copy_from_slice(&number.to_be_bytes());
    Envelope::new(Body::Command(Arc::new(Command {
        tx: TxId::from_bytes(tx),
        operation: OperationIndex(0),
        phase: Phase::Execute,
        pattern,
        participant: payment(),
        action: ActionName::new("take").expect("a name"),
        action_version: 1,
        attempt: 1,
        shard: ShardId(1),
        epoch: Epoch(1),
        sequence: AcceptSequence::default(),
        watermark: AcceptSequence::default(),
        deadline: None,
        ttl: None,
        one_phase: false,
        reply: true,
        payload: Bytes::from(number.to_string()),
        inputs: Vec::new(),
    })))
}

/// The number of a command.
pub(crate) fn number(envelope: &Envelope) -> u32 {
    let Body::Command(command) = &envelope.body else { panic!("{envelope:?} is no command") };
    std::str::from_utf8(&command.payload).expect("text").parse().expect("a number")
}

/// Subscribes for the participant `payment`.
pub(crate) async fn subscribe(transport: &NatsTransport) -> Box<dyn Subscription> {
    let interest = Interest::Participant(payment());
    let wish = Subscribe { interest, group: "workers".to_owned(), prefetch: 1_000 };
    transport.subscribe(&wish).await.expect("subscribed")
}

/// Transports of the suite.
#[derive(Debug, Default)]
pub(crate) struct NatsHarness {
    /// A server that is ours to kill, where a case needs one.
    own: Mutex<Option<Server>>,
    prefix: Mutex<String>,
}

impl NatsHarness {
    /// On a server that is ours to kill.
    pub(crate) fn on(server: Server) -> Self {
        Self { own: Mutex::new(Some(server)), prefix: Mutex::default() }
    }

    fn url(&self) -> String {
        self.own.lock().expect("no panic").as_ref().map_or_else(url, Server::url)
    }
}

#[async_trait::async_trait]
impl TransportHarness for NatsHarness {
    async fn open(&self) -> Arc<dyn Transport> {
        let (url, prefix) = (self.url(), prefix());
        raw::sweep(&url).await;
        *self.prefix.lock().expect("no panic") = prefix.clone();
        Arc::new(connect(settings(&url, &prefix)).await)
    }

    fn redelivery(&self) -> Option<Duration> {
        Some(ACK_WAIT)
    }

    fn queue_messages_max(&self) -> Option<usize> {
        None
    }

    fn kept_before_subscription(&self) -> usize {
        // All of them: the streams are on disk.
        usize::MAX
    }

    async fn publish_unreadable(&self, _: &Arc<dyn Transport>, participant: &ParticipantName) {
        let client = raw::client(&self.url()).await;
        let prefix = self.prefix.lock().expect("no panic").clone();
        let subject = format!("{prefix}.3ps.{participant}.reserve");
        let answer = client.request(subject.clone(), "no message of dtx".into()).await;
        answer.expect("it is stored");
        let mut headers = HeaderMap::new();
        headers.insert("dtx-version", "77");
        client.request_with_headers(subject, headers, "".into()).await.expect("it is stored");
    }

    async fn restart(&self, _: &Arc<dyn Transport>) {
        let mut own = self.own.lock().expect("no panic");
        if let Some(server) = own.as_mut() {
            server.kill().expect("it is killed");
            server.restart().expect("it starts again");
        }
    }
}
