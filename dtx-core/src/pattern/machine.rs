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
    mutant,
    pattern::{
        Pattern, Phase,
        progress::{Mark, Progress, Undo},
        run::{About, Fired, Run},
        table::{On, State, Table},
        tables,
    },
    store::{Outcome, RecordKind, Verdict},
    transaction::Transaction,
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
    pub(super) operations: Box<[Progress]>,
    /// The verdict that is durable.
    pub(super) verdict: Option<Verdict>,
    /// `PivotSent` or `Delegated` is durable.
    pub(super) point_of_no_return: bool,
    pub(super) going_back: bool,
    pub(super) gate_open: bool,
    pub(super) reversed: bool,
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

    /// What there is beside the operations, for searches that compare machines.
    pub(crate) fn whole(&self) -> impl Hash {
        let flags = [self.point_of_no_return, self.going_back, self.gate_open, self.reversed];
        (self.state, self.verdict, flags)
    }

    /// Whether a deadline or a caller can still turn it.
    pub fn is_undecided(&self) -> bool {
        let is_fixed = self.point_of_no_return && !mutant!(PivotUndecided);
        self.verdict.is_none() && !is_fixed && !self.going_back
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
        self.advance_by(tables::of(transaction), transaction, event, effects, &mut |_| ())
    }

    /// [`Self::advance`] by another table, for tests that take rows out. Every row that fires is
    /// shown to `fired`.
    #[doc(hidden)]
    pub fn advance_by(
        &mut self,
        table: &Table<'_>,
        transaction: &Transaction,
        event: Event,
        effects: &mut Vec<Effect>,
        fired: &mut dyn FnMut(Fired),
    ) -> Result<(), UndefinedTransition> {
        let before = self.saved(event);
        let Some((on, about)) = self.classify(table, transaction, event) else {
            return Ok(());
        };
        let mut run = Run { machine: self, table, transaction, about, effects, fired };
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
        table: &Table<'_>,
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
        table: &Table<'_>,
        operation: OperationIndex,
        phase: Phase,
        heard: Heard,
    ) -> Option<On> {
        let first = table.first() == phase;
        let can_reverse = table.reverse.is_some();
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
                Heard::Refused(Refusal::Executed) if can_reverse && phase != Phase::Compensate => {
                    if mutant!(ExecutedIsCancelled) {
                        progress.undo = Undo::Done;
                        return Some(On::Undone);
                    }
                    progress.undo = Undo::Open;
                    progress.executed = true;
                    Some(On::WasExecuted)
                }
                // Executed although nothing ever reverses it: only an operator can know why.
                Heard::Refused(Refusal::Executed) => Some(On::CannotUndo),
                // A no to going back settles nothing (rule 3): it is sent again, or given up.
                Heard::Refused(_) | Heard::Rejected { .. } => None,
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
                progress.untouched = (kept || mutant!(UnkeptNoTrusted)) && first;
                Some(On::No)
            }
            Heard::Refused(_) => {
                progress.untouched = first && mutant!(RefusedIsRejected);
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
    fn assume_ready_for_the_last_phase(&mut self, table: &Table<'_>, transaction: &Transaction) {
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
