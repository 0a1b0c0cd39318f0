//! A participant over a built-in resource: batches of commands become writes of its store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer, Refusal},
    ids::{AcceptSequence, HolderId, ShardId},
    name::ParticipantName,
    pattern::Phase,
    resource::{
        Plan, Resource, Work,
        barrier::{Entry, InboxRow, inbox_key, mark_key},
        plan, read_keys, route,
    },
    store::{RowSet, RowWriteResult, Scope, ScopeRead},
    time::Timestamp,
    transport::Command,
};

use crate::{
    check,
    event::{Event, OperationKey},
    history::{Said, What, written},
    mutation::Mutation,
    network::Node,
    swarm::MS,
    workload::{HostKind, Poison},
    world::World,
};

/// A command in the hands of a participant.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) command: Arc<Command>,
    /// On the participant store's clock.
    not_after: Option<Timestamp>,
}

/// A write on its way to the participant's store, with the answers that wait for it.
#[derive(Debug)]
pub(crate) struct HostWrite {
    host: usize,
    run: u32,
    jobs: Vec<Job>,
    answers: Vec<PhaseAnswer>,
    set: RowSet,
    /// When the rows were read that the answers come from.
    read_at: u64,
}

/// A participant.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: ParticipantName,
    pub(crate) kind: HostKind,
    /// `None` for users' handlers.
    pub(crate) resource: Option<Box<dyn Resource>>,
    pub(crate) is_up: bool,
    pub(crate) run: u32,
    /// Its two instances, which share a queue group.
    pub(crate) instances: [HolderId; 2],
    /// What has come for each scope and is not taken up.
    pub(crate) waiting: BTreeMap<Scope, Vec<Job>>,
    /// What it holds that no clock may release, and when to ask.
    pub(crate) pinned: BTreeMap<OperationKey, (Scope, Timestamp)>,
    pub(crate) asks: bool,
    /// How far the clock of its own store is off, in microseconds.
    pub(crate) skew: i64,
    /// The scope of its handlers' inbox.
    pub(crate) inbox_scope: Scope,
    /// The scopes that it has written to.
    pub(crate) scopes: BTreeSet<Scope>,
    /// The highest watermark that a command has brought.
    pub(crate) watermarks: BTreeMap<ShardId, AcceptSequence>,
}

impl Host {
    pub(crate) fn is_foreign(&self) -> bool {
        self.kind == HostKind::Foreign
    }

    /// Its memory is lost.
    pub(crate) fn crash(&mut self) {
        self.is_up = false;
        self.run += 1;
        self.waiting.clear();
        self.pinned.clear();
        self.watermarks.clear();
        self.asks = false;
    }
}

impl World {
    /// A command arrives at a participant.
    pub(crate) fn arrive(&mut self, host: usize, command: Arc<Command>) {
        if !self.hosts[host].is_up {
            self.counters.lost += 1;
            return;
        }
        let marks = &mut self.hosts[host].watermarks;
        let mark = marks.entry(command.shard).or_default();
        *mark = (*mark).max(command.watermark);
        if self.is_poison(command.tx, Poison::Participant(command.operation)) {
            self.counters.poisoned += 1;
            let down = self.rng.range(10 * MS, 400 * MS);
            // Before it has done anything, or right after.
            if self.rng.chance(500) {
                return self.crash_participant(host, down);
            }
            self.after(20 * MS, Event::Poisoned { host, down });
        }
        let not_after = command.deadline.map(|left| self.host_now(host) + left);
        self.begin(host, Job { command, not_after });
    }

    pub(crate) fn begin(&mut self, host: usize, job: Job) {
        if self.is_mutant(Mutation::StoredDoneAfterUndone)
            && let Some(answer) = self.stored_done(host, &job.command)
        {
            return self.reply(&job.command, answer);
        }
        if self.is_mutant(Mutation::NoTombstone) && self.is_empty_compensation(host, &job.command) {
            return self.reply(&job.command, Ok(Done::default()));
        }
        let Some(resource) = self.hosts[host].resource.as_deref() else {
            return self.begin_handler(host, job);
        };
        let scope = match route(resource, &job.command) {
            Ok(scope) => scope,
            Err(answer) => return self.reply(&job.command, answer),
        };
        if self.swarm.split_us == 0 {
            return self.work(host, scope, vec![job]);
        }
        let waiting = self.hosts[host].waiting.entry(scope).or_default();
        waiting.push(job);
        if waiting.len() == 1 {
            let run = self.hosts[host].run;
            let delay = self.rng.range(1, 4 * MS);
            self.after(delay, Event::Work { host, run, jobs: Vec::new() });
        }
    }

    /// The command of an inquiry's answer: nobody waits for its reply.
    pub(crate) fn begin_own(&mut self, host: usize, command: Command) {
        self.begin(host, Job { command: Arc::new(command), not_after: None });
    }

    /// Takes up what has come: one batch for each scope.
    pub(crate) fn take_up(&mut self, host: usize, run: u32, jobs: Vec<Job>) {
        if self.hosts[host].run != run || !self.hosts[host].is_up {
            return;
        }
        let again = jobs.first().and_then(|job| self.scope_of(host, &job.command));
        if let Some(scope) = again {
            return self.work(host, scope, jobs);
        }
        for (scope, jobs) in std::mem::take(&mut self.hosts[host].waiting) {
            self.work(host, scope, jobs);
        }
    }

    /// Reads, plans, and writes now or a moment later.
    fn work(&mut self, host: usize, scope: Scope, jobs: Vec<Job>) {
        let now = self.host_now(host);
        let Some(resource) = self.hosts[host].resource.as_deref() else { return };
        let keys = read_keys(resource, jobs.iter().map(|job| &*job.command));
        let read = ScopeRead { scope: scope.clone(), keys };
        let rows = self.store.read(std::slice::from_ref(&read), now).expect("the keys are valid");
        let Some(rows) = rows.into_iter().next() else { return };
        let works: Vec<_> = jobs
            .iter()
            .map(|job| Work { command: &job.command, not_after: job.not_after })
            .collect();
        let Plan { write, answers, damaged } = plan(resource, &scope, &read.keys, rows, &works);
        if !damaged.is_empty() {
            self.broken(None, "a participant's row could not be read");
        }
        let read_at = self.now;
        let Some(set) = write else { return self.answer_all(&jobs, answers, read_at) };
        let run = self.hosts[host].run;
        if self.is_mutant(Mutation::ReplyBeforeRow) {
            self.answer_all(&jobs, answers.clone(), read_at);
        }
        let write = HostWrite { host, run, jobs, answers, set, read_at };
        if self.swarm.split_us > 0 {
            let delay = self.rng.range(1, self.swarm.split_us);
            self.after(delay, Event::HostWrite(Box::new(write)));
        } else {
            self.host_write(write);
        }
    }

    /// The write of a batch reaches the store.
    pub(crate) fn host_write(&mut self, write: HostWrite) {
        let HostWrite { host, run, jobs, answers, set, read_at } = write;
        let is_alive = self.hosts[host].is_up && self.hosts[host].run == run;
        // The write of a host that has crashed may have left before or not.
        if !is_alive && self.rng.chance(500) {
            return;
        }
        let now = self.host_now(host);
        match self.store.write(std::slice::from_ref(&set), now).pop() {
            Some(RowWriteResult::Written) => {
                self.hosts[host].scopes.insert(set.scope.clone());
                self.trace.mark(6, host as u64, jobs.len() as u64);
                for (job, answer) in jobs.iter().zip(&answers) {
                    self.stored(host, Some(&set.scope), &job.command, answer);
                }
                let alone = match (jobs.as_slice(), answers.as_slice()) {
                    ([job], [answer]) => Some((&*job.command, answer)),
                    _ => None,
                };
                self.judge_claims(&set, alone);
                self.note_pool(host, &set);
                let silent = self.is_mutant(Mutation::ReplyBeforeRow);
                if is_alive && !silent {
                    self.answer_all(&jobs, answers, read_at);
                }
            }
            Some(RowWriteResult::Conflict | RowWriteResult::TooLate) if is_alive => {
                self.counters.replans += 1;
                let delay = self.rng.range(1, MS);
                self.after(delay, Event::Work { host, run, jobs });
            }
            Some(RowWriteResult::Failed(error)) => {
                self.broken(None, format!("a participant's write failed: {error}"));
            }
            _ => {}
        }
    }

    /// What a write did to a pool, for the journal.
    pub(crate) fn note_pool(&mut self, host: usize, set: &RowSet) {
        if self.trace.is_kept()
            && let Some(what) = written(set)
        {
            let (name, run) = (&self.hosts[host].name, self.hosts[host].run);
            self.trace.note_of((self.now, run), (name, name), None, || what);
        }
    }

    fn answer_all(&mut self, jobs: &[Job], answers: Vec<PhaseAnswer>, read_at: u64) {
        for (job, answer) in jobs.iter().zip(answers) {
            self.reply_of(&job.command, answer, read_at);
        }
    }

    fn count(&mut self, answer: &PhaseAnswer) {
        match answer {
            Err(NotDone::Rejected(_)) => self.counters.rejected += 1,
            Err(NotDone::Refused(Refusal::Undone)) => self.counters.refused_undone += 1,
            Err(NotDone::Refused(Refusal::Expired)) => self.counters.refused_expired += 1,
            Err(NotDone::Refused(Refusal::Executed)) => self.counters.refused_executed += 1,
            Ok(_) | Err(NotDone::Unknown(_)) => {}
        }
    }

    pub(crate) fn reply(&mut self, command: &Command, answer: PhaseAnswer) {
        self.reply_of(command, answer, self.now);
    }

    /// An answer that comes from rows as they were at `read_at`.
    fn reply_of(&mut self, command: &Command, answer: PhaseAnswer, read_at: u64) {
        let (tx, operation, phase) = (command.tx, command.operation, command.phase);
        let kind = match &answer {
            Ok(_) => 0,
            Err(NotDone::Rejected(_)) => 1,
            Err(NotDone::Refused(_)) => 2,
            Err(NotDone::Unknown(_)) => 3,
        };
        self.trace.mark(7, tx.salt() ^ u64::from(operation.0), phase as u64 * 4 + kind);
        let way = (&command.participant, "coordinators");
        let said = || {
            let (answer, reason) = Said::of(&answer);
            What::Reply { operation, phase, answer, reason }
        };
        let run = self.names.get(&command.participant).map_or(0, |host| self.hosts[*host].run);
        self.trace.note_of((self.now, run), way, Some(tx), said);
        self.count(&answer);
        let sight = self.views.get(&tx).and_then(|view| view.operations.get(&operation));
        // In one batch the one may come right before the other.
        let is_undone = sight.and_then(|sight| sight.undone_at).is_some_and(|at| at < read_at);
        let keeps = !self.is_foreign(tx, operation);
        if kind == 0 && is_undone && keeps && !phase.is_backward() && phase != Phase::Status {
            self.broken(Some(tx), "rule 2: a forward repeat was answered done after going back");
        }
        if !command.reply {
            return;
        }
        self.counters.replies += 1;
        let reply = Box::new(command.reply(answer));
        // It is read by whoever drives the shard when it arrives: only then is seen who can.
        let host = self.names.get(&command.participant).map(|host| Node::Host(*host));
        let way = host.and_then(|host| self.way(host, self.driver(command.shard)));
        self.set_off(way, || Event::Reply(reply.clone()));
    }

    /// An answer is durable at its participant.
    pub(crate) fn stored(
        &mut self,
        host: usize,
        scope: Option<&Scope>,
        command: &Command,
        answer: &PhaseAnswer,
    ) {
        let (tx, operation, phase) = (command.tx, command.operation, command.phase);
        if self.hosts[host].is_foreign() {
            // Without an inbox anything may come again and late (rule 13).
            return self.sight((tx, operation), |sight| sight.done.push(phase));
        }
        let view = self.views.get(&tx);
        let sight = view.and_then(|view| view.operations.get(&operation));
        // A stored answer may be repeated in a batch that writes for others.
        let is_no = matches!(answer, Err(NotDone::Rejected(_)));
        let known = sight.is_some_and(|sight| {
            sight.done.contains(&phase) || (is_no && sight.rejected.contains(&phase))
        });
        if !known {
            let is_new = sight.is_none_or(|sight| sight.done.is_empty());
            self.counters.tombstones += u64::from(is_new && phase.is_backward() && answer.is_ok());
            // A handler began under this epoch, and its row may have seen a higher one since.
            let epoch = scope.is_some().then_some(command.epoch);
            let (seen, run) = (false, self.hosts[host].run);
            let kept = || What::Kept { operation, phase, answer: Said::of(answer).0, epoch, seen };
            let name = &self.hosts[host].name;
            self.trace.note_of((self.now, run), (name, name), Some(tx), kept);
        }
        match answer {
            Ok(_) if !known && phase != Phase::Status => {
                let (pattern, one) = (command.pattern, command.one_phase);
                let verdict = check::carried_out(view, operation, phase, pattern, one);
                self.expect(tx, verdict);
                let now = self.now;
                self.sight((tx, operation), |sight| {
                    sight.done.push(phase);
                    if phase.is_backward() {
                        sight.undone_at.get_or_insert(now);
                    }
                });
                if let Some(scope) = scope {
                    self.watch(host, scope.clone(), (tx, operation));
                }
            }
            Err(NotDone::Rejected(_)) if !phase.is_backward() => {
                self.sight((tx, operation), |sight| {
                    if !sight.rejected.contains(&phase) {
                        sight.rejected.push(phase);
                    }
                });
            }
            Err(NotDone::Refused(Refusal::Expired)) if phase == Phase::Validate => {
                self.sight((tx, operation), |sight| sight.rejected.push(phase));
            }
            _ => {}
        }
        if scope.is_some() && !known && is_kept(phase, answer) {
            self.ran(command);
        }
    }

    /// A participant begins what a command asks for.
    pub(crate) fn ran(&mut self, command: &Command) {
        let (tx, epoch) = (command.tx, command.epoch);
        let mut seen = epoch;
        self.sight((tx, command.operation), |sight| {
            seen = sight.epoch;
            sight.epoch = sight.epoch.max(epoch);
        });
        if seen > epoch {
            self.broken(Some(tx), "fencing: a participant ran a command of an old epoch");
        }
    }

    /// The inbox row of an operation.
    pub(crate) fn inbox(&self, scope: &Scope, (tx, operation): OperationKey) -> Option<InboxRow> {
        let read = ScopeRead { scope: scope.clone(), keys: vec![inbox_key(tx, operation)] };
        // What is in the row does not depend on the time.
        let rows = self.store.read(&[read], Timestamp::ZERO).ok()?;
        let stored = rows.into_iter().next()?.rows.into_iter().next()??;
        InboxRow::decode(&stored.value).ok()
    }

    pub(crate) fn scope_of(&self, host: usize, command: &Command) -> Option<Scope> {
        match self.hosts[host].resource.as_deref() {
            Some(resource) => route(resource, command).ok(),
            None => Some(self.hosts[host].inbox_scope.clone()),
        }
    }

    /// Rule taken out: the stored answer of what was taken back.
    fn stored_done(&self, host: usize, command: &Command) -> Option<PhaseAnswer> {
        if command.phase.is_backward() {
            return None;
        }
        let row = self.inbox(&self.scope_of(host, command)?, (command.tx, command.operation))?;
        match row.entry(command.phase) {
            Some(Entry::Done(done)) if row.is_undone() => Some(Ok(done.clone())),
            _ => None,
        }
    }

    /// Rule taken out: whether there is nothing to take back, of which no trace is left.
    fn is_empty_compensation(&self, host: usize, command: &Command) -> bool {
        command.phase.is_backward()
            && self
                .scope_of(host, command)
                .is_some_and(|scope| self.inbox(&scope, (command.tx, command.operation)).is_none())
    }

    /// The keys that decide about a handler's command: its inbox row and the mark of its shard.
    pub(crate) fn handler_keys(command: &Command) -> Vec<dtx_core::store::RowKey> {
        vec![inbox_key(command.tx, command.operation), mark_key(command.shard)]
    }
}

/// Whether a run leaves a trace in the inbox. The no to a delivery does not: it is tried again.
fn is_kept(phase: Phase, answer: &PhaseAnswer) -> bool {
    match answer {
        Ok(_) => true,
        Err(NotDone::Rejected(_)) => phase != Phase::Deliver,
        Err(_) => false,
    }
}
