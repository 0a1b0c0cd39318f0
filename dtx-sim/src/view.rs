//! What is durable of each transaction, as the simulator saw it land. The checks compare what
//! everybody does with this.

use std::{collections::BTreeMap, sync::Arc};

use dtx_core::{
    engine::StoredState,
    ids::{Epoch, OperationIndex, ShardId, Version},
    pattern::Phase,
    store::{Outcome, RecordKind, Status, TxWrite, Verdict},
    transaction::Transaction,
};

/// The durable record of a transaction, and what was seen of its operations.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) shard: ShardId,
    pub(crate) transaction: Arc<Transaction>,
    pub(crate) version: Version,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) status: Status,
    pub(crate) is_open: bool,
    pub(crate) state: StoredState,
    pub(crate) exceptions: usize,
    pub(crate) dead_letters: u16,
    /// The epochs under which it was written.
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) told: Option<Outcome>,
    pub(crate) operations: BTreeMap<OperationIndex, Sight>,
    pub(crate) awaited: u32,
    pub(crate) lazy: u32,
}

/// What is durably known of one operation at its participant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// Phases that were carried out.
    pub(crate) done: Vec<Phase>,
    /// When it was first taken back, in virtual time.
    pub(crate) undone_at: Option<u64>,
    /// The handler's own no to a phase.
    pub(crate) rejected: Vec<Phase>,
    /// The highest epoch that its inbox has seen.
    pub(crate) epoch: Epoch,
}

impl Sight {
    pub(crate) fn is_executed(&self) -> bool {
        [Phase::Execute, Phase::Commit, Phase::Deliver].iter().any(|p| self.done.contains(p))
    }

    pub(crate) fn is_undone(&self) -> bool {
        self.done.iter().any(|phase| phase.is_backward())
    }
}

/// A landing that breaks what a store or a writer promises.
pub(crate) type Broken = &'static str;

impl View {
    pub(crate) fn new(transaction: Arc<Transaction>, shard: ShardId) -> Self {
        Self {
            shard,
            transaction,
            version: Version::default(),
            verdict: None,
            status: Status::Open,
            is_open: false,
            state: StoredState::default(),
            exceptions: 0,
            dead_letters: 0,
            epochs: Vec::new(),
            told: None,
            operations: BTreeMap::new(),
            awaited: 0,
            lazy: 0,
        }
    }

    /// Whether the accept is durable.
    pub(crate) fn is_accepted(&self) -> bool {
        self.version > Version::default()
    }

    /// A write landed and made `version`.
    pub(crate) fn land(&mut self, write: &TxWrite, version: Version, foreign: bool) -> Vec<Broken> {
        let mut broken = Vec::new();
        if version <= self.version {
            return broken;
        }
        if write.lazy {
            self.lazy += 1;
        } else {
            self.awaited += 1;
        }
        if let (Some(before), Some(after)) = (self.verdict, write.verdict)
            && before != after
        {
            broken.push("rule 1: a verdict changed");
        }
        if self.is_accepted() && !self.is_open {
            if write.due.is_some() {
                broken.push("a finished transaction was opened again");
            } else if write.fence.is_some() {
                // Only those who clear exceptions, or ask about what was abandoned, write more.
                broken.push("a finished transaction was finished again");
            }
        }
        let decoded = StoredState::decode(&write.state);
        broken.extend(decoded.map_or(Some("an unreadable state was written"), |state| {
            let lost = self.lost(&state);
            self.state = state;
            lost
        }));
        if let Some(fence) = write.fence {
            if self.epochs.iter().any(|seen| *seen > fence.epoch) {
                broken.push("fencing: a write under an older lease landed");
            }
            if !self.epochs.contains(&fence.epoch) {
                self.epochs.push(fence.epoch);
            }
        }
        if foreign && self.unkept(write) {
            broken.push("rule 13: an answer without an inbox was not durable at the verdict");
        }
        self.version = version;
        self.verdict = write.verdict.or(self.verdict);
        self.status = write.summary.status;
        self.is_open = write.due.is_some();
        self.exceptions = self.exceptions.max(write.summary.exceptions.len());
        self.dead_letters = self.dead_letters.max(write.summary.dead_letters);
        broken
    }

    /// What was durable and must not be lost by a later write.
    fn lost(&self, state: &StoredState) -> Option<Broken> {
        let before = &self.state;
        if before.point_of_no_return.is_some() && state.point_of_no_return.is_none() {
            return Some("rule 8: the point of no return was overwritten");
        }
        if before.verified.is_some() && state.verified != before.verified {
            return Some("rule 8: what a verification found was overwritten");
        }
        if before.answers.len() > state.answers.len() {
            return Some("rule 8: an answer was overwritten");
        }
        // An operator's retry begins to count anew.
        if before.resumes > state.resumes && self.status != Status::NeedsAttention {
            return Some("rule 8: the count of resumes was overwritten");
        }
        // The last, lazy write of a decided transaction may leave a late signal out; so may the
        // one after a participant's answer decided.
        if self.verdict.is_none()
            && self.told.is_none()
            && state.signals.len() < before.signals.len()
        {
            return Some("rule 8: a signal was overwritten");
        }
        None
    }

    /// Whether `Completed` is decided while an answer of a participant without an inbox is not
    /// in the record.
    fn unkept(&self, write: &TxWrite) -> bool {
        let forward = write.kind == RecordKind::Verdict
            && write.verdict.is_some_and(|verdict| !verdict.is_backward());
        forward && self.state.answers.is_empty()
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
