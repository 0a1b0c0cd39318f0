//! Those who want transactions, give signals, and look after what needs a person.

use dtx_core::{
    answer::Reason,
    engine::{Input, Refused, Signal, SignalEntry, SignalStep, signal_write},
    ids::{OperationIndex, TxId, WriteId},
    pattern::Phase,
    store::{CommitResult, Expect, Status, TxWrite},
};

use crate::{
    coordinator::NAMES,
    event::{Event, Found},
    history::{Plan, What},
    mutation::Mutation,
    swarm::{MS, SECOND},
    workload::ClientPlan,
    world::World,
};

/// How long a client waits before it sees whether its transaction was accepted.
const PATIENCE_US: u64 = 4 * SECOND;

/// When virtual time begins, by the ids that clients make, in milliseconds since the Unix epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// When a transaction was handed in, down to a millisecond, in microseconds of virtual time.
pub(crate) fn submitted_at(tx: TxId) -> u64 {
    let millis = tx.as_bytes()[..6].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    millis.saturating_sub(EPOCH_MS) * MS
}

/// A client with its one transaction.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) plan: ClientPlan,
    pub(crate) has_foreign: bool,
    /// The ids under which it was handed in.
    pub(crate) tries: Vec<TxId>,
    /// The coordinator, and its run, that has it in hand.
    with: Option<(usize, u32)>,
    /// The id that was accepted, as far as the client knows.
    pub(crate) accepted: Option<TxId>,
    /// The client was told that it was not accepted.
    pub(crate) refused: Option<TxId>,
}

impl Client {
    pub(crate) fn new(plan: ClientPlan, has_foreign: bool) -> Self {
        Self { plan, has_foreign, tries: Vec::new(), with: None, accepted: None, refused: None }
    }

    fn is_settled(&self) -> bool {
        self.accepted.is_some() || self.refused.is_some()
    }

    /// Whether it may still hand its transaction in.
    pub(crate) fn may_submit(&self) -> bool {
        let tries_again = self.plan.transaction.key().is_some() && !self.is_settled();
        self.tries.is_empty() || tries_again
    }
}

impl World {
    /// A client hands its transaction in to any coordinator that has a shard.
    pub(crate) fn submit(&mut self, index: usize) {
        let usable = |c: &usize| {
            let coordinator = &self.coordinators[*c];
            let awake = coordinator.stalled_until <= self.now;
            coordinator.is_up && awake && !coordinator.seats.is_empty()
        };
        let usable: Vec<usize> = (0..self.coordinators.len()).filter(usable).collect();
        if usable.is_empty() {
            return self.after(SECOND / 4, Event::Submit(index));
        }
        let coordinator = *self.rng.pick(&usable);
        let seats = &self.coordinators[coordinator].seats;
        let shards: Vec<_> = seats.keys().copied().collect();
        let (count, millis) = (self.store.info().shards, EPOCH_MS + self.now / MS);
        // A coordinator picks ids in shards that it owns.
        let tx = loop {
            let tx = TxId::from_parts(millis, self.rng.bytes());
            if shards.contains(&tx.shard(count)) {
                break tx;
            }
        };
        self.owners.insert(tx, index);
        let run = self.coordinators[coordinator].run;
        let client = &mut self.clients[index];
        client.tries.push(tx);
        client.with = Some((coordinator, run));
        let transaction = client.plan.transaction.clone();
        self.trace.mark(5, tx.salt(), coordinator as u64);
        let (names, hosts) = (&self.names, &self.hosts);
        let inbox = |name: &_| names.get(name).is_none_or(|host| !hosts[*host].is_foreign());
        let submitted = || What::Submitted { plan: Plan::of(&transaction, inbox) };
        self.trace.note(self.now, ("client", NAMES[coordinator]), Some(tx), submitted);
        let input = Input::Submit { tx, transaction, observed: false };
        self.feed(coordinator, tx.shard(count), input);
        self.stray_inquiries(tx, index);
        self.after(PATIENCE_US, Event::Remind(index));
    }

    /// A client whose coordinator is gone tries again with the same key; without a key it could
    /// only do harm.
    pub(crate) fn remind(&mut self, index: usize) {
        let client = &self.clients[index];
        if client.is_settled() {
            return;
        }
        let gone = client.with.is_none_or(|(coordinator, run)| {
            let c = &self.coordinators[coordinator];
            let tx = client.tries.last().copied();
            let shard = tx.map(|tx| tx.shard(self.store.info().shards));
            let held = shard.and_then(|shard| c.seats.get(&shard)).zip(tx);
            c.run != run || held.is_none_or(|(seat, tx)| !seat.engine.holds(tx))
        });
        if !gone {
            self.after(PATIENCE_US, Event::Remind(index));
        } else if client.plan.transaction.key().is_some() {
            self.submit(index);
        }
    }

    pub(crate) fn client_accepted(&mut self, tx: TxId) {
        let Some(&index) = self.owners.get(&tx) else { return };
        if !self.views.get(&tx).is_some_and(|view| view.is_accepted()) {
            self.broken(Some(tx), "persist before send: accepted before it was durable");
        }
        self.clients[index].accepted = Some(tx);
        self.counters.accepted += 1;
        self.trace.note(self.now, ("client", "client"), Some(tx), || What::Acknowledged);
    }

    pub(crate) fn client_refused(&mut self, tx: TxId, refused: &Refused) {
        let Some(&index) = self.owners.get(&tx) else { return };
        match refused {
            Refused::DuplicateKey(of) => {
                self.counters.duplicate_keys += 1;
                if self.owners.get(of) != Some(&index) {
                    self.broken(Some(tx), "rule 10: the key belongs to another's transaction");
                }
                self.clients[index].accepted = Some(*of);
            }
            Refused::Store(_) => self.clients[index].refused = Some(tx),
        }
    }

    /// The transaction of a client, once there is a record of it.
    pub(crate) fn durable_tx(&self, index: usize) -> Option<TxId> {
        let accepted = |tx: &&TxId| self.views.get(tx).is_some_and(|view| view.is_accepted());
        self.clients[index].tries.iter().find(accepted).copied()
    }

    /// Somebody gives a signal: its transaction is read, and a moment later written.
    pub(crate) fn signal(&mut self, client: usize, entry: Box<SignalEntry>) {
        let Some(tx) = self.durable_tx(client) else {
            if !self.is_healed() {
                self.after(SECOND, Event::Signal { client, entry });
            }
            return;
        };
        let Some(Some(record)) = self.store.load(&[tx]).pop() else { return };
        let id = WriteId { writer: dtx_core::ids::HolderId(2), number: self.fresh() };
        let at = self.store_now();
        match signal_write(&record, (*entry).clone(), id, at, &self.settings) {
            SignalStep::Write(write) => {
                let slow = !self.is_healed() && self.rng.chance(300);
                let delay = self.rng.range(1, if slow { SECOND } else { 60 * MS });
                self.after(delay, Event::SignalWrite { client, entry, write });
            }
            SignalStep::Settled(_) | SignalStep::TooLate => {}
            SignalStep::Invalid(reason) => {
                let text = || What::Note { text: reason.to_owned() };
                self.trace.note(self.now, ("client", "client"), Some(tx), text);
            }
        }
    }

    pub(crate) fn signal_write(
        &mut self,
        client: usize,
        entry: Box<SignalEntry>,
        mut write: Box<TxWrite>,
    ) {
        if self.is_mutant(Mutation::SignalOverAnything)
            && let Some(Some(record)) = self.store.load(&[write.tx]).pop()
            && record.due.is_some()
        {
            write.expect = Expect::Version(record.version);
        }
        let result = self.commit(std::slice::from_ref(&write)).pop();
        match result {
            Some(CommitResult::Committed(_)) => {
                self.counters.signals += 1;
                let tx = write.tx;
                if self.is_healed() || !self.swarm.wakes_off {
                    self.set_off(None, || Event::Poke(tx));
                }
            }
            // Somebody wrote in between: read again.
            _ => self.signal(client, entry),
        }
    }

    /// Somebody wrote to a transaction: whoever has the shard looks.
    pub(crate) fn poke(&mut self, tx: TxId) {
        let shard = tx.shard(self.store.info().shards);
        for coordinator in 0..self.coordinators.len() {
            let c = &self.coordinators[coordinator];
            if c.is_up && c.stalled_until <= self.now {
                self.feed(coordinator, shard, Input::Poke(tx));
            }
        }
    }

    /// A record is read for a coordinator.
    pub(crate) fn load(&mut self, coordinator: usize, run: u32, tx: TxId) {
        let fails = (!self.is_healed() && self.rng.chance(self.swarm.store_faults))
            || !self.reaches_store(coordinator);
        let found = if fails {
            None
        } else {
            Some((self.store.load(&[tx]).pop().flatten().map(Box::new), self.store_now()))
        };
        let delay =
            self.rng.range(1, self.swarm.store_us.max(2)) + self.way_from_store(coordinator);
        self.after(delay, Event::Loaded { coordinator, run, tx, found });
    }

    pub(crate) fn loaded(&mut self, coordinator: usize, run: u32, tx: TxId, found: Found) {
        match self.may_act(coordinator, run) {
            None => return,
            Some(until) if until > self.now => {
                let event = Event::Loaded { coordinator, run, tx, found };
                return self.queue.push(until, event);
            }
            Some(_) => {}
        }
        let shard = tx.shard(self.store.info().shards);
        let store_now = found.as_ref().map_or_else(|| self.store_now(), |(_, now)| *now);
        let record = found.map(|(record, _)| record);
        let record = record.ok_or_else(|| crate::service::unknown("load"));
        self.feed(coordinator, shard, Input::Loaded { tx, record, store_now });
    }

    /// An owner looks for what is due in its shards.
    pub(crate) fn scan(&mut self, coordinator: usize, run: u32) {
        match self.may_act(coordinator, run) {
            None => return,
            Some(until) if until > self.now => {
                return self.queue.push(until, Event::Scan { coordinator, run });
            }
            Some(_) => {}
        }
        self.after(SECOND, Event::Scan { coordinator, run });
        if !self.reaches_store(coordinator) {
            return;
        }
        let shards: Vec<_> = self.coordinators[coordinator].seats.keys().copied().collect();
        let now = self.store_now();
        for shard in shards {
            let page = self.store.open(shard, now, None, 8, now).expect("the shard exists");
            for record in page.records {
                let (tx, found) = (record.tx, Some((Some(Box::new(record)), page.now)));
                let way = self.way_to_store(coordinator) + self.way_from_store(coordinator);
                let delay = way + self.rng.range(1, self.swarm.store_us.max(2));
                self.after(delay, Event::Loaded { coordinator, run, tx, found });
            }
        }
    }

    /// After the faults an operator moves what cannot go on alone.
    pub(crate) fn operate(&mut self) {
        let stuck = |client: &usize| {
            let view = self.durable_tx(*client).and_then(|tx| self.views.get(&tx));
            view.is_some_and(|view| view.is_open && view.status == Status::NeedsAttention)
        };
        let stuck: Vec<usize> = (0..self.clients.len()).filter(stuck).collect();
        for client in stuck {
            let refused = self.durable_tx(client).and_then(|tx| self.refused_last(tx));
            let signal = refused.map_or(Signal::Retry, Signal::Skip);
            self.counters.operator_moves += 1;
            let reason = Reason::new("the faults are over");
            let entry = SignalEntry { signal, by: Reason::new("operator"), reason };
            self.signal(client, Box::new(entry));
        }
    }

    /// An operation that said no after the decision, so that only a person can go on.
    fn refused_last(&self, tx: TxId) -> Option<OperationIndex> {
        let view = self.views.get(&tx)?;
        let decided = match view.verdict {
            Some(verdict) => !verdict.is_backward(),
            None => view.state.point_of_no_return.is_some(),
        };
        let last = |phase: &Phase| matches!(phase, Phase::Execute | Phase::Commit);
        let is_stuck = |of: &OperationIndex| view.state.stuck.iter().any(|stuck| stuck.0 == *of);
        let refused = view.operations.iter().filter(|(_, s)| s.rejected.iter().any(last));
        let refused = refused.filter(|(operation, _)| is_stuck(operation));
        // Every one of them in turn, and a retry: a move that fits nothing changes nothing.
        let refused: Vec<_> = refused.map(|(operation, _)| *operation).collect();
        if !decided {
            return None;
        }
        refused.get(view.state.signals.len() % (refused.len() + 1)).copied()
    }
}
