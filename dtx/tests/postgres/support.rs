//! Stores in schemas of their own, and hosts that are asked over a wire.

use std::{env, sync::Arc, time::Duration};

use dtx::{
    PgConfig, PgStore, SchemaName,
    answer::{NotDone, PhaseAnswer},
    ids::{AcceptSequence, Epoch, OperationIndex, ShardCount, TxId},
    name::{ActionName, ParticipantName},
    participant::{Host, HostHandle, HostSettings, Participant},
    pattern::{Pattern, Phase},
    transport::{Command, Reply},
};
use dtx_testkit::{
    participant::Wire,
    servers::{Postgres, Service},
    store::tx,
};
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::mpsc;
use uuid::Uuid;

/// How long anything may take.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

pub(crate) fn url() -> String {
    let variable = Postgres.variable();
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec postgres -- COMMAND sets it")
    })
}

pub(crate) fn schema() -> SchemaName {
    SchemaName::new(format!("u_{}", Uuid::new_v4().simple())).expect("it is valid")
}

pub(crate) fn config(schema: &SchemaName) -> PgConfig {
    config_at(&url(), schema)
}

pub(crate) fn config_at(url: &str, schema: &SchemaName) -> PgConfig {
    let config = PgConfig::from_url(url).expect("it is valid").schema(schema.clone());
    config.connections_max(8).value_bytes_max(1 << 16)
}

/// A new store with the tables of the effects beside its own.
pub(crate) async fn store() -> PgStore {
    open(&schema()).await
}

pub(crate) async fn open(schema: &SchemaName) -> PgStore {
    open_at(&url(), schema).await
}

pub(crate) async fn open_at(url: &str, schema: &SchemaName) -> PgStore {
    open_with(config_at(url, schema)).await
}

pub(crate) async fn open_with(config: PgConfig) -> PgStore {
    let store = PgStore::connect(config).await.expect("it opens");
    forget_old_branches(&store).await;
    sql(&store, "CREATE TABLE IF NOT EXISTS {s}.paid (op text NOT NULL, stage text NOT NULL)")
        .await;
    store
}

/// What earlier runs of the tests left prepared would fill the server.
async fn forget_old_branches(store: &PgStore) {
    let old = "SELECT gid FROM pg_prepared_xacts WHERE starts_with(gid, 'dtx:u_') \
        AND prepared < now() - interval '15 minutes'";
    for row in sqlx::query(old).fetch_all(store.pool()).await.expect("listed") {
        let text = AssertSqlSafe(format!("ROLLBACK PREPARED '{}'", row.get::<String, _>(0)));
        // Another test may have been faster.
        let _ = sqlx::raw_sql(text).execute(store.pool()).await;
    }
}

/// Runs a statement in which `{s}` stands for the schema, over the store's pool.
pub(crate) async fn sql(store: &PgStore, text: &str) {
    let text = text.replace("{s}", store.schema().as_str());
    sqlx::raw_sql(AssertSqlSafe(text)).execute(store.pool()).await.expect("it is right");
}

pub(crate) async fn count(store: &PgStore, text: &str) -> i64 {
    let text = text.replace("{s}", store.schema().as_str());
    let query = sqlx::query(AssertSqlSafe(text));
    query.fetch_one(store.pool()).await.expect("it is right").get(0)
}

/// How many effects there are.
pub(crate) async fn paid(store: &PgStore) -> i64 {
    count(store, "SELECT count(*) FROM {s}.paid WHERE stage = 'paid'").await
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let end = std::time::Instant::now() + WAIT;
    while !so().await {
        assert!(std::time::Instant::now() < end, "{what}");
        tokio::task::yield_now().await;
    }
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

    pub(crate) async fn reply(&mut self) -> Reply {
        let reply = tokio::time::timeout(WAIT, self.replies.recv()).await;
        reply.expect("it answers").expect("the host is there")
    }

    /// The answer to one attempt.
    pub(crate) async fn ask(&mut self, command: &Command) -> PhaseAnswer {
        self.attempt += 1;
        let command = Command { attempt: self.attempt, ..command.clone() };
        self.wire.send(command.clone());
        loop {
            let reply = self.reply().await;
            if (reply.attempt, reply.tx) == (command.attempt, command.tx) {
                return reply.answer;
            }
        }
    }

    /// The answer once there is one that is known.
    pub(crate) async fn settle(&mut self, command: &Command) -> PhaseAnswer {
        let end = std::time::Instant::now() + WAIT;
        loop {
            match self.ask(command).await {
                Err(NotDone::Unknown(reason)) => {
                    assert!(std::time::Instant::now() < end, "still unknown: {reason}");
                    tokio::task::yield_now().await;
                }
                answer => return answer,
            }
        }
    }
}

/// A command to the action `pay` of the participant `payment`.
pub(crate) fn command(n: u64, pattern: Pattern, phase: Phase) -> Command {
    of(tx(n), n, pattern, phase)
}

pub(crate) fn of(tx: TxId, n: u64, pattern: Pattern, phase: Phase) -> Command {
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

/// A host for the suite of participants.
pub(crate) async fn host(
    participant: impl Into<Participant>,
    transport: Arc<dyn dtx::transport::Transport>,
) -> dtx_testkit::participant::Guard {
    let settings = HostSettings { backoff_ms: 5, ..HostSettings::default() };
    let host = Host::start(participant, transport, None, settings).await;
    Box::new(host.expect("it starts"))
}
