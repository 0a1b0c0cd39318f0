//! What a history has said of one transaction so far.

use std::collections::{BTreeMap, BTreeSet};

use dtx_core::{
    ids::{Epoch, OperationIndex, Version},
    pattern::{Pattern, Phase},
    store::{Outcome, RecordKind, Status, Verdict},
    transaction::Gate,
};

use super::line::{Facts, Plan, Planned, Said, What};

/// What is known of one operation.
#[derive(Clone, Debug, Default)]
pub(super) struct OperationPast {
    /// Phases that were durably done.
    pub(super) done: BTreeSet<Phase>,
    /// Phases to which the handler durably said no.
    pub(super) rejected: BTreeSet<Phase>,
    /// It changed nothing, and is left out of phase two.
    pub(super) read_only: bool,
    /// The highest epoch that its participant has seen.
    pub(super) epoch: Epoch,
    /// How often it took effect, and how often that was reversed.
    pub(super) executed: u64,
    pub(super) reversed: u64,
    /// The same of the final tables.
    pub(super) final_executed: u64,
    pub(super) final_reversed: u64,
}

impl OperationPast {
    /// Whether an effect stands; the final tables know what a kill kept from being written down.
    pub(super) fn effect_stands(&self) -> bool {
        self.executed.max(self.final_executed) > self.reversed.max(self.final_reversed)
    }
}

/// What is known of one transaction at a place of a history.
#[derive(Clone, Debug, Default)]
pub struct Past {
    pub(super) plan: Option<Plan>,
    pub(super) version: Version,
    pub(super) verdict: Option<Verdict>,
    pub(super) status: Option<Status>,
    pub(super) epochs: BTreeSet<Epoch>,
    pub(super) point: Option<RecordKind>,
    pub(super) verified: Option<bool>,
    pub(super) exceptions: usize,
    pub(super) dead_letters: u16,
    pub(super) told: Option<Outcome>,
    pub(super) acknowledged: bool,
    pub(super) operations: BTreeMap<OperationIndex, OperationPast>,
    pub(super) final_facts: Option<Facts>,
    /// When its accept was first seen, and when its end was.
    pub(super) accepted_us: u64,
    pub(super) ended_us: Option<u64>,
    /// The lines of the accept, the verdict and the outcome.
    pub(super) landmarks: Vec<u64>,
}

impl Past {
    /// Whether the accept is durable.
    pub(super) fn is_accepted(&self) -> bool {
        self.version > Version::default()
    }

    pub(super) fn is_backward(&self) -> bool {
        self.verdict.is_some_and(Verdict::is_backward)
    }

    pub(super) fn is_delegated(&self) -> bool {
        self.point == Some(RecordKind::Delegated)
    }

    /// Whether an operator had a hand in it, so that its effects are his.
    pub(super) fn is_excepted(&self) -> bool {
        self.exceptions > 0 || self.status == Some(Status::Finished(Outcome::Abandoned))
    }

    pub(super) fn of(&self, operation: OperationIndex) -> OperationPast {
        self.operations.get(&operation).cloned().unwrap_or_default()
    }

    pub(super) fn has_done(&self, operation: OperationIndex, phase: Phase) -> bool {
        self.operations.get(&operation).is_some_and(|past| past.done.contains(&phase))
    }

    pub(super) fn is_undone(&self, operation: OperationIndex) -> bool {
        let past = self.operations.get(&operation);
        past.is_some_and(|past| past.done.iter().any(|phase| phase.is_backward()))
    }

    pub(super) fn is_executed(&self, operation: OperationIndex) -> bool {
        [Phase::Execute, Phase::Commit, Phase::Deliver]
            .into_iter()
            .any(|phase| self.has_done(operation, phase))
    }

    /// Whether it was executed and stands; who changed nothing counts as having executed.
    pub(super) fn stands(&self, operation: OperationIndex) -> bool {
        let read_only = self.operations.get(&operation).is_some_and(|past| past.read_only);
        (read_only || self.is_executed(operation)) && !self.is_undone(operation)
    }

    pub(super) fn has_rejected(&self, operation: OperationIndex, phase: Phase) -> bool {
        self.operations.get(&operation).is_some_and(|past| past.rejected.contains(&phase))
    }

    pub(super) fn planned(&self, operation: OperationIndex) -> Option<&Planned> {
        self.plan.as_ref()?.operations.get(usize::from(operation.0))
    }

    /// The operations whose participants keep their answers.
    pub(super) fn kept_operations(&self) -> impl Iterator<Item = (OperationIndex, &Planned)> {
        let planned = self.plan.iter().flat_map(|plan| (0u16..).zip(&plan.operations));
        planned
            .map(|(index, planned)| (OperationIndex(index), planned))
            .filter(|(_, planned)| planned.inbox)
    }

    /// The first phase of an operation, whose no keeps it out of the way back.
    pub(super) fn first_phase(&self) -> Phase {
        match self.plan.as_ref().map(|plan| plan.pattern) {
            Some(Pattern::TwoPhaseCommit) if self.is_delegated() => Phase::Commit,
            Some(Pattern::TwoPhaseCommit | Pattern::TwoPhaseSaga) => Phase::Prepare,
            Some(Pattern::ThreePhaseSaga) => Phase::Reserve,
            _ => Phase::Execute,
        }
    }

    /// Whether nothing may be executed before the verdict.
    pub(super) fn is_gated(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| match plan.pattern {
            Pattern::TwoPhaseCommit => true,
            Pattern::ThreePhaseSaga => plan.gate == Gate::AllValidated,
            _ => false,
        })
    }

    /// The lines that show a breach on this one.
    pub(super) fn lines(&self, line: u64) -> Vec<u64> {
        let mut lines = self.landmarks.clone();
        lines.push(line);
        lines.dedup();
        lines
    }

    /// The tables at the end were not those of the end.
    pub(super) fn forget_the_end(&mut self) {
        self.final_facts = None;
        for past in self.operations.values_mut() {
            (past.final_executed, past.final_reversed) = (0, 0);
        }
    }

    /// Takes in what happened on a line.
    pub(super) fn apply(&mut self, line: u64, at_us: u64, what: &What) {
        match what {
            What::Submitted { plan } => self.plan = Some(plan.clone()),
            What::Acknowledged => self.acknowledged = true,
            What::Landed { facts, epoch, .. } => {
                self.apply_facts(line, at_us, facts);
                self.epochs.extend(*epoch);
            }
            What::Seen { facts } => self.apply_facts(line, at_us, facts),
            What::FinalRecord { facts } => {
                self.apply_facts(line, at_us, facts);
                self.final_facts = Some(facts.clone());
            }
            What::Kept { operation, phase, answer, epoch, .. } => {
                let past = self.operations.entry(*operation).or_default();
                past.epoch = past.epoch.max(epoch.unwrap_or_default());
                past.read_only |= *answer == Said::ReadOnly;
                if answer.is_done() {
                    past.done.insert(*phase);
                } else if *answer == Said::Rejected
                    || (*answer == Said::RefusedExpired && *phase == Phase::Validate)
                {
                    past.rejected.insert(*phase);
                }
            }
            What::Effect { operation, reversal } => {
                let past = self.operations.entry(*operation).or_default();
                *(if *reversal { &mut past.reversed } else { &mut past.executed }) += 1;
            }
            What::FinalEffect { operation, reversal, .. } => {
                let past = self.operations.entry(*operation).or_default();
                let count =
                    if *reversal { &mut past.final_reversed } else { &mut past.final_executed };
                *count += 1;
            }
            What::Told { outcome } => {
                self.landmarks.push(line);
                self.told = Some(*outcome);
            }
            _ => {}
        }
    }

    fn apply_facts(&mut self, line: u64, at_us: u64, facts: &Facts) {
        if !self.is_accepted() {
            self.landmarks.push(line);
            self.accepted_us = at_us;
        }
        if self.verdict.is_none() && facts.verdict.is_some() {
            self.landmarks.push(line);
            self.verdict = facts.verdict;
        }
        self.exceptions = self.exceptions.max(facts.exceptions);
        self.dead_letters = self.dead_letters.max(facts.dead_letters);
        self.point = self.point.or(facts.point);
        self.verified = self.verified.or(facts.verified);
        // Two writers may be noted in the other order than they landed in.
        if facts.version < self.version {
            return;
        }
        self.version = facts.version;
        self.status = Some(facts.status);
        if self.ended_us.is_none() && matches!(facts.status, Status::Finished(_)) {
            self.ended_us = Some(at_us);
        }
    }
}
