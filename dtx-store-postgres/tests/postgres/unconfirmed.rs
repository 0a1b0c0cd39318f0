//! What a server has written and its standby has not, and nobody was told. A server that is started
//! again shows it to everybody who reads, and it is lost when the standby takes its place: so
//! nobody may be told before the standby has it.

use std::{sync::Mutex, time::Duration};

use async_trait::async_trait;
use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId},
    name::{Namespace, ParticipantName},
    outbox::{Message, MessageSink, NotSent, Outgoing},
    store::{
        Begun, Branch, BranchEnd, BranchStore, Catalog, CommitResult, Filter, ParticipantStore,
        RowChange, RowExpect, RowKey, RowSet, RowWriteResult, Scope, ScopeRead, StateStore,
        UnitStore,
    },
    time::Timestamp,
    transaction::Key,
};
use dtx_store_postgres::{Once, PgInbox, PgOutbox, PgStore, Relay, RelaySettings};
use dtx_testkit::store::{Pen, committed, one, record, tx};
use tokio::time::timeout;

use super::standby::{Pair, SYNC, config, until, wait_for_standbys};

/// How long a call waits for the standby.
const PATIENCE: Duration = Duration::from_secs(1);

impl Pair {
    /// A store that gives up soon.
    async fn store(&self) -> PgStore {
        let config = config(&self.primary.url()).call_timeout(PATIENCE);
        PgStore::connect(config).await.expect("it opens")
    }

    /// The server crashes. It waits for nobody any more: what it wrote is there.
    async fn crash(&mut self, there: &'static str) {
        self.primary.kill().expect("it is killed");
        self.primary.restart().expect("it starts again");
        until(&sqlx::PgPool::connect_lazy(&self.primary.url()).expect("valid"), there).await;
    }

    /// The standby is there again, and has all.
    async fn follow(&mut self) {
        self.standby.restart().expect("it starts again");
        until(&sqlx::PgPool::connect_lazy(&self.primary.url()).expect("valid"), SYNC).await;
    }
}

/// Rows of a participant: one row that must not be there yet.
fn new_row() -> RowSet {
    let change = RowChange {
        key: RowKey("key".into()),
        expect: RowExpect::Absent,
        value: Some("value".into()),
    };
    RowSet {
        scope: Scope::new("payment").expect("a name"),
        changes: vec![change],
        unchanged: Vec::new(),
        not_after: None,
    }
}

fn key() -> Key {
    Key { namespace: Namespace::new("shop").expect("a name"), key: "order".into() }
}

fn payment_rows() -> ScopeRead {
    ScopeRead { scope: Scope::new("payment").expect("a name"), keys: vec![RowKey("key".into())] }
}

/// Nobody was told, and may ask again.
fn late<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    let error = answer.expect_err("it was told although no standby has it");
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

fn unknown(written: &RowWriteResult) {
    let RowWriteResult::Failed(error) = written else { panic!("it was acknowledged: {written:?}") };
    assert_eq!(error.effect(), Effect::Unknown);
}

#[tokio::test]
async fn a_record_that_no_standby_has_is_not_read() {
    let mut pair = Pair::start("unconfirmed-record");
    let (writer, other) = (pair.store().await, pair.store().await);
    wait_for_standbys(writer.pool(), "*").await;
    let mut pen = Pen::new(1);
    committed(&one(&writer, &pen.accept(tx(1))).await);
    pair.standby.kill().expect("it is killed");
    let accept = pen.accept_key(tx(2), "shop", "order");
    assert!(matches!(one(&writer, &accept).await, CommitResult::Failed(_)));
    unknown(&writer.write(&[new_row()]).await[0]);
    pair.crash("SELECT count(*) = 2 FROM dtx.open").await;
    let shard = tx(2).shard(StateStore::info(&writer).shards);
    let mut another = Pen::new(2);
    for (number, store) in (3..).zip([&writer, &other]) {
        // Another transaction with the same key learns whose it is.
        let taken = another.accept_key(tx(number), "shop", "order");
        assert!(matches!(one(store, &taken).await, CommitResult::Failed(_)), "told as taken");
        late(store.by_key(&key()).await);
        late(store.list(&Filter { limit: 10, ..Filter::default() }).await);
        late(store.history(tx(2)).await);
        late(store.load(&[tx(2)]).await);
        late(store.open(shard, Timestamp::MAX, None, 10).await);
        late(store.read_durable(&[payment_rows()]).await);
        assert!(matches!(one(store, &accept).await, CommitResult::Failed(_)), "told as written");
    }
    assert_eq!(other.load(&[tx(3)]).await.expect("of what is not there nothing is told"), [None]);
    pair.follow().await;
    for store in [&writer, &other] {
        assert_eq!(record(store, tx(2)).await.version.0, 1);
        let read = store.read_durable(&[payment_rows()]).await.expect("it is there");
        assert!(read[0].rows[0].is_some());
    }
}

fn branch(n: u64) -> Branch {
    Branch {
        participant: ParticipantName::new("payment").expect("a name"),
        tx: tx(n),
        operation: OperationIndex(0),
        shard: ShardId(0),
        epoch: Epoch(1),
        sequence: AcceptSequence::default(),
    }
}

async fn prepare(store: &PgStore, n: u64) -> RowWriteResult {
    let (scope, key) = (Scope::new("payment").expect("a name"), RowKey(format!("{n}").into()));
    let begun = store.begin(&scope, &key, &RowKey("mark".into())).await.expect("it begins");
    let Begun::Open(opened) = begun else { panic!("nobody else has it") };
    store.prepare(opened.open, "value".into(), &branch(n)).await
}

#[tokio::test]
async fn a_branch_that_no_standby_knows_to_be_prepared_or_ended_is_not_told() {
    let mut pair = Pair::start("unconfirmed-branch");
    let store = pair.store().await;
    wait_for_standbys(store.pool(), "*").await;
    let participant = branch(1).participant;
    assert!(matches!(prepare(&store, 1).await, RowWriteResult::Written));
    pair.standby.kill().expect("it is killed");
    late(store.end(&branch(1), BranchEnd::Commit).await);
    unknown(&prepare(&store, 2).await);
    // Not even while the server itself still waits.
    late(store.branches(&participant, None).await);
    pair.crash("SELECT count(*) = 1 FROM pg_prepared_xacts").await;
    late(store.end(&branch(1), BranchEnd::Commit).await);
    late(store.branches(&participant, None).await);
    late(store.branches(&participant, Some((tx(2), OperationIndex(0)))).await);
    pair.follow().await;
    assert!(!store.end(&branch(1), BranchEnd::Commit).await.expect("it has ended"));
    assert_eq!(store.branches(&participant, None).await.expect("they are told"), [branch(2)]);
}

/// Counts what it is sent.
#[derive(Clone, Debug, Default)]
struct Sink(std::sync::Arc<Mutex<usize>>);

#[async_trait]
impl MessageSink for Sink {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<(), NotSent>> {
        *self.0.lock().expect("nobody panics") += messages.len();
        messages.iter().map(|_| Ok(())).collect()
    }
}

impl Sink {
    fn sent(&self) -> usize {
        *self.0.lock().expect("nobody panics")
    }
}

/// Does something once, and appends a message with it. Whether that was committed in time.
async fn once(store: &PgStore) -> (Once, bool) {
    let mut transaction = store.pool().begin().await.expect("it begins");
    let inbox = PgInbox::on(store);
    let once = inbox.once(&mut transaction, tx(1), "pay").await.expect("it is noted");
    if once == Once::First {
        let message = Message::new("mail", "paid");
        PgOutbox::on(store).append(&mut transaction, message).await.expect("it is appended");
    }
    (once, timeout(PATIENCE, transaction.commit()).await.is_ok())
}

#[tokio::test]
async fn what_no_standby_knows_to_be_done_is_neither_repeated_nor_sent() {
    let mut pair = Pair::start("unconfirmed-once");
    let store = pair.store().await;
    wait_for_standbys(store.pool(), "*").await;
    let (sink, settings) = (Sink::default(), RelaySettings::default());
    let relay = Relay::new(PgOutbox::on(&store), sink.clone(), settings).expect("they are right");
    pair.standby.kill().expect("it is killed");
    assert_eq!(once(&store).await, (Once::First, false));
    pair.crash("SELECT count(*) = 1 FROM dtx.outbox").await;
    assert_eq!(once(&store).await, (Once::Repeated, false), "told as done");
    let flushed = timeout(PATIENCE * 10, relay.flush()).await;
    late(flushed.expect("it gives up"));
    assert_eq!(sink.sent(), 0, "sent, and lost with the server");
    pair.follow().await;
    assert_eq!(once(&store).await, (Once::Repeated, true));
    relay.flush().await.expect("it sends");
    assert_eq!(sink.sent(), 1);
}
