//! What must hold of every command and every outcome.

use dtx_core::{
    ids::OperationIndex,
    pattern::{Heard, Phase, table::State},
    store::{Outcome, RecordKind, Verdict},
    transaction::{Operation, StepKind},
};

use super::{Checked, Command, World, must, participant::Participant};

impl World<'_> {
    fn operation(&self, index: OperationIndex) -> &Operation {
        self.case.transaction.operation(index)
    }

    fn operations(&self) -> impl Iterator<Item = (OperationIndex, &Operation, &Participant)> {
        let operations = self.case.transaction.operations().iter();
        operations
            .zip(&self.participants)
            .enumerate()
            .map(|(index, (operation, row))| (OperationIndex(index as u16), operation, row))
    }

    pub(super) fn may_go(&self, command: Command) -> Checked {
        let Command { operation, phase, one_phase } = command;
        let back = |verdict: Option<Verdict>| verdict.is_some_and(Verdict::is_backward);
        let turning = back(self.verdict) || self.memory.awaited.is_some_and(|r| back(r.verdict));
        must(!turning, "it goes forward after it turned")?;
        let all_said = |phase| self.participants.iter().all(|p| p.said_done(phase));
        match (self.table.name, phase) {
            ("3ps", Phase::Execute) => {
                must(self.verdict == Some(Verdict::Commit), "executed before Commit")?;
                must(all_said(Phase::Validate), "executed although not all are validated")?;
            }
            ("2ps", Phase::Execute) => must(all_said(Phase::Prepare), "not all are prepared")?,
            ("2pc", Phase::Commit) if one_phase => {
                must(self.point == Some(RecordKind::Delegated), "rule 4: before Delegated")?;
            }
            ("2pc", Phase::Commit) => {
                must(self.verdict == Some(Verdict::Commit), "committed before Commit")?;
                must(!self.memory.read_only.contains(&operation), "a read-only one commits")?;
                must(all_said(Phase::Prepare), "committed although not all are prepared")?;
            }
            (_, Phase::Deliver) => {
                must(self.verdict == Some(Verdict::Completed), "delivered before Completed")?;
            }
            _ => {}
        }
        if phase == Phase::Execute {
            let done = |on: &OperationIndex| {
                self.participants[on.get()].said_done(phase) || self.participants[on.get()].skipped
            };
            let ready = self.operation(operation).depends_on().iter().all(done);
            must(ready, "executed before what it depends on")?;
            let is_pivot = self.operation(operation).step() == StepKind::Pivot;
            let sent = self.point == Some(RecordKind::PivotSent);
            must(!is_pivot || sent, "rule 4: the pivot left before PivotSent")?;
        }
        Ok(())
    }

    fn is_reversible(operation: &Operation) -> bool {
        operation.step() == StepKind::Compensatable && operation.consistency().is_critical()
    }

    pub(super) fn may_go_back(&self, command: Command) -> Checked {
        let durable = self.verdict.is_some_and(Verdict::is_backward);
        must(durable, "rule 2: it goes back before the verdict is durable")?;
        let index = command.operation;
        let reversible = Self::is_reversible(self.operation(index));
        must(reversible, "rule 4: what cannot be compensated goes back")?;
        must(!self.memory.rejected.contains(&index), "rule 3: a rejected one is addressed")?;
        let later = self.operations().filter(|(_, o, _)| o.depends_on().contains(&index));
        for (dependent, operation, _) in later {
            let over = !Self::is_reversible(operation)
                || self.memory.rejected.contains(&dependent)
                || self.memory.undone.contains(&dependent);
            must(over, "rule 3: it goes back before what depends on it")?;
        }
        let pivot = self.operations().find(|(_, o, _)| o.step() == StepKind::Pivot);
        let pivot_done = pivot.is_some_and(|(_, _, row)| row.said_done(Phase::Execute));
        must(!pivot_done, "rule 4: it goes back after its pivot")
    }

    pub(super) fn tell(&mut self, outcome: Outcome) -> Checked {
        let told = *self.told.get_or_insert(outcome);
        must(told == outcome, "another outcome than was told before")?;
        let delegated = self.verdict.is_none() && self.point == Some(RecordKind::Delegated);
        let done = self.participants[0].said_done(Phase::Commit);
        let reversed = self.participants.iter().any(|p| p.reversed);
        let fixed = match (outcome, self.verdict) {
            (Outcome::Dispatched, Some(Verdict::Completed)) => self.table.name == "0.5ps",
            (Outcome::Committed, Some(Verdict::Completed)) => self.table.name != "0.5ps",
            (Outcome::Committed, Some(Verdict::Commit)) => true,
            (Outcome::Committed, None) => delegated && done,
            (Outcome::Aborted, Some(Verdict::Abort)) => true,
            (Outcome::Aborted, Some(Verdict::Turned)) => self.finished && !reversed,
            (Outcome::Aborted, None) => {
                delegated && !done && self.participants[0].answers.contains_key(&Phase::Commit)
            }
            (Outcome::Compensated, Some(Verdict::Turned)) => self.finished && reversed,
            _ => false,
        };
        must(fixed, "rule 1: told before a record fixes it")
    }

    /// It has ended. What is still on the network arrives, and nothing must come of it.
    pub(super) fn end(&mut self) -> Checked<Outcome> {
        for late in std::mem::take(&mut self.network) {
            let row = &mut self.participants[late.operation.get()];
            row.take(self.table, late.phase, late.one_phase);
        }
        let outcome = self.told.ok_or("it ended without an outcome")?;
        let committed = matches!(outcome, Outcome::Committed | Outcome::Dispatched);
        let state = self.machine.state();
        let expected = if committed { State::Completed } else { State::Failed };
        must(state == expected || state == State::Initial, "it ended in another state")?;
        let delegated = self.point == Some(RecordKind::Delegated);
        for (index, operation, row) in self.operations() {
            let rejected =
                matches!(row.answers.get(&self.table.first()), Some(Heard::Rejected { .. }));
            if committed {
                let left_out = self.table.name == "2pc" && row.fate.read_only;
                let excused = row.skipped || left_out || self.dead.contains(&index);
                must(row.executed || excused, "committed, and one has not happened")?;
            } else {
                must(!row.executed, "not committed, and one has happened")?;
                let addressed = row.undone || rejected || delegated;
                let must_be = Self::is_reversible(operation);
                must(addressed || !must_be, "rule 3: one was not addressed")?;
            }
        }
        Ok(outcome)
    }
}
