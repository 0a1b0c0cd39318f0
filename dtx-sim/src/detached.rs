//! Users' handlers: their effect lies outside of the inbox row's write, so a claim is written
//! first, then the effect happens, then the answer is written, and a crash may come in between.
//! The system that they drive remembers idempotency keys, as the docs ask for.

use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer, rejected},
    ids::{HolderId, mix},
    pattern::{Pattern, Phase},
    resource::barrier::{
        Claim, ClaimContext, Entry, InboxRow, claim, finish, forgotten_below, stamp,
    },
    store::{RowChange, RowExpect, RowSet, RowWriteResult, ScopeRead, ScopeRows},
    transaction::StepKind,
    transport::Command,
};

use crate::{
    draw::Draw,
    event::Event,
    history::What,
    host::Job,
    mutation::Mutation,
    rng::Rng,
    swarm::{MS, SECOND},
    world::World,
};

/// What a user's own system holds of one operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct External {
    pub(crate) executed: u32,
    pub(crate) reversed: u32,
    /// How often it was asked.
    tries: u32,
}

/// A handler on its way.
#[derive(Debug)]
pub(crate) struct Run {
    host: usize,
    /// The instance that runs it; gone when the participant has been started anew.
    instance: HolderId,
    job: Job,
    answer: Option<PhaseAnswer>,
}

impl World {
    fn handler_rows(&self, host: usize, command: &Command) -> ScopeRows {
        let scope = self.hosts[host].inbox_scope.clone();
        let read = ScopeRead { scope, keys: Self::handler_keys(command) };
        let rows = self.store.read(&[read], self.host_now(host)).expect("the keys are valid");
        rows.into_iter().next().expect("one answer per scope")
    }

    fn is_live(&self, host: usize, instance: HolderId) -> bool {
        self.hosts[host].is_up && self.hosts[host].instances.contains(&instance)
    }

    /// A command reaches one of the instances of a handler.
    pub(crate) fn begin_handler(&mut self, host: usize, job: Job) {
        if self.hosts[host].is_foreign() {
            return self.foreign(host, &job.command);
        }
        let instance = *self.rng.pick(&self.hosts[host].instances);
        let rows = self.handler_rows(host, &job.command);
        let expect =
            rows.rows[0].as_ref().map_or(RowExpect::Absent, |r| RowExpect::Version(r.version));
        let row = rows.rows[0].as_ref().and_then(|row| InboxRow::decode(&row.value).ok());
        let mark = forgotten_below(rows.rows[1].as_ref().map(|row| row.value.as_ref()));
        let takes_over = self.is_mutant(Mutation::ClaimTakenOver);
        let ended = |holder: HolderId| takes_over || !self.is_live(host, holder);
        let context = ClaimContext {
            host: instance,
            ended: &ended,
            forgotten_below: mark.unwrap_or_default(),
            now: rows.now,
        };
        match claim(row.as_ref(), &context, &job.command) {
            Claim::Answer { row, answer } => {
                if let Some(row) = row {
                    if !self.put_row(host, &job.command, expect, &row) {
                        return;
                    }
                    self.stored(host, None, &job.command, &answer);
                }
                self.reply(&job.command, answer);
            }
            Claim::Ask { forward } => {
                let answer = match forward {
                    Some(_) => Ok(Done::default()),
                    None => Err(NotDone::unknown("nothing was carried out")),
                };
                self.reply(&job.command, answer);
            }
            Claim::Run { row, .. } => {
                if self.put_row(host, &job.command, expect, &row) {
                    self.ran(&job.command);
                    let slow = self.swarm.slow > 0 && self.rng.chance(200);
                    let most = if slow { 2 * SECOND } else { 5 * MS };
                    let delay = self.rng.range(1, most);
                    let run = Run { host, instance, job, answer: None };
                    self.after(delay, Event::Effect(Box::new(run)));
                }
            }
        }
    }

    fn put_row(
        &mut self,
        host: usize,
        command: &Command,
        expect: RowExpect,
        row: &InboxRow,
    ) -> bool {
        let key = Self::handler_keys(command).swap_remove(0);
        let change = RowChange { key, expect, value: Some(row.encode()) };
        let set = RowSet {
            scope: self.hosts[host].inbox_scope.clone(),
            changes: vec![change],
            unchanged: Vec::new(),
            not_after: None,
        };
        let now = self.host_now(host);
        let written = self.store.write(&[set], now).pop();
        if let Some(recall) = row.recall() {
            let key = (command.tx, command.operation);
            let scope = self.hosts[host].inbox_scope.clone();
            self.hosts[host].pinned.insert(key, (scope, recall.ask_at));
            self.asks(host);
        }
        matches!(written, Some(RowWriteResult::Written))
    }

    /// The handler does its work in the user's own system.
    pub(crate) fn effect(&mut self, mut run: Run) {
        if !self.is_live(run.host, run.instance) {
            return;
        }
        let answer = self.handle(run.host, &run.job.command);
        run.answer = Some(answer);
        let delay = self.rng.range(1, 3 * MS);
        self.after(delay, Event::Finish(Box::new(run)));
    }

    /// The handler's answer is stored and then leaves.
    pub(crate) fn finish_run(&mut self, run: Run) {
        let Run { host, instance, job, answer } = run;
        let Some(answer) = answer.filter(|_| self.is_live(host, instance)) else { return };
        let rows = self.handler_rows(host, &job.command);
        let Some(stored) = rows.rows.into_iter().next().flatten() else { return };
        let Ok(row) = InboxRow::decode(&stored.value) else { return };
        let own = matches!(row.entry(job.command.phase),
            Some(Entry::Started { host, .. }) if *host == instance);
        if !own {
            return;
        }
        let answer = stamp(&row, &job.command, answer);
        let row = finish(row, &job.command, &answer);
        let expect = RowExpect::Version(stored.version);
        if self.put_row(host, &job.command, expect, &row) {
            self.stored(host, None, &job.command, &answer);
            self.reply(&job.command, answer);
        }
    }

    /// A participant without an inbox answers at once and remembers nothing.
    fn foreign(&mut self, host: usize, command: &Command) {
        let answer = self.handle(host, command);
        self.stored(host, None, command, &answer);
        self.reply(command, answer);
    }

    /// What the user's handler does and says.
    fn handle(&mut self, host: usize, command: &Command) -> PhaseAnswer {
        if self.own.contains_key(&host) {
            return self.handle_own(host, command);
        }
        let key = (host, (command.tx, command.operation));
        let external = self.external.entry(key).or_default();
        external.tries += 1;
        let tries = external.tries;
        let own = mix(command.tx.salt() ^ mix(u64::from(command.operation.0)));
        let of_phase = mix(own ^ command.phase as u64);
        let may_refuse = self.may_refuse(command);
        let is_foreign = self.hosts[host].is_foreign();
        // Without an inbox nobody remembers a no, so the next try may end otherwise.
        let no = if is_foreign { mix(of_phase ^ u64::from(tries)) } else { of_phase };
        let chance = if may_refuse { self.swarm.refusals } else { self.broken_promise(command) };
        if no % 1_000 < u64::from(chance) {
            return rejected("the handler says no");
        }
        let unknown = !self.is_healed() && self.rng.chance(self.swarm.unknowns);
        if unknown && self.rng.chance(500) {
            return Err(NotDone::unknown("the handler failed before its effect"));
        }
        let external = self.external.entry(key).or_default();
        let before = (external.executed, external.reversed);
        match command.phase {
            // The user's system knows the idempotency key.
            Phase::Execute | Phase::Commit | Phase::Deliver => external.executed = 1,
            Phase::Compensate => external.reversed = external.executed,
            _ => {}
        }
        let after = (external.executed, external.reversed);
        if after != before && !is_foreign {
            let (operation, reversal) = (command.operation, after.1 != before.1);
            let (name, run) = (&self.hosts[host].name, self.hosts[host].run);
            let what = || What::Effect { operation, reversal };
            self.trace.note_of((self.now, run), (name, name), Some(command.tx), what);
        }
        if unknown {
            return Err(NotDone::unknown("the handler failed after its effect"));
        }
        let reversed = command.phase == Phase::Compensate && after.1 > 0;
        Ok(Done { reversed, ..Done::default() })
    }

    /// A user's participant is asked; twice when its repeats are to be tried, as after a crash
    /// between its effect and its answer.
    fn handle_own(&mut self, host: usize, command: &Command) -> PhaseAnswer {
        let Some(own) = self.own.get_mut(&host) else {
            return Err(NotDone::unknown("there is no such participant"));
        };
        let mut draw = Draw(Rng::new(self.rng.next(), 4));
        let mut answer = own.handle(command, &mut draw);
        if self.twice {
            answer = own.handle(command, &mut draw);
        }
        self.check_own();
        answer
    }

    /// Whether design section 3 allows a no in this phase.
    fn may_refuse(&self, command: &Command) -> bool {
        let retriable = self.views.get(&command.tx).is_some_and(|view| {
            view.transaction.operation(command.operation).step() == StepKind::Retriable
        });
        let gated = self
            .views
            .get(&command.tx)
            .is_some_and(|v| v.transaction.gate() == dtx_core::transaction::Gate::AllValidated);
        match (command.pattern, command.phase) {
            (_, Phase::Prepare | Phase::Reserve | Phase::Validate) => true,
            (Pattern::TwoPhaseCommit, Phase::Commit) => command.one_phase,
            (Pattern::ThreePhaseSaga, Phase::Execute) => !gated,
            (_, Phase::Execute) => !retriable,
            _ => false,
        }
    }

    /// How often a handler says no although it has promised, or may not say no at all.
    fn broken_promise(&self, command: &Command) -> u32 {
        let last = matches!(command.phase, Phase::Execute | Phase::Commit);
        if last { self.swarm.broken_promises } else { 0 }
    }
}
