//! A world: one store and one transport, with nodes that come and go.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use dtx::{
    coordinator::{CoordinatorSettings, Dtx, DtxBuilder},
    engine::accept_write,
    ids::{HolderId, ShardCount, TxId, WriteId},
    participant::HostSettings,
    pattern::Phase,
    prelude::*,
    store::{
        Clock, CommitResult, Filter, MemorySettings, RecordKind, StateStore, StoreLimits, TxWrite,
        Verdict,
    },
    time::Timestamp,
    transaction::TransactionBuilder,
};
use tokio::time::Instant;

use super::{
    Ask, Script, Spy, Step, Wire,
    wire::{Log, Seen},
};

/// How long, on the tests' clock, nothing here may ever take.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// The store's clock, moved by the tests' runtime alone.
#[derive(Debug)]
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000) + self.0.elapsed()
    }
}

/// One store and one transport.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) memory: MemoryStore,
    pub(crate) transport: InMemoryTransport,
    pub(crate) script: Script,
    pub(crate) log: Log,
}

/// A coordinator with what it runs on.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) dtx: Dtx,
    pub(crate) store: Spy,
    pub(crate) wire: Wire,
    pub(crate) script: Script,
    pub(crate) log: Log,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(1, 8, InMemoryTransport::new())
    }

    pub(crate) fn with(lanes: usize, shards: u16, transport: InMemoryTransport) -> Self {
        let settings = MemorySettings {
            lanes,
            shards: ShardCount::new(shards).unwrap(),
            limits: StoreLimits { batch_writes_max: 4_096, value_bytes_max: 1 << 20 },
            ..MemorySettings::default()
        };
        let clock = Arc::new(RuntimeClock(Instant::now()));
        let memory = MemoryStore::with_clock(settings, clock);
        let log = Arc::new(Mutex::default());
        Self { memory, transport, script: Script::new(), log }
    }

    /// A node with these settings, hosting these participants by the world's script.
    pub(crate) async fn node(&self, settings: CoordinatorSettings, hosts: &[&str]) -> Node {
        self.node_with(settings, hosts, |builder| builder).await
    }

    pub(crate) async fn node_with(
        &self,
        settings: CoordinatorSettings,
        hosts: &[&str],
        more: impl FnOnce(DtxBuilder) -> DtxBuilder,
    ) -> Node {
        let store = Spy::on(&self.memory, self.log.clone());
        let wire = Wire::on(&self.transport, self.log.clone());
        let hosting = HostSettings { inquiry_interval_ms: 200, ..HostSettings::default() };
        let mut builder = Dtx::builder()
            .store(store.clone())
            .transport(wire.clone())
            .settings(settings)
            .host_settings(hosting)
            .allow_volatile();
        for host in hosts {
            builder = builder.participant(self.script.participant(host));
        }
        let dtx = more(builder).start().await.unwrap();
        Node { dtx, store, wire, script: self.script.clone(), log: self.log.clone() }
    }
}

impl Node {
    /// A world of its own with three scripted participants.
    pub(crate) async fn three() -> Self {
        World::new().node(quick(), &["a", "b", "c"]).await
    }

    /// From now on nothing of it reaches the store or the transport: as after a crash.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.store.freeze(frozen);
        self.wire.freeze(frozen);
    }

    pub(crate) async fn submit(&self, transaction: Transaction) -> Handle {
        within(self.dtx.submit(transaction)).await.unwrap()
    }

    /// Runs a transaction to its end.
    pub(crate) async fn run(&self, transaction: Transaction) -> (Handle, Outcome) {
        let mut handle = self.submit(transaction).await;
        let outcome = within(handle.finished()).await.unwrap();
        (handle, outcome)
    }
}

/// Settings whose times are short.
pub(crate) fn quick() -> CoordinatorSettings {
    let mut settings = CoordinatorSettings {
        lease_ttl: Duration::from_secs(3),
        scan_interval: Duration::from_millis(500),
        ..CoordinatorSettings::default()
    };
    settings.engine.deadline = Duration::from_secs(30);
    settings
}

/// One operation for each of these participants, side by side.
pub(crate) fn steps(pattern: Pattern, who: &[&str]) -> TransactionBuilder {
    who.iter().fold(Transaction::builder(pattern), |builder, who| {
        let ask = Ask { who: (*who).to_owned() };
        builder.operation(OperationDraft::call::<Step>(*who, ask).name(format!("of-{who}")))
    })
}

/// One operation for each of these participants, one after the other where the pattern has an
/// order.
pub(crate) fn chain(pattern: Pattern, who: &[&str]) -> TransactionBuilder {
    match pattern {
        Pattern::Saga | Pattern::CriticalEventual | Pattern::TwoPhaseSaga => {
            steps(pattern, who).in_sequence()
        }
        _ => steps(pattern, who),
    }
}

/// Waits, but not for ever.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.expect("it takes too long")
}

/// Looks again and again until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < end, "never: {what}");
        pass(Duration::from_millis(20)).await;
    }
}

/// Waits until the store holds no open transaction.
pub(crate) async fn settle(node: &Node) {
    let end = Instant::now() + LONG;
    loop {
        let filter = Filter { limit: 10_000, ..Filter::default() };
        let page = node.dtx.list(&filter).await.unwrap();
        let Some(open) = page.items.iter().find(|record| record.due.is_some()) else { return };
        if Instant::now() >= end {
            let history = node.dtx.history(open.tx).await.unwrap();
            panic!("it never ends: {open:#?} {history:#?} {:?}", node.dtx.stats());
        }
        pass(Duration::from_millis(50)).await;
    }
}

/// The outcome that the store shows of each transaction, the newest first.
pub(crate) async fn out_of(node: &Node) -> Vec<dtx::store::Status> {
    let page = node.dtx.list(&Filter::default()).await.unwrap();
    page.items.into_iter().map(|record| record.summary.status).collect()
}

/// What was done agrees with the outcome: everything once, or nothing that was not reversed.
pub(crate) fn is_sound(outcome: Outcome, effects: &[(usize, usize)]) -> bool {
    match outcome {
        Outcome::Committed => effects.iter().all(|effect| *effect == (1, 0)),
        Outcome::Dispatched => effects.iter().all(|(done, undone)| *done >= 1 && *undone == 0),
        Outcome::Aborted => effects.iter().all(|(done, _)| *done == 0),
        Outcome::Compensated => effects.iter().all(|(done, undone)| done == undone),
        Outcome::Abandoned => true,
    }
}

/// Nothing that left over this world's transport had left before the record that it depends on
/// was durable in its store (write-ahead).
pub(crate) fn is_written_ahead(log: &Log) -> bool {
    let mut durable: BTreeMap<TxId, (Option<Verdict>, bool)> = BTreeMap::new();
    log.lock().unwrap().iter().all(|seen| match seen {
        Seen::Durable(note) => {
            let known = durable.entry(note.tx).or_default();
            known.0 = known.0.or(note.verdict);
            known.1 |= note.kind == RecordKind::Delegated;
            true
        }
        Seen::Sent(sent) => {
            durable.get(&sent.tx).is_some_and(|(verdict, is_delegated)| match sent.phase {
                phase if phase.is_backward() => verdict.is_some_and(Verdict::is_backward),
                Phase::Commit => *verdict == Some(Verdict::Commit) || *is_delegated,
                Phase::Deliver => *verdict == Some(Verdict::Completed),
                _ => true,
            })
        }
    })
}

/// Time passes on the virtual clock of the test: everything that is due until then happens.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep_until(Instant::now() + time).await;
}

/// The accept of somebody who owns no shard.
pub(crate) fn accept(number: u8) -> TxWrite {
    let transaction = steps(Pattern::Saga, &["a"]).build().unwrap();
    let tx = TxId::from_parts(1, [number; 10]);
    let id = WriteId { writer: HolderId(99), number: u64::from(number) };
    accept_write(&transaction, tx, id, Timestamp::ZERO, LONG)
}

pub(crate) async fn written(world: &World, write: TxWrite) {
    let result = world.memory.commit(&[write]).await.remove(0);
    assert!(matches!(result, CommitResult::Committed(_)), "{result:?}");
}
