//! A coordinator: it drives its engines exactly as a runtime does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dtx_core::{
    engine::{Context, EngineSettings, Input, Notice, Outputs, Peers, ShardEngine},
    error::Effect,
    ids::{HolderId, ShardId},
    pattern::Phase,
    store::{CommitResult, Lease, LeaseRequest, RecordKind, TxWrite, Verdict},
    time::Timestamp,
    transport::{Body, Command, Reply},
};

use crate::{
    check,
    client::submitted_at,
    clock::Clock,
    event::{Event, Reading, StoreAnswer, Trouble},
    history::{What, digest},
    landing,
    mutation::Mutation,
    network::Node,
    swarm::{MS, SECOND, Swarm},
    view::Broken,
    workload::Poison,
    world::{LANES, SHARDS, World},
};

/// What the coordinators are called in traces.
pub(crate) const NAMES: [&str; 2] = ["c0", "c1"];
/// How long a lease lasts.
const LEASE_US: u64 = 3 * SECOND;
/// The largest part of a lane's queue that is sent in one commit.
const BATCH_MAX: usize = 8;
/// How many records a new owner reads at once.
const PAGE: usize = 3;

/// One run of a coordinator after the other.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(crate) is_up: bool,
    /// Nothing happens in it before this moment.
    pub(crate) stalled_until: u64,
    /// How many times it was started.
    pub(crate) run: u32,
    pub(crate) holder: HolderId,
    pub(crate) clock: Clock,
    pub(crate) settings: Arc<EngineSettings>,
    /// How far its idea of the store's clock is off, in microseconds.
    pub(crate) skew: i64,
    pub(crate) seats: BTreeMap<ShardId, Seat>,
    peers: Peers,
    lanes: [Lane; LANES],
    tick_at: u64,
}

/// A shard that is leased, with its engine.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) engine: ShardEngine,
    pub(crate) lease: Lease,
}

#[derive(Debug, Default)]
struct Lane {
    queue: Vec<TxWrite>,
    is_busy: bool,
}

impl Coordinator {
    pub(crate) fn new(holder: HolderId, clock: Clock, settings: Arc<EngineSettings>) -> Self {
        Self {
            settings,
            is_up: true,
            stalled_until: 0,
            run: 1,
            holder,
            clock,
            skew: 0,
            seats: BTreeMap::new(),
            peers: Peers::default(),
            lanes: [Lane::default(), Lane::default()],
            tick_at: u64::MAX,
        }
    }

    /// Its memory is lost.
    pub(crate) fn crash(&mut self) {
        self.is_up = false;
        self.run += 1;
        self.stalled_until = 0;
        self.seats.clear();
        self.lanes = [Lane::default(), Lane::default()];
        self.peers = Peers::default();
        self.tick_at = u64::MAX;
    }

    fn lane_of(shard: ShardId) -> usize {
        usize::from(shard.0) % LANES
    }
}

/// Whether nothing follows from an input.
fn is_silent(out: &Outputs) -> bool {
    let Outputs { writes, commands, loads, notices } = out;
    writes.is_empty() && commands.is_empty() && loads.is_empty() && notices.is_empty()
}

impl World {
    /// Whether an event of a coordinator's run may happen now; a stalled one gets it later.
    pub(crate) fn may_act(&mut self, coordinator: usize, run: u32) -> Option<u64> {
        let c = &self.coordinators[coordinator];
        if !c.is_up || c.run != run {
            return None;
        }
        Some(c.stalled_until)
    }

    /// Hands an input to an engine and carries out what comes of it.
    pub(crate) fn feed(&mut self, coordinator: usize, shard: ShardId, input: Input) {
        let (now, store_now) = (self.now, self.store_now());
        let c = &mut self.coordinators[coordinator];
        let hint = store_now.as_micros().saturating_add_signed(c.skew);
        let Some(seat) = c.seats.get_mut(&shard) else { return };
        let stale = match &input {
            Input::Reply(reply) if reply.epoch != seat.lease.epoch => Some(reply.tx),
            _ => None,
        };
        let mut out = Outputs::default();
        let mut cx = Context {
            now: c.clock.read(now),
            store_now: Timestamp::from_micros(hint),
            load_percent: 10,
            peers: &mut c.peers,
        };
        seat.engine.handle(input, &mut cx, &mut out);
        if stale.is_some() && !is_silent(&out) {
            self.broken(stale, "rule 5: an answer to a command of an earlier epoch was heard");
        }
        self.carry_out(coordinator, shard, out);
        self.set_tick(coordinator);
    }

    fn carry_out(&mut self, coordinator: usize, shard: ShardId, out: Outputs) {
        let run = self.coordinators[coordinator].run;
        for notice in out.notices {
            self.notice(coordinator, notice);
        }
        for command in out.commands {
            if let Body::Command(command) = command.body {
                self.command(coordinator, command);
            }
        }
        for tx in out.loads {
            let delay = self.rng.range(1, 5 * MS) + self.way_to_store(coordinator);
            self.after(delay, Event::Load { coordinator, run, tx });
        }
        let lane = Coordinator::lane_of(shard);
        for write in out.writes {
            self.trace.mark(1, write.id.number, coordinator as u64);
            if self.leaves_early(&write) {
                let version = match write.expect {
                    dtx_core::store::Expect::Version(version) => version.next(),
                    dtx_core::store::Expect::Absent => dtx_core::ids::Version(1),
                };
                let (tx, id) = (write.tx, write.id);
                if !self.is_mutant(Mutation::ResumeUnwritten) {
                    self.coordinators[coordinator].lanes[lane].queue.push(write);
                }
                let version = if self.is_mutant(Mutation::ResumeUnwritten) {
                    dtx_core::ids::Version(version.0 - 1)
                } else {
                    version
                };
                let result = CommitResult::Committed(version);
                self.feed(coordinator, shard, Input::Written { tx, id, result });
                continue;
            }
            self.coordinators[coordinator].lanes[lane].queue.push(write);
        }
        self.flush(coordinator, lane);
    }

    /// Rules taken out: the engine is told that a write is durable before it is.
    fn leaves_early(&self, write: &TxWrite) -> bool {
        match self.mutation {
            Some(Mutation::BackwardBeforeVerdict) => {
                write.kind == RecordKind::Verdict && write.verdict.is_some_and(Verdict::is_backward)
            }
            Some(Mutation::PivotBeforeRecord) => {
                matches!(write.kind, RecordKind::PivotSent | RecordKind::Delegated)
            }
            Some(Mutation::ResumeUnwritten) => write.kind == RecordKind::Resumed,
            _ => false,
        }
    }

    /// One commit is in flight per lane, with what has come in the meantime.
    fn flush(&mut self, coordinator: usize, lane: usize) {
        let queue = &mut self.coordinators[coordinator].lanes[lane];
        if queue.is_busy || queue.queue.is_empty() {
            return;
        }
        queue.is_busy = true;
        let count = queue.queue.len().min(BATCH_MAX);
        let writes = queue.queue.drain(..count).collect();
        self.send_batch(coordinator, lane, writes);
    }

    /// The store's answer to a batch.
    pub(crate) fn answered(&mut self, answer: StoreAnswer) {
        let coordinator = answer.coordinator;
        match self.may_act(coordinator, answer.run) {
            None => return,
            Some(until) if until > self.now => {
                return self.queue.push(until, Event::Answered(Box::new(answer)));
            }
            Some(_) => {}
        }
        self.coordinators[coordinator].lanes[answer.lane].is_busy = false;
        for ((shard, tx, id, kind), result) in answer.results {
            let result = self.misread(kind, result);
            self.feed(coordinator, shard, Input::Written { tx, id, result });
        }
        self.flush(coordinator, answer.lane);
    }

    /// Rules taken out: what the store said is not what the engine hears.
    fn misread(&self, kind: RecordKind, result: CommitResult) -> CommitResult {
        match (self.mutation, result) {
            (
                Some(Mutation::VerdictConflictIgnored),
                CommitResult::Conflict { found: Some(found), verdict: Some(_) },
            ) if kind == RecordKind::Verdict => CommitResult::Committed(found),
            (Some(Mutation::UnknownWriteIsFailed), CommitResult::Failed(error))
                if error.effect() == Effect::Unknown =>
            {
                let kind = dtx_core::error::ErrorKind::Invalid;
                CommitResult::Failed(dtx_core::error::StoreError::new(kind, "sim", "commit"))
            }
            (_, result) => result,
        }
    }

    /// A command leaves, if nothing stands against it.
    fn command(&mut self, coordinator: usize, mut command: Arc<Command>) {
        let tx = command.tx;
        if self.is_mutant(Mutation::DeadlineAfterDecision) && command.deadline.is_none() {
            Arc::make_mut(&mut command).deadline = Some(Duration::from_millis(1));
        }
        self.counters.commands += 1;
        self.trace.mark(2, tx.salt() ^ u64::from(command.operation.0), command.phase as u64);
        let way = (NAMES[coordinator], &command.participant);
        let moment = (self.now, self.coordinators[coordinator].run);
        self.trace.note_of(moment, way, Some(tx), || What::Command {
            operation: command.operation,
            phase: command.phase,
            attempt: command.attempt,
            epoch: command.epoch,
            digest: Some(digest(&command.payload)),
        });
        self.expect(tx, check::command(self.views.get(&tx), &command));
        self.expect(tx, self.may_execute(&command));
        let of_shard = self.views.values().filter(|view| view.shard == command.shard);
        let watermark = check::watermark(of_shard, command.watermark);
        self.expect(tx, watermark);
        let is_unsent = command.phase.is_backward() && command.attempt == 1;
        if self.is_mutant(Mutation::UnsentNotTakenBack) && is_unsent && !self.is_seen(&command) {
            let reply = command.reply(Ok(dtx_core::answer::Done::default()));
            return self.after(1, Event::Reply(Box::new(reply)));
        }
        let Some(&host) = self.names.get(&command.participant) else { return };
        let link = (Node::Coordinator(coordinator), Node::Host(host));
        self.send(link, || Event::Command { host, command: command.clone() });
        self.ancient_copy(host, &command);
        if self.is_poison(tx, Poison::Coordinator) {
            self.counters.poisoned += 1;
            self.after(1, Event::Trouble(Trouble::PoisonCoordinator(coordinator)));
        }
    }

    /// Whether the participant has answered anything about the operation.
    fn is_seen(&self, command: &Command) -> bool {
        self.views
            .get(&command.tx)
            .is_some_and(|view| view.operations.contains_key(&command.operation))
    }

    fn notice(&mut self, coordinator: usize, notice: Notice) {
        match notice {
            Notice::Accepted(tx) => self.client_accepted(tx),
            Notice::NotAccepted(tx, refused) => self.client_refused(tx, &refused),
            Notice::Told(tx, outcome) => {
                let told = check::told(self.views.get(&tx), outcome);
                self.expect(tx, told);
                if let Some(view) = self.views.get_mut(&tx) {
                    view.told = Some(outcome);
                }
                self.counters.told += 1;
                let way = (NAMES[coordinator], "client");
                self.trace.note(self.now, way, Some(tx), || What::Told { outcome });
            }
            Notice::LeaseLost(shard) => {
                self.counters.leases_lost += 1;
                self.coordinators[coordinator].seats.remove(&shard);
            }
            Notice::Parked(_) => self.counters.parked += 1,
            Notice::NeedsAttention(_) => self.counters.needs_attention += 1,
            Notice::Quarantined(tx, reason) => {
                self.broken(Some(tx), format!("a record could not be read: {reason}"));
            }
            Notice::DeadLetter(..) => self.counters.dead_letters += 1,
            Notice::Closed(_) | Notice::Progress { .. } => {}
        }
    }

    /// The coordinator that drives a shard now, or one that may soon.
    pub(crate) fn driver(&self, shard: ShardId) -> Node {
        let drives = |c: &Coordinator| c.is_up && c.seats.contains_key(&shard);
        Node::Coordinator(self.coordinators.iter().position(drives).unwrap_or(0))
    }

    /// A reply is read by whoever drives its shard.
    pub(crate) fn replied(&mut self, mut reply: Reply) {
        let host = self.names.get(&reply.participant).copied();
        for coordinator in 0..self.coordinators.len() {
            let c = &self.coordinators[coordinator];
            if !c.is_up || !c.seats.contains_key(&reply.shard) {
                continue;
            }
            if c.stalled_until > self.now {
                let until = c.stalled_until;
                self.queue.push(until, Event::Reply(Box::new(reply.clone())));
                continue;
            }
            if let Some(host) = host
                && !self.reaches(Node::Host(host), Node::Coordinator(coordinator))
            {
                continue;
            }
            if self.is_mutant(Mutation::UnknownIsNo) {
                use dtx_core::answer::NotDone;
                if let Err(NotDone::Unknown(reason)) = &reply.answer {
                    reply.answer = Err(NotDone::Rejected(reason.clone()));
                }
            }
            self.release_after_no(&reply);
            self.note_fallen(coordinator, &reply);
            self.feed(coordinator, reply.shard, Input::Reply(reply.clone()));
        }
    }

    /// Whether an execution may leave: not sooner than was asked for. While clocks jump or differ
    /// nobody can say.
    fn may_execute(&self, command: &Command) -> Result<(), Broken> {
        let Some(view) = self.views.get(&command.tx) else { return Ok(()) };
        check::gate(view, command)?;
        let after = view.transaction.modifiers().and_then(|modifiers| modifiers.execute_after);
        let Some(after) = after.filter(|_| check::is_execution(command)) else { return Ok(()) };
        let Swarm { clock_steps, drift, slow_clocks, .. } = self.swarm;
        let is_steady = clock_steps == 0 && !drift && !slow_clocks;
        let begun = submitted_at(command.tx) + after.as_micros() as u64;
        if is_steady && self.now + MS < begun && !landing::is_operated(&view.state) {
            return Err("OV: an execution left before its time");
        }
        Ok(())
    }

    /// A participant that is asked says that what it holds does not stand any more.
    fn note_fallen(&mut self, coordinator: usize, reply: &Reply) {
        use dtx_core::answer::NotDone;
        let seat = self.coordinators[coordinator].seats.get(&reply.shard);
        let is_current = seat.is_some_and(|seat| seat.lease.epoch == reply.epoch);
        let is_no = matches!(reply.answer, Err(NotDone::Rejected(_) | NotDone::Refused(_)));
        let Some(view) = self.views.get_mut(&reply.tx) else { return };
        if reply.phase != Phase::Status || view.state.verified.is_some() || !is_current {
            return;
        }
        // A copy of a question that was answered is not heard any more.
        let asked = (reply.epoch, reply.operation);
        if reply.answer.is_ok() {
            view.stood.insert(asked);
        } else {
            view.is_fallen |= is_no && !view.stood.contains(&asked);
        }
    }

    /// Rule taken out: a no after the decision takes the others back.
    fn release_after_no(&mut self, reply: &Reply) {
        use dtx_core::answer::NotDone;
        let is_no = matches!(reply.answer, Err(NotDone::Rejected(_) | NotDone::Refused(_)));
        let decides = matches!(reply.phase, Phase::Execute | Phase::Commit);
        if !self.is_mutant(Mutation::NoAfterDecisionReleases) || !is_no || !decides {
            return;
        }
        let Some(view) = self.views.get(&reply.tx) else { return };
        if view.verdict != Some(Verdict::Commit) {
            return;
        }
        let others = view.transaction.operations().len() as u16;
        let (pattern, state) = (view.transaction.pattern(), view.state.sequence);
        let commands: Vec<_> = (0..others)
            .map(dtx_core::ids::OperationIndex)
            .filter(|other| *other != reply.operation)
            .map(|other| {
                let operation = view.transaction.operation(other);
                Command {
                    tx: reply.tx,
                    operation: other,
                    phase: match pattern {
                        dtx_core::pattern::Pattern::TwoPhaseCommit => Phase::Abort,
                        _ => Phase::Release,
                    },
                    pattern,
                    participant: operation.participant().clone(),
                    action: operation.action().clone(),
                    action_version: operation.action_version(),
                    attempt: 1,
                    shard: reply.shard,
                    epoch: reply.epoch,
                    sequence: state,
                    watermark: dtx_core::ids::AcceptSequence::default(),
                    deadline: None,
                    ttl: None,
                    one_phase: false,
                    reply: false,
                    payload: operation.payload().clone(),
                    inputs: Vec::new(),
                }
            })
            .collect();
        for command in commands {
            self.command(0, Arc::new(command));
        }
    }

    fn set_tick(&mut self, coordinator: usize) {
        let c = &mut self.coordinators[coordinator];
        let next = c.seats.values().filter_map(|seat| seat.engine.next_timer()).min();
        let Some(next) = next else { return };
        let at = c.clock.when(next).max(self.now).max(c.stalled_until);
        if at < c.tick_at {
            c.tick_at = at;
            let run = c.run;
            self.queue.push(at, Event::Tick { coordinator, run });
        }
    }

    /// After a stall or a restart: timers are looked at again.
    pub(crate) fn wake(&mut self, coordinator: usize) {
        self.coordinators[coordinator].tick_at = u64::MAX;
        self.set_tick(coordinator);
    }

    pub(crate) fn tick(&mut self, coordinator: usize, run: u32) {
        let c = &mut self.coordinators[coordinator];
        if !c.is_up || c.run != run || c.tick_at != self.now {
            return;
        }
        c.tick_at = u64::MAX;
        if c.stalled_until > self.now {
            return self.set_tick(coordinator);
        }
        let local = c.clock.read(self.now);
        let is_due = |seat: &Seat| seat.engine.next_timer().is_some_and(|at| at <= local);
        let due: Vec<_> = c.seats.iter().filter(|(_, s)| is_due(s)).map(|(s, _)| *s).collect();
        for shard in due {
            self.feed(coordinator, shard, Input::Tick);
        }
        self.set_tick(coordinator);
    }

    /// Prolongs what it has and asks for what nobody has.
    pub(crate) fn leases(&mut self, coordinator: usize, run: u32) {
        match self.may_act(coordinator, run) {
            None => return,
            Some(until) if until > self.now => {
                return self.queue.push(until, Event::Leases { coordinator, run });
            }
            Some(_) => {}
        }
        self.after(LEASE_US / 3, Event::Leases { coordinator, run });
        let is_lost = !self.is_healed() && self.rng.chance(self.swarm.store_faults);
        let node = Node::Coordinator(coordinator);
        if is_lost || !self.reaches(node, Node::Store) {
            return;
        }
        let is_heard = self.reaches(Node::Store, node);
        let now = self.store_now();
        let c = &mut self.coordinators[coordinator];
        let held: Vec<Lease> = c.seats.values().map(|seat| seat.lease.clone()).collect();
        let kept = self.store.renew(&held, now);
        if !is_heard {
            return;
        }
        let c = &mut self.coordinators[coordinator];
        let is_kept = |lease: &Lease| kept.iter().any(|k| k.shard == lease.shard);
        for lost in held.iter().filter(|lease| !is_kept(lease)) {
            self.counters.leases_lost += 1;
            c.seats.remove(&lost.shard);
        }
        // At the start each asks for its own half, so that both have something to do.
        let wanted = (0..SHARDS).filter(|shard| {
            self.now > SECOND || usize::from(*shard) % self.coordinators.len() == coordinator
        });
        let c = &self.coordinators[coordinator];
        let shards = wanted.map(ShardId).filter(|shard| !c.seats.contains_key(shard)).collect();
        let ttl = Duration::from_micros(LEASE_US);
        let request = LeaseRequest { holder: c.holder, shards, ttl };
        let granted = self.store.acquire(&request, now).expect("these shards exist");
        for lease in granted {
            self.take_seat(coordinator, lease);
        }
    }

    fn take_seat(&mut self, coordinator: usize, lease: Lease) {
        self.trace.mark(4, u64::from(lease.shard.0), lease.epoch.0);
        let (shard, epoch) = (lease.shard, lease.epoch);
        let way = (NAMES[coordinator], "store");
        let moment = (self.now, self.coordinators[coordinator].run);
        self.trace.note_of(moment, way, None, || What::Leased { shard, epoch });
        let c = &mut self.coordinators[coordinator];
        let engine = ShardEngine::new(lease.fence(), c.settings.clone());
        let run = c.run;
        c.seats.insert(shard, Seat { engine, lease });
        let reading = Reading { shard, epoch, cursor: None, again: false };
        self.after(1, Event::Recover { coordinator, run, reading });
    }

    /// A page of what a new owner finds open. It reads all of it twice, as a runtime does.
    pub(crate) fn recover(&mut self, coordinator: usize, run: u32, reading: Reading) {
        match self.may_act(coordinator, run) {
            None => return,
            Some(until) if until > self.now => {
                return self.queue.push(until, Event::Recover { coordinator, run, reading });
            }
            Some(_) => {}
        }
        let shard = reading.shard;
        let is_same = |seat: &Seat| seat.engine.fence().epoch == reading.epoch;
        if !self.coordinators[coordinator].seats.get(&shard).is_some_and(is_same) {
            return;
        }
        if !self.reaches_store(coordinator) {
            return self.after(50 * MS, Event::Recover { coordinator, run, reading });
        }
        let (due, now) = (Timestamp::MAX, self.store_now());
        let limit = if self.swarm.page_us > MS { 1 } else { PAGE };
        let page = self.store.open(shard, due, reading.cursor.as_ref(), limit, now);
        let page = page.expect("the shard exists");
        for record in page.records {
            self.counters.recovered += 1;
            let record = Box::new(record);
            self.feed(coordinator, shard, Input::Recovered { record, store_now: page.now });
        }
        if page.next.is_none() && reading.again {
            return self.feed(coordinator, shard, Input::RecoveryComplete);
        }
        let again = reading.again || page.next.is_none();
        let reading = Reading { cursor: page.next, again, ..reading };
        let way = self.way_to_store(coordinator) + self.way_from_store(coordinator);
        let pause = way + self.strays_rng.range(MS, self.swarm.page_us.max(MS));
        self.after(pause, Event::Recover { coordinator, run, reading });
    }
}
