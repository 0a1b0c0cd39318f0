//! What `dtx run` does not come by: pivots, delegated commits, signals, verifications, inquiries,
//! dead letters, the collector and the purge, with settings that make them come soon.

use std::{
    env,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use dtx::{
    InMemoryTransport, PgConfig, PgStore, RedbStore, RedisSettings,
    coordinator::{CoordinatorSettings, Dtx, Handle},
    engine::EngineSettings,
    error::Retry,
    ids::{AcceptSequence, Epoch, OperationIndex, ShardCount, ShardId, TxId},
    modifier::VerifyWhen,
    name::{ActionName, ParticipantName},
    participant::HostSettings,
    pattern::Phase,
    prelude::*,
    resource::Audit,
    store::{Purge, Scope, StateStore},
    transaction::TransactionBuilder,
    transport::{Body, Command as Message, Envelope, Transport},
};
use dtx_shop::{ShopStore, StoreAddress};
use serde::{Deserialize, Serialize};

const STORE: &str = "DTX_UPKEEP_STORE";

/// What the account and the item are opened with.
const OPENED: u64 = 1_000;

/// How many transactions of each kind there are.
const COPIES: u64 = 4;

/// More than there will ever be.
const TOO_MANY: u64 = 1_000_000;

/// How long a person may think.
const APPROVAL: Duration = Duration::from_secs(60);

/// How long the delayed ones wait.
const DELAY: Duration = Duration::from_millis(50);

/// Until when everything that comes by itself must have come.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many transactions one step of the purge forgets.
const PURGE_STEP: usize = 16;

/// The process that does the upkeep of this store.
pub(crate) fn command(store: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", "points::campaign::child_of_upkeep", "--nocapture"]).env(STORE, store);
    command.env_remove("RUST_LOG");
    command
}

/// Does nothing unless it is that process.
pub(crate) fn child() {
    let Ok(store) = env::var(STORE) else { return };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("the runtime starts");
    runtime.block_on(open(store.parse().expect("an address")));
}

async fn open(store: StoreAddress) {
    let one = ShardCount::new(1).expect("a number of shards");
    let opens = "the store opens";
    match store {
        StoreAddress::Memory => panic!("it would be gone"),
        StoreAddress::Redb(path) => {
            let store = RedbStore::builder().shards(one).open(path).await.expect(opens);
            work(&store).await;
            store.close().await.expect("the store closes");
        }
        StoreAddress::Postgres(url) => {
            let config = PgConfig::from_url(url.expose()).expect("a URL").shards(one);
            let store = PgStore::connect(config).await.expect(opens);
            work(&store).await;
            store.close().await;
        }
        StoreAddress::Redis(url) => {
            let settings = RedisSettings::new(url.expose()).expect("a URL").shards(one);
            work(&settings.open().await.expect(opens)).await;
        }
    }
}

/// A message; nobody can take a poisoned one in.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    poison: bool,
}

#[derive(Debug)]
struct TakeNote;

impl Action for TakeNote {
    const NAME: &'static str = "note";
    type Input = Note;
    type Output = ();
}

impl Deliver for TakeNote {
    async fn deliver(&self, _: &mut Context<'_>, note: &Note) -> Answer<()> {
        if note.poison { rejected("poison") } else { Ok(()) }
    }
}

async fn work(store: &impl ShopStore) {
    let money = [("a".to_owned(), OPENED)];
    Ledger::on(store).open_accounts("payment", &money).await.expect("the account opens");
    let stock = [("i".to_owned(), OPENED)];
    Reservations::on(store).open_items("inventory", &stock).await.expect("the item opens");
    let transport = Arc::new(InMemoryTransport::new());
    let dtx = start(store, transport.clone()).await;
    let results = transport.publish(&[branch_without_coordinator(), poisoned_message()]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let expected = drive(&dtx).await;
    tokio::time::timeout(PATIENCE, wait_for_upkeep(&dtx, store)).await.expect("all of it comes");
    dtx.drain().await;
    assert_books(store, expected).await;
    purge(store).await;
    dtx.shutdown(PATIENCE).await;
}

async fn start(store: &impl ShopStore, transport: Arc<InMemoryTransport>) -> Dtx {
    let engine = EngineSettings {
        attempt_timeout_min: Duration::from_millis(100),
        attempt_timeout_max: Duration::from_millis(500),
        ..EngineSettings::default()
    };
    let settings = CoordinatorSettings {
        engine,
        scan_interval: Duration::from_millis(50),
        lazy_flush: Duration::from_millis(10),
        lease_ttl: Duration::from_millis(600),
        ..CoordinatorSettings::default()
    };
    let host_settings = HostSettings {
        deliveries_max: 3,
        backoff_ms: 1,
        backoff_ms_max: 4,
        collect_interval_ms: 10,
        retention_ms: 20,
        inquiry_interval_ms: 20,
        ..HostSettings::default()
    };
    let payment = Ledger::on(store).participant("payment").expect("a name");
    let inventory = Reservations::on(store).participant("inventory").expect("a name");
    let notes = Participant::new("notes").expect("a name").deliver(TakeNote);
    let builder = Dtx::builder().store(store.clone()).shared_transport(transport);
    let builder = builder.settings(settings).host_settings(host_settings);
    let builder = builder.participant(payment).participant(inventory).participant(notes);
    builder.start().await.expect("it starts")
}

fn debit() -> OperationDraft {
    let amount = Amount { account: "a".into(), cents: 1 };
    OperationDraft::call::<Debit>("payment", amount).name("debit")
}

fn credit() -> OperationDraft {
    let amount = Amount { account: "a".into(), cents: 1 };
    OperationDraft::call::<Credit>("payment", amount).name("credit")
}

fn take(units: u64) -> OperationDraft {
    let units = Units { item: "i".into(), units, strict: false };
    OperationDraft::call::<Take>("inventory", units).name("take")
}

/// A kind of transaction, and how it ends: its cents and units.
struct Kind {
    name: &'static str,
    build: fn() -> TransactionBuilder,
    /// `None` when it does not go through.
    takes: Option<(u64, u64)>,
}

fn both(pattern: Pattern) -> TransactionBuilder {
    Transaction::builder(pattern).operation(debit()).operation(take(1))
}

fn too_many(pattern: Pattern) -> TransactionBuilder {
    Transaction::builder(pattern).operation(debit()).operation(take(TOO_MANY))
}

const KINDS: [Kind; 15] = [
    Kind { name: "pivot", build: with_pivot, takes: Some((0, 1)) },
    Kind { name: "alone", build: alone, takes: Some((1, 0)) },
    Kind { name: "verified-2ps", build: || verified(Pattern::TwoPhaseSaga), takes: Some((1, 1)) },
    Kind { name: "verified-3ps", build: || verified(Pattern::ThreePhaseSaga), takes: Some((1, 1)) },
    Kind { name: "verified-2pc", build: || verified(Pattern::TwoPhaseCommit), takes: Some((1, 1)) },
    Kind { name: "approved-2ps", build: || approved(Pattern::TwoPhaseSaga), takes: Some((1, 1)) },
    Kind { name: "approved-3ps", build: || approved(Pattern::ThreePhaseSaga), takes: Some((1, 1)) },
    Kind { name: "approved-2pc", build: || approved(Pattern::TwoPhaseCommit), takes: Some((1, 1)) },
    Kind { name: "later-2ps", build: || later(Pattern::TwoPhaseSaga), takes: Some((1, 1)) },
    Kind { name: "later-3ps", build: || later(Pattern::ThreePhaseSaga), takes: Some((1, 1)) },
    Kind { name: "refused-saga", build: || too_many(Pattern::Saga).in_sequence(), takes: None },
    Kind { name: "refused-15ps", build: || too_many(Pattern::CriticalEventual), takes: None },
    Kind { name: "refused-2ps", build: || too_many(Pattern::TwoPhaseSaga), takes: None },
    Kind { name: "refused-3ps", build: || too_many(Pattern::ThreePhaseSaga), takes: None },
    Kind { name: "refused-2pc", build: || too_many(Pattern::TwoPhaseCommit), takes: None },
];

fn with_pivot() -> TransactionBuilder {
    Transaction::builder(Pattern::Saga)
        .operation(debit())
        .operation(take(1).step(StepKind::Pivot))
        .operation(credit().step(StepKind::Retriable))
        .in_sequence()
}

fn alone() -> TransactionBuilder {
    Transaction::builder(Pattern::TwoPhaseCommit).operation(debit())
}

fn verified(pattern: Pattern) -> TransactionBuilder {
    both(pattern).verify(VerifyWhen::Always, 1)
}

fn approved(pattern: Pattern) -> TransactionBuilder {
    both(pattern).approval(APPROVAL)
}

fn later(pattern: Pattern) -> TransactionBuilder {
    both(pattern).execute_after(DELAY)
}

/// Drives every transaction to its end, and says what all of them take.
async fn drive(dtx: &Dtx) -> (u64, u64) {
    let mut tasks = tokio::task::JoinSet::new();
    let mut expected = (0, 0);
    for kind in &KINDS {
        for copy in 0..COPIES {
            let transaction = (kind.build)().key(format!("{}-{copy}", kind.name));
            let transaction = transaction.build().expect("the definition is valid");
            tasks.spawn(one(dtx.clone(), transaction, kind.takes.is_some()));
            let (cents, units) = kind.takes.unwrap_or_default();
            expected = (expected.0 + cents, expected.1 + units);
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("every transaction ends as it must");
    }
    expected
}

/// It is accepted, or was before. On a store that several share a dead process has its leases for
/// a while.
async fn submit(dtx: &Dtx, transaction: Transaction) -> Handle {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match dtx.submit(transaction.clone()).await {
            Ok(handle) => return handle,
            Err(error) => error,
        };
        assert!(error.retry() != Retry::Never && Instant::now() < until, "not accepted: {error}");
        tokio::task::yield_now().await;
    }
}

async fn one(dtx: Dtx, transaction: Transaction, goes_through: bool) {
    let has_approval = transaction.modifiers().is_some_and(|all| all.approval.is_some());
    let key = transaction.key().cloned();
    let mut handle = submit(&dtx, transaction).await;
    if dtx.get(handle.tx()).await.expect("the store answers").is_none() {
        // Purged by an earlier process, which had seen all of them end.
        assert!(!handle.is_new());
        return;
    }
    if has_approval {
        // An earlier process may have gone further.
        let _ = handle.approve("upkeep", "it is right").await;
    }
    let outcome = handle.finished().await.expect("it ends");
    let is_right = matches!(outcome, Outcome::Committed) == goes_through
        && matches!(outcome, Outcome::Committed | Outcome::Aborted | Outcome::Compensated);
    if !is_right {
        let history = dtx.history(handle.tx()).await;
        panic!("{key:?} ended with {outcome}: {history:#?}");
    }
}

fn message(tx: u8, participant: &str, action: &str, pattern: Pattern, phase: Phase) -> Message {
    // Above every watermark, and the same in every process.
    let epoch = Epoch(1 << 40);
    Message {
        tx: TxId::from_bytes([tx; 16]),
        operation: OperationIndex(0),
        phase,
        pattern,
        participant: ParticipantName::new(participant).expect("a name"),
        action: ActionName::new(action).expect("a name"),
        action_version: 1,
        attempt: 1,
        shard: ShardId(0),
        epoch,
        sequence: AcceptSequence { epoch, number: 1 },
        watermark: AcceptSequence::default(),
        deadline: None,
        ttl: None,
        one_phase: false,
        reply: false,
        payload: bytes(&()),
        inputs: Vec::new(),
    }
}

fn bytes(value: &impl Serialize) -> bytes::Bytes {
    serde_json::to_vec(value).expect("plain fields are JSON").into()
}

/// A prepared branch of which no coordinator knows: it is asked about, and taken back.
fn branch_without_coordinator() -> Envelope {
    let command = message(7, "payment", "debit", Pattern::TwoPhaseCommit, Phase::Prepare);
    let amount = Amount { account: "a".into(), cents: 1 };
    let ttl = Some(Duration::from_millis(20));
    Envelope::new(Body::Command(Arc::new(Message { ttl, payload: bytes(&amount), ..command })))
}

/// A message that nobody waits for and nobody can take in.
fn poisoned_message() -> Envelope {
    let command = message(8, "notes", "note", Pattern::FireAndForget, Phase::Deliver);
    let payload = bytes(&Note { poison: true });
    Envelope::new(Body::Command(Arc::new(Message { payload, ..command })))
}

/// Sends notes until the branch is taken back, the poisoned message is laid aside, and rows of
/// finished transactions are forgotten.
async fn wait_for_upkeep(dtx: &Dtx, store: &impl ShopStore) {
    let mut sent = 0;
    loop {
        for _ in 0..8 {
            let note = OperationDraft::call::<TakeNote>("notes", Note { poison: false });
            let note = Transaction::builder(Pattern::FireAndForget).operation(note.name("note"));
            let note = note.build().expect("the definition is valid");
            let mut handle = dtx.submit(note).await.expect("it is accepted");
            handle.finished().await.expect("it is delivered");
            sent += 1;
        }
        let has_letter = rows(store, "notes/dead-letters").await > 0;
        let has_forgotten = rows(store, "notes/inbox/0").await < sent;
        let is_taken_back = audit(store).await.0.holds == 0;
        if has_letter && has_forgotten && is_taken_back {
            return;
        }
    }
}

async fn rows(store: &impl ShopStore, scope: &str) -> usize {
    let scope = Scope::new(scope).expect("a scope");
    store.scan(&scope, b"", None, 4_096).await.expect("the store answers").items.len()
}

async fn audit(store: &impl ShopStore) -> (Audit, Audit) {
    let money = Ledger::on(store).audit("payment").await.expect("the store answers");
    let stock = Reservations::on(store).audit("inventory").await.expect("the store answers");
    let only = |mut all: Vec<(Scope, Audit)>| all.pop().expect("one is open").1;
    (only(money), only(stock))
}

async fn assert_books(store: &impl ShopStore, (cents, units): (u64, u64)) {
    let (money, stock) = audit(store).await;
    for (found, taken) in [(&money, cents), (&stock, units)] {
        assert_eq!(found.level, OPENED - taken, "{found:?}");
        assert_eq!(i128::from(found.level), found.level_by_effects, "{found:?}");
        let wrong = found.double_effects + found.unfounded_reversals + found.miscounted_effects;
        assert_eq!((wrong, found.holds, found.leaked_holds), (0, 0, 0), "{found:?}");
    }
}

/// Forgets everything that is finished, and keeps the keys.
async fn purge(store: &impl ShopStore) {
    let purge = Purge {
        older_than: Duration::ZERO,
        key_retention: Duration::from_secs(3_600),
        limit: PURGE_STEP,
    };
    while store.purge(&purge).await.expect("the store answers") > 0 {}
    assert!(StateStore::now(store).await.is_ok(), "the store still answers");
}
