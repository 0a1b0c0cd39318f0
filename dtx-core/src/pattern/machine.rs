//! The machine that runs a table.
//!
//! It holds how far each operation is, turns events into triggers, and moves only by finding a
//! row in the table of its pattern. It never reads a clock, never draws a number and never waits:
//! whoever drives it brings the events and carries the effects out.

use std::hash::Hash;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    answer::Refusal,
    ids::OperationIndex,
    pattern::{
        Pattern, Phase,
        progress::{Mark, Progress, Undo},
        table::{Act, On, Row, State, Table, When},
        tables,
    },
    store::{Outcome, RecordKind, Verdict},
    transaction::{StepKind, Transaction},
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The accept is durable, or an undecided transaction is taken up again.
    Start,
    /// A transaction is taken up that is decided.
    Resume(Verdict),
    /// A transaction is taken up whose `PivotSent` or `Delegated` is durable.
    ResumeAfter(RecordKind),
    /// A participant answered.
    Answer {
        /// Which operation.
        operation: OperationIndex,
        /// Which phase.
        phase: Phase,
        /// What.
        heard: Heard,
    },
    /// Retries are spent or the time of the phase is over; what happened is unknown.
    GaveUp {
        /// Which operation.
        operation: OperationIndex,
        /// Which phase.
        phase: Phase,
    },
    /// A record that is not a verdict is durable.
    Recorded(RecordKind),
    /// A verdict is durable: the one that was asked for, or one that was found.
    Decided(Verdict),
    /// The deadline of the transaction has passed.
    Overdue,
    /// A caller wants it to go back.
    Cancelled,
    /// The last gate opens.
    GateOpened,
    /// The last gate stays shut for ever.
    GateRefused,
}

/// An answer as the machine needs it. `Unknown` never gets here: it is sent again or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is done.
    Done {
        /// 2PC: nothing was changed, leave it out of phase two.
        read_only: bool,
        /// Compensation: an effect was there and is reversed.
        reversed: bool,
    },
    /// The handler's own no.
    Rejected {
        /// Whether an inbox keeps the no, so that nothing can come after it (rule 13).
        kept: bool,
    },
    /// The barrier's no.
    Refused(Refusal),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a command.
    Send {
        /// Which operation.
        operation: OperationIndex,
        /// Which phase.
        phase: Phase,
        /// 2PC: without a prepare.
        one_phase: bool,
    },
    /// Write a record. While it is awaited nothing else happens to the transaction.
    Record {
        /// Which.
        kind: RecordKind,
        /// The verdict that it carries.
        verdict: Option<Verdict>,
        /// Whether nobody waits for it.
        lazy: bool,
        /// The outcome, if nothing is left to do once the record is durable.
        last: Option<Outcome>,
    },
    /// Find out whether the last gate opens.
    OpenGate,
    /// Tell the outcome.
    Tell(Outcome),
    /// Count the operation as a dead letter.
    DeadLetter(OperationIndex),
    /// Wait for an operator.
    Attention {
        /// Because of which operation.
        operation: OperationIndex,
        /// In which phase.
        phase: Phase,
        /// Whether a no came after the decision (rule 11).
        exception: bool,
    },
    /// The transaction leaves the memory.
    Close,
}

/// There is no row for this. The machine did not move.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{table} has no row for {on:?} in {state}")]
pub struct UndefinedTransition {
    /// The table.
    pub table: &'static str,
    /// The state.
    pub state: State,
    /// The trigger.
    pub on: On,
}

/// What one step gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The machine after it.
    pub next: Machine,
    /// What is to be done, in this order.
    pub effects: Vec<Effect>,
}

/// Takes one step. Pure: the same input gives the same output.
///
/// # Errors
/// [`UndefinedTransition`] when the table has no row. A duplicate is no error: it has no effects.
pub fn step(
    transaction: &Transaction,
    machine: &Machine,
    event: Event,
) -> Result<Step, UndefinedTransition> {
    let mut next = machine.clone();
    let mut effects = Vec::new();
    next.advance(transaction, event, &mut effects)?;
    Ok(Step { next, effects })
}

/// The state of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Machine {
    pub(super) state: State,
    operations: Box<[Progress]>,
    /// The verdict that is durable.
    verdict: Option<Verdict>,
    /// `PivotSent` or `Delegated` is durable.
    point_of_no_return: bool,
    going_back: bool,
    gate_open: bool,
    reversed: bool,
}

/// The part of a machine that an event may change before a row is found.
struct Saved {
    touched: Option<(OperationIndex, Progress)>,
    all: Option<Box<[Progress]>>,
    verdict: Option<Verdict>,
    point_of_no_return: bool,
    going_back: bool,
    gate_open: bool,
    reversed: bool,
}

/// What a row is tried with: the operation that the event is about, if any.
#[derive(Clone, Copy, Debug)]
struct About {
    operation: OperationIndex,
    phase: Phase,
}

impl Machine {
    /// A machine in `Initial`.
    pub fn new(transaction: &Transaction) -> Self {
        Self {
            state: State::Initial,
            operations: vec![Progress::default(); transaction.operations().len()].into(),
            verdict: None,
            point_of_no_return: false,
            going_back: false,
            gate_open: false,
            reversed: false,
        }
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// How far an operation is.
    pub fn progress(&self, operation: OperationIndex) -> &Progress {
        &self.operations[operation.get()]
    }

    /// The verdict that is durable.
    pub fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// Whether a deadline or a caller can still turn it.
    pub fn is_undecided(&self) -> bool {
        self.verdict.is_none() && !self.point_of_no_return && !self.going_back
    }

    /// Takes one step in place. On an error nothing has changed.
    ///
    /// # Errors
    /// [`UndefinedTransition`] when the table has no row.
    pub fn advance(
        &mut self,
        transaction: &Transaction,
        event: Event,
        effects: &mut Vec<Effect>,
    ) -> Result<(), UndefinedTransition> {
        self.advance_by(tables::of(transaction), transaction, event, effects)
    }

    /// [`Self::advance`] by another table, for tests that take rows out.
    #[doc(hidden)]
    pub fn advance_by(
        &mut self,
        table: &Table,
        transaction: &Transaction,
        event: Event,
        effects: &mut Vec<Effect>,
    ) -> Result<(), UndefinedTransition> {
        let before = self.saved(event);
        let Some((on, about)) = self.classify(table, transaction, event) else {
            return Ok(());
        };
        let mut run = Run { machine: self, table, transaction, about, effects };
        run.fire(on).inspect_err(|_| self.restore(before))
    }

    /// What an event may change before its row is looked up, so that an undefined one leaves
    /// nothing behind.
    fn saved(&self, event: Event) -> Saved {
        let touched = match event {
            Event::Answer { operation, .. } | Event::GaveUp { operation, .. } => {
                self.operations.get(operation.get()).map(|progress| (operation, *progress))
            }
            _ => None,
        };
        let all = matches!(event, Event::Resume(_)).then(|| self.operations.clone());
        let Self { verdict, point_of_no_return, going_back, gate_open, reversed, .. } = *self;
        Saved { touched, all, verdict, point_of_no_return, going_back, gate_open, reversed }
    }

    fn restore(&mut self, saved: Saved) {
        if let Some((operation, progress)) = saved.touched {
            self.operations[operation.get()] = progress;
        }
        if let Some(operations) = saved.all {
            self.operations = operations;
        }
        self.verdict = saved.verdict;
        self.point_of_no_return = saved.point_of_no_return;
        self.going_back = saved.going_back;
        self.gate_open = saved.gate_open;
        self.reversed = saved.reversed;
    }

    /// Notes the event in the progress and names its trigger; `None` for a duplicate or for what
    /// comes too late to matter.
    fn classify(
        &mut self,
        table: &Table,
        transaction: &Transaction,
        event: Event,
    ) -> Option<(On, Option<About>)> {
        let on = match event {
            Event::Start => On::Start,
            Event::Resume(verdict) => {
                self.verdict = Some(verdict);
                self.going_back = verdict.is_backward();
                if self.going_back {
                    On::ResumedBackward
                } else {
                    self.assume_ready_for_the_last_phase(table, transaction);
                    On::ResumedForward
                }
            }
            Event::ResumeAfter(kind) => {
                self.point_of_no_return = true;
                match kind {
                    RecordKind::Delegated => On::ResumedDelegated,
                    _ => On::ResumedPivot,
                }
            }
            Event::Answer { operation, phase, heard } => {
                let about = Some(About { operation, phase });
                return self.hear(table, operation, phase, heard).map(|on| (on, about));
            }
            Event::GaveUp { operation, phase } => {
                let about = Some(About { operation, phase });
                return self.give_up(operation, phase).map(|on| (on, about));
            }
            Event::Recorded(kind) => {
                if matches!(kind, RecordKind::PivotSent | RecordKind::Delegated) {
                    self.point_of_no_return = true;
                }
                On::Recorded(kind)
            }
            Event::Decided(verdict) => {
                if self.verdict.is_some() {
                    return None;
                }
                self.verdict = Some(verdict);
                self.going_back = verdict.is_backward();
                On::Decided(verdict)
            }
            Event::Overdue if self.is_undecided() => On::Overdue,
            Event::Cancelled if self.is_undecided() => On::Cancelled,
            Event::GateOpened if self.is_undecided() && !self.gate_open => {
                self.gate_open = true;
                On::GateOpened
            }
            Event::GateRefused if self.is_undecided() && !self.gate_open => On::GateRefused,
            Event::Overdue | Event::Cancelled | Event::GateOpened | Event::GateRefused => {
                return None;
            }
        };
        Some((on, None))
    }

    fn hear(
        &mut self,
        table: &Table,
        operation: OperationIndex,
        phase: Phase,
        heard: Heard,
    ) -> Option<On> {
        let first = table.first() == phase;
        let progress = self.operations.get_mut(operation.get())?;
        if phase.is_backward() {
            if progress.undo != Undo::Asked(phase) {
                return None;
            }
            return match heard {
                Heard::Done { reversed, .. } => {
                    progress.undo = Undo::Done;
                    self.reversed |= reversed;
                    Some(On::Undone)
                }
                Heard::Refused(Refusal::Executed) if phase != Phase::Compensate => {
                    progress.undo = Undo::Open;
                    progress.executed = true;
                    Some(On::WasExecuted)
                }
                Heard::Refused(_) | Heard::Rejected { .. } => Some(On::CannotUndo),
            };
        }
        if self.going_back || progress.phase != Some(phase) || progress.mark != Mark::Asked {
            return None;
        }
        match heard {
            Heard::Done { read_only, .. } => {
                progress.mark = Mark::Done;
                progress.read_only |= read_only;
                progress.executed |= matches!(phase, Phase::Execute | Phase::Commit);
                Some(On::Done)
            }
            Heard::Rejected { kept } => {
                progress.mark = Mark::No;
                progress.untouched = kept && first;
                Some(On::No)
            }
            Heard::Refused(_) => {
                progress.mark = Mark::No;
                Some(On::No)
            }
        }
    }

    fn give_up(&mut self, operation: OperationIndex, phase: Phase) -> Option<On> {
        let progress = self.operations.get_mut(operation.get())?;
        if phase.is_backward() {
            return (progress.undo == Undo::Asked(phase)).then_some(On::CannotUndo);
        }
        if self.going_back || progress.phase != Some(phase) || progress.mark != Mark::Asked {
            return None;
        }
        progress.mark = Mark::Lost;
        Some(On::Lost)
    }

    /// After a durable forward verdict every operation has done what comes before the last phase.
    fn assume_ready_for_the_last_phase(&mut self, table: &Table, transaction: &Transaction) {
        let last = *table.phases.last().unwrap_or(&Phase::Deliver);
        let reached = if transaction.pattern() == Pattern::CriticalEventual {
            Some(last)
        } else {
            table.before(last)
        };
        for (progress, operation) in self.operations.iter_mut().zip(transaction.operations()) {
            if reached.is_some() && operation.consistency().is_critical() {
                progress.phase = reached;
                progress.mark = Mark::Done;
            }
        }
    }
}

/// One firing of rows.
struct Run<'a> {
    machine: &'a mut Machine,
    table: &'a Table,
    transaction: &'a Transaction,
    about: Option<About>,
    effects: &'a mut Vec<Effect>,
}

impl Run<'_> {
    fn fire(&mut self, on: On) -> Result<(), UndefinedTransition> {
        let row = self.find(on).ok_or(UndefinedTransition {
            table: self.table.name,
            state: self.machine.state,
            on,
        })?;
        self.take(row);
        // A state that was just entered may have something to do at once. The chain is short:
        // no table enters a state twice this way.
        let mut entered = row.to.is_some();
        while entered {
            let Some(row) = self.find(On::Entered) else { break };
            self.take(row);
            entered = row.to.is_some();
        }
        Ok(())
    }

    fn find(&self, on: On) -> Option<&'static Row> {
        let state = self.machine.state;
        self.table
            .rows
            .iter()
            .find(|row| row.from.contains(&state) && row.on.contains(&on) && self.holds(row.when))
    }

    fn take(&mut self, row: &'static Row) {
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
                self.having(phase).all(|index| machine.operations[index].has_done(phase))
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
    fn having(&self, phase: Phase) -> impl Iterator<Item = usize> + use<'_> {
        let split = self.transaction.pattern() == Pattern::CriticalEventual;
        let delivered = phase == Phase::Deliver;
        self.transaction.operations().iter().enumerate().filter_map(move |(index, operation)| {
            (!split || operation.consistency().is_critical() != delivered).then_some(index)
        })
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
        reversible && !self.machine.operations[index].untouched
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
            Act::FinishAwaited => self.finish(false),
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
        let ready: Vec<usize> =
            self.having(phase).filter(|index| self.is_ready(*index, phase)).collect();
        for index in ready {
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
        self.effects.push(Effect::Record { kind, verdict: Some(verdict), lazy: false, last });
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
            if self.must_undo(index) && self.machine.operations[index].undo != Undo::Done {
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
            (Some(_), Some(reverse)) if maybe_executed => reverse,
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
