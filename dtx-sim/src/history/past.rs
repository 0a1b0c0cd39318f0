//! What a history has said of one transaction so far.

use std::collections::{BTreeMap, BTreeSet};

use dtx_core::{
    answer::NotDone,
    ids::{Epoch, OperationIndex, Version},
    pattern::{Pattern, Phase},
    store::{Outcome, RecordKind, Status, Verdict},
    transaction::Gate,
};

use crate::journal::{Plan, What};

/// What is known of one transaction at a place of a history.
#[derive(Clone, Debug, Default)]
pub struct Past {
    pub(super) plan: Option<Plan>,
    pub(super) version: Version,
    pub(super) verdict: Option<Verdict>,
    pub(super) status: Option<Status>,
    pub(super) epochs: BTreeSet<Epoch>,
    pub(super) point_of_no_return: Option<RecordKind>,
    pub(super) told: Option<Outcome>,
    /// Phases that were durably done, of each operation.
    pub(super) done: BTreeMap<OperationIndex, BTreeSet<Phase>>,
    /// Phases to which the handler durably said no.
    pub(super) rejected: BTreeMap<OperationIndex, BTreeSet<Phase>>,
    /// The lines of the accept, the verdict and the outcome.
    pub(super) landmarks: Vec<u64>,
}

impl Past {
    /// Whether the accept is durable.
    pub(super) fn is_accepted(&self) -> bool {
        self.version > Version::default()
    }

    pub(super) fn has_done(&self, operation: OperationIndex, phase: Phase) -> bool {
        self.done.get(&operation).is_some_and(|done| done.contains(&phase))
    }

    pub(super) fn is_undone(&self, operation: OperationIndex) -> bool {
        self.done.get(&operation).is_some_and(|done| done.iter().any(|phase| phase.is_backward()))
    }

    pub(super) fn is_executed(&self, operation: OperationIndex) -> bool {
        [Phase::Execute, Phase::Commit, Phase::Deliver]
            .into_iter()
            .any(|phase| self.has_done(operation, phase))
    }

    pub(super) fn has_rejected(&self, operation: OperationIndex, phase: Phase) -> bool {
        self.rejected.get(&operation).is_some_and(|phases| phases.contains(&phase))
    }

    /// Whether nothing may be executed before the verdict.
    pub(super) fn is_gated(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| match plan.pattern {
            Pattern::TwoPhaseCommit => true,
            Pattern::ThreePhaseSaga => plan.gate == Gate::AllValidated,
            _ => false,
        })
    }

    /// Takes in what happened on a line.
    pub(super) fn apply(&mut self, line: u64, what: &What) {
        match what {
            What::Submitted { plan, .. } => self.plan = Some(plan.clone()),
            What::Landed { record, version, verdict, epoch, status } => {
                if *version <= self.version {
                    return;
                }
                if !self.is_accepted() || (self.verdict.is_none() && verdict.is_some()) {
                    self.landmarks.push(line);
                }
                self.version = *version;
                self.verdict = verdict.or(self.verdict);
                self.status = Some(*status);
                self.epochs.extend(*epoch);
                if matches!(record, RecordKind::PivotSent | RecordKind::Delegated) {
                    self.point_of_no_return = Some(*record);
                }
            }
            What::Kept { operation, phase, answer: Ok(_) } => {
                self.done.entry(*operation).or_default().insert(*phase);
            }
            What::Kept { operation, phase, answer: Err(NotDone::Rejected(_)) } => {
                self.rejected.entry(*operation).or_default().insert(*phase);
            }
            What::Told { outcome } => {
                self.landmarks.push(line);
                self.told = Some(*outcome);
            }
            _ => {}
        }
    }
}
