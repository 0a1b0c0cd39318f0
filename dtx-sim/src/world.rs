//! Everything that there is in a run.

use std::{collections::BTreeMap, sync::Arc};

use dtx_core::{
    engine::{EngineSettings, Placement},
    ids::{HolderId, OperationIndex, ShardCount, TxId, Version, mix},
    name::ParticipantName,
    store::{CommitResult, MemorySettings, MemoryState, StoreLimits, TxWrite},
    time::Timestamp,
};

use crate::{
    check::Violation,
    claims::Claims,
    client::Client,
    coordinator::Coordinator,
    counters::Counters,
    detached::External,
    event::{Event, OperationKey, Queue, StoreAnswer},
    explore::Check,
    history::{Facts, What},
    host::Host,
    mutation::Mutation,
    network::Network,
    participant::Participant,
    regions::{Atlas, Regions},
    rng::Rng,
    service::Batches,
    swarm::Swarm,
    trace::Trace,
    view::{Broken, View},
};

/// The store's clock at the beginning of virtual time: some moment, in microseconds since the
/// Unix epoch.
const STORE_EPOCH_US: u64 = 1_700_000_000_000_000;

/// How many shards there are.
pub(crate) const SHARDS: u16 = 4;
/// How many commits the store takes side by side.
pub(crate) const LANES: usize = 2;

/// The most violations of one run that are kept.
const VIOLATIONS_MAX: usize = 16;

/// One run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) queue: Queue,
    /// For everything that goes wrong or takes its time.
    pub(crate) rng: Rng,
    /// For what operators and healers do.
    pub(crate) moves_rng: Rng,
    /// For messages that nobody expects.
    pub(crate) strays_rng: Rng,
    pub(crate) swarm: Swarm,
    pub(crate) mutation: Option<Mutation>,
    /// When commands leave.
    pub(crate) placement: Option<Arc<dyn Placement>>,
    /// What the engines are told.
    pub(crate) settings: Arc<EngineSettings>,
    pub(crate) store: MemoryState,
    pub(crate) batches: Batches,
    pub(crate) coordinators: Vec<Coordinator>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) names: BTreeMap<ParticipantName, usize>,
    pub(crate) clients: Vec<Client>,
    /// Which client has which transaction.
    pub(crate) owners: BTreeMap<TxId, usize>,
    pub(crate) views: BTreeMap<TxId, View>,
    pub(crate) external: BTreeMap<(usize, OperationKey), External>,
    pub(crate) claims: Claims,
    pub(crate) violations: Vec<Violation>,
    pub(crate) trace: Trace,
    pub(crate) counters: Counters,
    pub(crate) network: Network,
    /// What the user has laid out, until the run begins.
    pub(crate) regions: Option<Regions>,
    /// Where the nodes lie.
    pub(crate) atlas: Option<Atlas>,
    /// The store answers late before this moment.
    pub(crate) store_slow_until: u64,
    /// How far the store's clock has jumped, in microseconds.
    pub(crate) store_shift: i64,
    /// Users' participants, by the number of their host.
    pub(crate) own: BTreeMap<usize, Box<dyn Participant>>,
    /// What users want to hold.
    pub(crate) checks: Vec<Check>,
    /// Every command is delivered twice, and every handler asked twice.
    pub(crate) twice: bool,
    pub(crate) healed_at: Option<u64>,
    /// When the last transaction was seen to have ended.
    pub(crate) ended_at: Option<u64>,
    pub(crate) is_over: bool,
    /// An operator made a move whose effect nobody can check.
    pub(crate) operators_decided: bool,
    next_id: u64,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        swarm: Swarm,
        mutation: Option<Mutation>,
        is_traced: bool,
    ) -> Self {
        let shards = ShardCount::new(SHARDS).expect("a valid number of shards");
        let limits = StoreLimits { batch_writes_max: 4096, value_bytes_max: 1 << 20 };
        let settings = MemorySettings { lanes: LANES, shards, limits, opening: HolderId(1) };
        Self {
            seed,
            now: 0,
            queue: Queue::default(),
            rng: Rng::new(seed, 1),
            moves_rng: Rng::new(seed, 6),
            strays_rng: Rng::new(seed, 8),
            swarm,
            mutation,
            placement: None,
            settings: Arc::default(),
            store: MemoryState::new(settings),
            batches: Batches::default(),
            coordinators: Vec::new(),
            hosts: Vec::new(),
            names: BTreeMap::new(),
            clients: Vec::new(),
            owners: BTreeMap::new(),
            views: BTreeMap::new(),
            external: BTreeMap::new(),
            claims: Claims::default(),
            violations: Vec::new(),
            trace: Trace::new(is_traced),
            counters: Counters::default(),
            network: Network::default(),
            regions: None,
            atlas: None,
            store_slow_until: 0,
            store_shift: 0,
            own: BTreeMap::new(),
            checks: Vec::new(),
            twice: false,
            healed_at: None,
            ended_at: None,
            is_over: false,
            operators_decided: false,
            next_id: 1,
        }
    }

    pub(crate) fn store_now(&self) -> Timestamp {
        Timestamp::from_micros((STORE_EPOCH_US + self.now).saturating_add_signed(self.store_shift))
    }

    /// The clock of a participant's own store.
    pub(crate) fn host_now(&self, host: usize) -> Timestamp {
        let skew = self.hosts[host].skew;
        Timestamp::from_micros((STORE_EPOCH_US + self.now).saturating_add_signed(skew))
    }

    pub(crate) fn is_mutant(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.healed_at.is_some()
    }

    /// An event after a while.
    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.queue.push(self.now + delay, event);
    }

    /// A number that was not given before in this run.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn holder(&mut self) -> HolderId {
        let number = self.fresh();
        HolderId(u128::from(mix(self.seed ^ number)) << 64 | u128::from(number))
    }

    pub(crate) fn broken(&mut self, tx: Option<TxId>, what: impl Into<String>) {
        if self.violations.len() < VIOLATIONS_MAX {
            let what = what.into();
            self.trace.mark(99, self.now, 0);
            self.trace
                .note(self.now, ("check", "check"), tx, || What::Violated { text: what.clone() });
            self.violations.push(Violation { at: self.now, tx, what });
        }
    }

    pub(crate) fn expect(&mut self, tx: TxId, result: Result<(), Broken>) {
        if let Err(broken) = result {
            self.broken(Some(tx), broken);
        }
    }

    /// Applies writes at the store and notes what landed.
    pub(crate) fn commit(&mut self, writes: &[TxWrite]) -> Vec<CommitResult> {
        let results = self.store.commit(writes, self.store_now());
        for (write, result) in writes.iter().zip(&results) {
            if let CommitResult::Committed(version) = result {
                self.landed(write, *version);
            }
        }
        results
    }

    pub(crate) fn landed(&mut self, write: &TxWrite, version: Version) {
        self.trace.mark(3, write.id.number, version.0);
        let Some(&client) = self.owners.get(&write.tx) else { return };
        let plan = &self.clients[client].plan;
        let transaction = &plan.transaction;
        let foreign = self.clients[client].has_foreign;
        let shard = write.tx.shard(self.store.info().shards);
        let new = || View::new(transaction.clone(), shard);
        let view = self.views.entry(write.tx).or_insert_with(new);
        let broken = view.land(write, version, foreign);
        let (tx, now) = (write.tx, self.now);
        self.trace.note(now, ("store", "store"), Some(tx), || What::Landed {
            record: write.kind,
            epoch: write.fence.map(|fence| fence.epoch),
            facts: Facts::of(version, write.verdict, &write.state, &write.summary),
        });
        for what in broken {
            self.broken(Some(tx), what);
        }
    }

    /// A participant durably answered an operation.
    pub(crate) fn sight(
        &mut self,
        (tx, operation): OperationKey,
        note: impl FnOnce(&mut crate::view::Sight),
    ) {
        if let Some(view) = self.views.get_mut(&tx) {
            note(view.operations.entry(operation).or_default());
        }
    }

    pub(crate) fn is_foreign(&self, tx: TxId, operation: OperationIndex) -> bool {
        let Some(view) = self.views.get(&tx) else { return false };
        let name = view.transaction.operation(operation).participant();
        self.names.get(name).is_some_and(|host| self.hosts[*host].is_foreign())
    }

    /// Answers a batch of a coordinator, if it still runs.
    pub(crate) fn answer(&mut self, delay: u64, answer: StoreAnswer) {
        self.after(delay, Event::Answered(Box::new(answer)));
    }
}
