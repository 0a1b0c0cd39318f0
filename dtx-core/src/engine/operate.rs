//! One transaction's turn: what operators' moves do.

use bytes::Bytes;
use thin_vec::ThinVec;

use crate::{
    answer::{Done, Reason},
    engine::{
        Signal, StoredState,
        open::{Record, ResumeCount},
        write::Turn,
    },
    ids::OperationIndex,
    mutant,
    pattern::{Event, Heard, Phase},
    store::{JournalEvent, Outcome, RecordKind, Status, Verdict},
};

/// Moves about what is stuck that were made while the transaction had no owner. Whoever takes it
/// up asks for everything anew, and would not know what the operator saw; so they are carried
/// out on the record as the operator read it, and become durable with the resume.
pub(super) fn moves_without_owner(state: &mut StoredState) {
    let heard = usize::from(state.signals_heard).min(state.signals.len());
    let stuck = std::mem::take(&mut state.stuck);
    for entry in &state.signals[heard..] {
        let counts = |operation: OperationIndex, phase: Phase| match &entry.signal {
            Signal::Skip(skipped) => *skipped == operation,
            Signal::ForceCommit => !phase.is_backward(),
            Signal::ForceAbort => phase.is_backward(),
            _ => false,
        };
        for &(operation, phase) in &stuck {
            if counts(operation, phase)
                && state.answers.iter().all(|a| (a.0, a.1) != (operation, phase))
            {
                state.answers.push((operation, phase, Ok(Done::default())));
            }
        }
    }
}

impl Turn<'_, '_> {
    /// The input of an operation: the one of its definition, or the last one that an operator
    /// gave it.
    pub(super) fn input(&self, operation: OperationIndex) -> Bytes {
        let edited = self.open.state.signals.iter().rev().find_map(|entry| match &entry.signal {
            Signal::EditInput { operation: edited, payload } if *edited == operation => {
                Some(payload)
            }
            _ => None,
        });
        edited.unwrap_or_else(|| self.open.transaction.operation(operation).payload()).clone()
    }

    pub(super) fn retry_stuck(&mut self) {
        self.open.status = Status::Open;
        self.open.state.attempts.clear();
        if let Some(resume) = &mut self.open.resume {
            resume.count = ResumeCount::Anew;
            self.open.state.resumes = resume.count.of(self.open.state.resumes);
            self.record(Record::of(RecordKind::Resumed));
            return;
        }
        let stuck = std::mem::take(&mut self.open.state.stuck);
        // So that nobody finds it waiting for an operator who has come already.
        self.record(Record::PROGRESS);
        for (operation, phase) in stuck {
            self.begin(operation, phase, false);
        }
    }

    /// What was stuck with its old input is sent with the new one.
    pub(super) fn retry_edited(&mut self, operation: OperationIndex) {
        let Some(phase) = self.unstick(operation) else { return };
        self.open.state.attempts.retain(|(of, ..)| *of != operation);
        self.record(Record::PROGRESS);
        self.begin(operation, phase, false);
    }

    pub(super) fn skip(&mut self, operation: OperationIndex) {
        if let Some(phase) = self.unstick(operation) {
            self.count_as_done(operation, phase);
        }
    }

    /// Takes the first phase of an operation out of what is stuck.
    fn unstick(&mut self, operation: OperationIndex) -> Option<Phase> {
        let stuck = &mut self.open.state.stuck;
        let at = stuck.iter().position(|(stuck, _)| *stuck == operation)?;
        let (_, phase) = stuck.remove(at);
        if stuck.is_empty() {
            self.open.status = Status::Open;
        }
        Some(phase)
    }

    fn count_as_done(&mut self, operation: OperationIndex, phase: Phase) {
        // Durable before it is acted on, so that a resume does not stop at the same place again.
        self.open.state.answers.push((operation, phase, Ok(Done::default())));
        let heard = Heard::Done { read_only: false, reversed: false };
        self.open.after_progress.push(Event::Answer { operation, phase, heard });
        self.record(Record::PROGRESS);
    }

    /// Forward, as far as that is not against a verdict: what is stuck counts as done, and the
    /// last gate opens.
    pub(super) fn force_commit(&mut self) {
        if self.open.machine.verdict().is_some_and(|verdict| verdict.is_backward()) {
            return;
        }
        self.force(|phase| !phase.is_backward());
        self.check_gate();
    }

    /// Back, as far as that is not against a verdict.
    pub(super) fn force_abort(&mut self) {
        if self.open.machine.is_undecided() {
            self.feed(Event::Cancelled);
        } else {
            self.force(Phase::is_backward);
        }
    }

    fn force(&mut self, counts: impl Fn(Phase) -> bool) {
        let (counted, stuck) =
            std::mem::take(&mut self.open.state.stuck).into_iter().partition(|of| counts(of.1));
        self.open.state.stuck = stuck;
        let counted: ThinVec<(OperationIndex, Phase)> = counted;
        if !counted.is_empty() && self.open.state.stuck.is_empty() {
            self.open.status = Status::Open;
        }
        for (operation, phase) in counted {
            self.count_as_done(operation, phase);
        }
    }

    /// Ends it where it is. An outcome that a verdict has fixed stays, with an exception beside
    /// it: what was told once is never told otherwise.
    ///
    /// While its only participant is asked for the verdict, that may have been told by an earlier
    /// owner; an operator may give it up only once the answer stays out.
    pub(super) fn abandon(&mut self) {
        let is_asked = self.open.state.point_of_no_return == Some(RecordKind::Delegated)
            && self.open.machine.verdict().is_none()
            && self.open.status != Status::NeedsAttention;
        if is_asked {
            return;
        }
        let found = self.open.resume.and_then(|resume| resume.verdict);
        self.abandon_with(self.open.machine.verdict().or(found));
    }

    pub(super) fn abandon_with(&mut self, verdict: Option<Verdict>) {
        self.open.abandoned = true;
        self.ground();
        self.open.queue.clear();
        let pattern = self.open.transaction.pattern();
        let fixed = self.open.told.or_else(|| verdict.and_then(|verdict| verdict.fixes(pattern)));
        if let Some(outcome) = fixed {
            let reason = Reason::new(format!("abandoned, and {outcome} all the same"));
            if !self.open.exceptions.contains(&reason) {
                self.note(JournalEvent::Exception(reason.clone()));
                self.open.exceptions.push(reason);
            }
        }
        let last = Some(fixed.unwrap_or(Outcome::Abandoned));
        if let Some(outcome) = last.filter(|_| mutant!(AbandonedToldEarly)) {
            self.tell(outcome);
        }
        self.record(Record { kind: RecordKind::Progress, verdict, lazy: false, last });
    }
}
