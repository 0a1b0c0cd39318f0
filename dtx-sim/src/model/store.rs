//! The store: one row, the newest lease, and the rules of a write.

use std::sync::Arc;

use dtx_core::{
    ids::{Epoch, HolderId, ShardId},
    store::{
        Decision, Expect, Facts, Fence, LeaseFacts, RowFacts, TxRecord, TxWrite, WriteClaim,
        evaluate,
    },
    time::Timestamp,
};

use super::{bug::Bug, digest::digest_of};

/// The row as it is stored, with its number.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) record: TxRecord,
    pub(super) digest: u64,
}

impl Row {
    fn new(record: TxRecord) -> Self {
        let due = match record.due {
            None => 0_u8,
            Some(Timestamp::MAX) => 1,
            Some(_) => 2,
        };
        let told = (record.summary.status, record.summary.exceptions.len(), due);
        let digest =
            digest_of((record.version, record.last_write, record.verdict, &record.state, told));
        Self { record, digest }
    }
}

/// A write that was sent and may reach the store at any time, and what the store has answered.
#[derive(Clone, Debug)]
pub(super) struct Flying {
    pub(super) write: Arc<TxWrite>,
    /// The epoch of its sender; `None` if it is no coordinator's own.
    pub(super) from: Option<Epoch>,
    /// Answers that were not heard.
    pub(super) answers: Vec<Decision>,
}

impl Flying {
    pub(super) fn digest(&self) -> u64 {
        let answers = self.answers.iter().map(|answer| match answer {
            Decision::Apply(version) | Decision::Repeat(version) => (0_u8, Some(*version)),
            Decision::Conflict { found, .. } => (1, *found),
            Decision::Fenced => (2, None),
            Decision::DuplicateKey(_) => (3, None),
        });
        let answers: Vec<_> = answers.collect();
        let write = &self.write;
        digest_of((write.id, write.kind, write.expect, write.verdict, answers, &write.state))
    }

    /// Whether it can still be applied to a row of this version.
    pub(super) fn may_apply(&self, row: Option<&Row>) -> bool {
        match (self.write.expect, row) {
            (Expect::Absent, row) => row.is_none(),
            (Expect::Version(version), row) => row.is_none_or(|row| row.record.version <= version),
        }
    }
}

/// The lease of an epoch: every lease has a holder of its own, so that the two coordinators are
/// not told apart.
pub(super) fn lease(epoch: Epoch) -> LeaseFacts {
    LeaseFacts { holder: HolderId(u128::from(epoch.0)), epoch }
}

pub(super) fn fence(shard: ShardId, epoch: Epoch) -> Fence {
    Fence { shard, holder: lease(epoch).holder, epoch }
}

/// What the store decides about a write, and the row after it.
pub(super) fn land(
    write: &TxWrite,
    row: Option<&Row>,
    newest: Epoch,
    now: Timestamp,
    bug: Option<Bug>,
) -> (Decision, Option<Row>) {
    let facts = Facts {
        row: row.map(|Row { record, .. }| RowFacts {
            version: record.version,
            verdict: record.verdict,
            last_write: record.last_write,
        }),
        lease: Some(lease(newest)),
        key: None,
    };
    let mut claim = WriteClaim::from(write);
    let mut facts = facts;
    loosen(&mut claim, &mut facts, bug);
    let decision = evaluate(&claim, &facts);
    let Decision::Apply(version) = decision else { return (decision, None) };
    let record = match row {
        None => TxRecord {
            tx: write.tx,
            version,
            last_write: write.id,
            key: write.key.clone(),
            definition: write.definition.clone().unwrap_or_default(),
            verdict: write.verdict,
            state: write.state.clone(),
            due: write.due,
            summary: write.summary.clone(),
            accepted_at: now,
            written_at: now,
        },
        Some(Row { record, .. }) => TxRecord {
            version,
            last_write: write.id,
            verdict: write.verdict.or(record.verdict),
            state: write.state.clone(),
            due: write.due,
            summary: write.summary.clone(),
            written_at: now,
            ..record.clone()
        },
    };
    (decision, Some(Row::new(record)))
}

/// Rules taken out.
fn loosen(claim: &mut WriteClaim, facts: &mut Facts, bug: Option<Bug>) {
    let Some(row) = facts.row.as_mut() else { return };
    match bug {
        Some(Bug::VerdictOverwritten) if claim.verdict.is_some() => {
            row.verdict = None;
            claim.expect = Expect::Version(row.version);
        }
        Some(Bug::NotCompared) => claim.expect = Expect::Version(row.version),
        Some(Bug::NotFenced) => {
            if let Some(fence) = claim.fence {
                facts.lease = Some(LeaseFacts { holder: fence.holder, epoch: fence.epoch });
            }
        }
        _ => {}
    }
}
