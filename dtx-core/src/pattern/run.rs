//! Firing the rows of a table: which row applies, and what its acts do.

use crate::{
    ids::OperationIndex,
    mutant,
    pattern::{
        Pattern, Phase,
        machine::{Effect, Machine, UndefinedTransition},
        progress::{Mark, Undo},
        table::{Act, On, Row, State, Table, When},
    },
    store::{Outcome, RecordKind, Verdict},
    transaction::{StepKind, Transaction},
};

/// A row that fired, for tests of coverage.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired {
    /// Its place in the table.
    pub row: usize,
    /// The state in which it fired.
    pub from: State,
    /// The trigger.
    pub on: On,
}

/// What a row is tried with: the operation that the event is about, if any.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) operation: OperationIndex,
    pub(super) phase: Phase,
}

/// One firing of rows.
pub(super) struct Run<'a> {
    pub(super) machine: &'a mut Machine,
    pub(super) table: &'a Table<'a>,
    pub(super) transaction: &'a Transaction,
    pub(super) about: Option<About>,
    pub(super) effects: &'a mut Vec<Effect>,
    pub(super) fired: &'a mut dyn FnMut(Fired),
}

impl<'a> Run<'a> {
    /// Fires the row of a trigger, and the rows of the states that are entered by that.
    pub(super) fn fire(&mut self, on: On) -> Result<(), UndefinedTransition> {
        let row = self.find(on).ok_or(UndefinedTransition {
            table: self.table.name,
            state: self.machine.state,
            on,
        })?;
        self.take(row, on);
        // A state that was just entered may have something to do at once. The chain is short:
        // no table enters a state twice this way.
        let mut entered = row.1.to.is_some();
        while entered {
            let Some(row) = self.find(On::Entered) else { break };
            self.take(row, On::Entered);
            entered = row.1.to.is_some();
        }
        Ok(())
    }

    /// The first row that applies, with its place in the table.
    fn find(&self, on: On) -> Option<(usize, &'a Row)> {
        let state = self.machine.state;
        let applies =
            |row: &Row| row.from.contains(&state) && row.on.contains(&on) && self.holds(row.when);
        self.table.rows.iter().enumerate().find(|(_, row)| applies(row))
    }

    fn take(&mut self, (place, row): (usize, &Row), on: On) {
        (self.fired)(Fired { row: place, from: self.machine.state, on });
        if let Some(to) = row.to {
            self.machine.state = to;
        }
        for act in row.acts {
            self.act(*act);
        }
    }

    fn holds(&self, when: When) -> bool {
        let machine = &*self.machine;
        match when {
            When::Always => true,
            When::All(phase) => {
                let missing =
                    self.having(phase).filter(|index| !machine.operations[*index].has_done(phase));
                missing.count() <= usize::from(mutant!(GateOneMissing))
            }
            When::AllUndone => (0..machine.operations.len())
                .all(|i| !self.must_undo(i) || machine.operations[i].undo == Undo::Done),
            When::GateShut => !machine.gate_open && self.transaction.has_gate(),
            When::PivotNext => !machine.point_of_no_return && self.pivot_is_next(),
            When::Undecided => machine.is_undecided(),
            When::PivotSaidNo => self.about.is_some_and(|about| {
                self.transaction.operation(about.operation).step() == StepKind::Pivot
            }),
            When::ValidationSaidNo => {
                self.about.is_some_and(|about| about.phase == Phase::Validate)
            }
            When::Alone => machine.operations.len() == 1 && !self.transaction.has_gate(),
        }
    }

    /// The operations that have a phase: in 1.5PS the critical ones are executed and the others
    /// delivered; elsewhere all have all phases.
    fn having(&self, phase: Phase) -> impl Iterator<Item = usize> {
        (0..self.machine.operations.len()).filter(move |index| self.has(*index, phase))
    }

    fn has(&self, index: usize, phase: Phase) -> bool {
        self.transaction.pattern() != Pattern::CriticalEventual
            || self.transaction.operations()[index].consistency().is_critical()
                != (phase == Phase::Deliver)
    }

    fn pivot_is_next(&self) -> bool {
        self.transaction.operations().iter().enumerate().any(|(index, operation)| {
            operation.step() == StepKind::Pivot && self.is_ready(index, Phase::Execute)
        })
    }

    /// Whether an operation can be asked for a phase that it was not asked for yet.
    fn is_ready(&self, index: usize, phase: Phase) -> bool {
        let progress = &self.machine.operations[index];
        if progress.phase.is_some_and(|asked| asked >= phase) {
            return false;
        }
        // A one-phase commit has nothing before it (rule 4).
        if self.machine.state != State::Delegating
            && let Some(before) = self.table.before(phase)
            && !progress.has_done(before)
        {
            return false;
        }
        if phase == Phase::Commit && progress.read_only {
            return false;
        }
        // Dependencies order the executions; whatever comes before them takes nothing from them.
        phase != Phase::Execute
            || self.transaction.operations()[index]
                .depends_on()
                .iter()
                .all(|on| self.machine.operations[on.get()].has_done(Phase::Execute))
    }

    /// Rule 3: everything goes back, sent or not, but what its handler itself rejected first.
    fn must_undo(&self, index: usize) -> bool {
        let operation = &self.transaction.operations()[index];
        let reversible =
            operation.step() == StepKind::Compensatable && operation.consistency().is_critical();
        let progress = &self.machine.operations[index];
        let is_lost = mutant!(UnansweredNotTakenBack) && progress.mark == Mark::Lost;
        let is_unsent = mutant!(UnsentNotTakenBack) && progress.phase.is_none();
        reversible && !progress.untouched && !is_lost && !is_unsent
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Ask(phase) => self.ask(phase),
            Act::AskAgain => self.ask_again(),
            Act::Undo => self.undo(),
            Act::Decide(verdict) => self.decide(verdict),
            Act::Record(kind) => {
                self.effects.push(Effect::Record { kind, verdict: None, lazy: false, last: None });
            }
            Act::OpenGate => self.effects.push(Effect::OpenGate),
            Act::Tell(outcome) => self.effects.push(Effect::Tell(outcome)),
            Act::TellReversed => {
                let outcome = self.outcome(Verdict::Turned);
                self.effects.push(Effect::Tell(outcome));
            }
            Act::FinishAwaited => self.finish(mutant!(FinishLazy)),
            Act::FinishLazily => self.finish(true),
            Act::DeadLetter => {
                if let Some(about) = self.about {
                    self.effects.push(Effect::DeadLetter(about.operation));
                }
            }
            Act::Attention => self.attention(false),
            Act::Except => self.attention(true),
            Act::Close => self.effects.push(Effect::Close),
        }
    }

    fn ask(&mut self, phase: Phase) {
        for index in 0..self.machine.operations.len() {
            if !self.has(index, phase) || !self.is_ready(index, phase) {
                continue;
            }
            let progress = &mut self.machine.operations[index];
            let one_phase = phase == Phase::Commit && progress.phase.is_none();
            progress.phase = Some(phase);
            progress.mark = Mark::Asked;
            let operation = OperationIndex(index as u16);
            self.effects.push(Effect::Send { operation, phase, one_phase });
        }
    }

    fn ask_again(&mut self) {
        let Some(About { operation, phase }) = self.about else { return };
        self.machine.operations[operation.get()].mark = Mark::Asked;
        let one_phase = self.machine.state == State::Delegating;
        self.effects.push(Effect::Send { operation, phase, one_phase });
    }

    fn decide(&mut self, verdict: Verdict) {
        if verdict.is_backward() {
            self.machine.going_back = true;
        }
        // After `Completed` nothing is left but in 1.5PS, whose eventual part begins then.
        let last = (verdict == Verdict::Completed && self.machine.state == State::Completed)
            .then_some(Outcome::Committed);
        let kind = RecordKind::Verdict;
        let lazy = mutant!(VerdictLazy);
        self.effects.push(Effect::Record { kind, verdict: Some(verdict), lazy, last });
        if mutant!(ToldBeforeDurable) && !verdict.is_backward() {
            self.effects.push(Effect::Tell(Outcome::Committed));
        }
        if mutant!(BackwardBeforeVerdict) && verdict.is_backward() {
            self.undo();
        }
    }

    fn outcome(&self, verdict: Verdict) -> Outcome {
        match verdict {
            Verdict::Completed if self.table.first() == Phase::Deliver => Outcome::Dispatched,
            Verdict::Completed | Verdict::Commit => Outcome::Committed,
            Verdict::Turned if self.machine.reversed => Outcome::Compensated,
            Verdict::Turned | Verdict::Abort => Outcome::Aborted,
        }
    }

    fn finish(&mut self, lazy: bool) {
        // A one-phase commit has no verdict of its own: the end carries what was answered.
        let verdict = match (self.machine.verdict, self.machine.state) {
            (Some(verdict), _) => verdict,
            (None, State::Completed) => Verdict::Commit,
            (None, _) => Verdict::Abort,
        };
        let last = Some(self.outcome(verdict));
        let kind = RecordKind::Finished;
        self.effects.push(Effect::Record { kind, verdict: Some(verdict), lazy, last });
    }

    /// Asks every operation whose dependents are all taken back, in reverse topological order.
    fn undo(&mut self) {
        let count = self.machine.operations.len();
        let mut held = vec![false; count];
        for (index, operation) in self.transaction.operations().iter().enumerate() {
            if self.must_undo(index)
                && self.machine.operations[index].undo != Undo::Done
                && !mutant!(UndoneInAnyOrder)
            {
                for on in operation.depends_on() {
                    held[on.get()] = true;
                }
            }
        }
        for (index, held) in held.into_iter().enumerate() {
            if held || !self.must_undo(index) || self.machine.operations[index].undo != Undo::Open {
                continue;
            }
            let phase = self.undo_phase(index);
            self.machine.operations[index].undo = Undo::Asked(phase);
            let operation = OperationIndex(index as u16);
            self.effects.push(Effect::Send { operation, phase, one_phase: false });
        }
    }

    fn undo_phase(&self, index: usize) -> Phase {
        let progress = &self.machine.operations[index];
        let maybe_executed = progress.executed || progress.phase == Some(Phase::Execute);
        match (self.table.drop, self.table.reverse) {
            (Some(_), Some(reverse)) if maybe_executed && !mutant!(ExecutedCancelled) => reverse,
            (Some(drop), _) => drop,
            (None, reverse) => reverse.unwrap_or(Phase::Compensate),
        }
    }

    fn attention(&mut self, exception: bool) {
        if let Some(About { operation, phase }) = self.about {
            if exception {
                // It is still asked for: an operator tries again, or counts it as done.
                self.machine.operations[operation.get()].mark = Mark::Asked;
            }
            self.effects.push(Effect::Attention { operation, phase, exception });
        }
    }
}
