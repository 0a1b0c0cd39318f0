//! Stores with keys of the user's beside their own, and hosts that are asked over a wire.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dtx::{
    answer::{NotDone, PhaseAnswer},
    ids::{AcceptSequence, Epoch, OperationIndex, ShardCount},
    name::{ActionName, ParticipantName},
    participant::{Host, HostHandle, HostSettings, Participant},
    pattern::{Pattern, Phase},
    transport::{Command, Reply},
};
use dtx_store_redis::{KeyPrefix, RedisStore};
use dtx_testkit::{participant::Wire, servers::Redis, store::tx};
use tokio::sync::mpsc;

use crate::harness::{settings, url};

/// How long anything may take.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

pub(crate) async fn open(prefix: &KeyPrefix) -> RedisStore {
    settings::<Redis>(prefix).open().await.expect("it opens")
}

/// The user's own key: what was paid and held, by operation.
pub(crate) fn book(prefix: &KeyPrefix) -> String {
    format!("{{{prefix}}}book")
}

/// A command of the user's to the shared server.
pub(crate) async fn tell<T: redis::FromRedisValue>(words: &[&str]) -> T {
    let client = redis::Client::open(url::<Redis>()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await.expect("it is done")
}

/// How much was paid: what is done twice counts twice.
pub(crate) async fn paid(prefix: &KeyPrefix) -> i64 {
    let book: Vec<(String, i64)> = tell(&["HGETALL", &book(prefix)]).await;
    book.into_iter().filter(|(of, _)| of.starts_with("paid")).map(|(_, times)| times).sum()
}

/// A running host, and its coordinator's place.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) wire: Arc<Wire>,
    pub(crate) host: HostHandle,
    replies: mpsc::UnboundedReceiver<Reply>,
    attempt: u32,
}

impl Asked {
    pub(crate) async fn start(participant: impl Into<Participant>) -> Self {
        let settings = HostSettings { backoff_ms: 5, ..HostSettings::default() };
        let (sender, replies) = mpsc::unbounded_channel();
        let wire = Arc::new(Wire::new(sender));
        let host = Host::start(participant, wire.clone(), None, settings).await;
        Self { wire, host: host.expect("it starts"), replies, attempt: 0 }
    }

    /// The answer to one attempt.
    pub(crate) async fn ask(&mut self, command: &Command) -> PhaseAnswer {
        self.attempt += 1;
        let command = Command { attempt: self.attempt, ..command.clone() };
        self.wire.send(command.clone());
        loop {
            let reply = tokio::time::timeout(WAIT, self.replies.recv()).await;
            let reply = reply.expect("it answers").expect("the host is there");
            if (reply.attempt, reply.tx) == (command.attempt, command.tx) {
                return reply.answer;
            }
        }
    }

    /// The answer once there is one that is known.
    pub(crate) async fn settle(&mut self, command: &Command) -> PhaseAnswer {
        let end = Instant::now() + WAIT;
        loop {
            match self.ask(command).await {
                Err(NotDone::Unknown(reason)) => {
                    assert!(Instant::now() < end, "still unknown: {reason}");
                    tokio::task::yield_now().await;
                }
                answer => return answer,
            }
        }
    }
}

/// A command to the action `pay` of the participant `payment`.
pub(crate) fn command(n: u64, pattern: Pattern, phase: Phase) -> Command {
    let tx = tx(n);
    Command {
        tx,
        operation: OperationIndex(0),
        phase,
        pattern,
        participant: ParticipantName::new("payment").expect("a name"),
        action: ActionName::new("pay").expect("a name"),
        action_version: 1,
        attempt: 1,
        shard: tx.shard(ShardCount::DEFAULT),
        epoch: Epoch(5),
        sequence: AcceptSequence { epoch: Epoch(5), number: n + 1 },
        watermark: AcceptSequence::default(),
        deadline: None,
        ttl: None,
        one_phase: false,
        reply: true,
        payload: r#"{"cents":1,"how":"well"}"#.into(),
        inputs: Vec::new(),
    }
}

/// The forward phase of a saga's step, done in this way.
pub(crate) fn execute(n: u64, how: &str) -> Command {
    let payload = format!(r#"{{"cents":1,"how":"{how}"}}"#).into();
    Command { payload, ..command(n, Pattern::Saga, Phase::Execute) }
}

/// A host for the suite of participants.
pub(crate) async fn host(
    participant: impl Into<Participant>,
    transport: Arc<dyn dtx::transport::Transport>,
) -> dtx_testkit::participant::Guard {
    let settings = HostSettings { backoff_ms: 5, ..HostSettings::default() };
    let host = Host::start(participant, transport, None, settings).await;
    Box::new(host.expect("it starts"))
}
