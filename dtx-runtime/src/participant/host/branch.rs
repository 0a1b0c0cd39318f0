//! Two-phase commit by a database: it prepares the work of a branch, keeps it with its locks
//! through any crash, and ends it as was decided.
//!
//! The inbox row is part of the branch. While the branch is prepared nobody sees the row, so the
//! list of the database's branches stands for it.

use std::sync::Arc;

use bytes::Bytes;
use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer, Refusal, rejected},
    ids::AcceptSequence,
    name::ActionName,
    pattern::{Pattern, Phase},
    resource::barrier::{self, Claim, Entry, InboxRow},
    store::{Branch, BranchEnd, BranchStore, Unit},
    transport::Command,
};

use super::{
    job::{Job, Settled},
    shared::{Shared, count},
    unit::{Claiming, UnitHost, busy, unknown, written},
};
use crate::participant::offer::Handler;

type Branches<U> = dyn BranchStore<Unit = U>;

fn branch_of(command: &Command) -> Branch {
    Branch {
        participant: command.participant.clone(),
        tx: command.tx,
        operation: command.operation,
        shard: command.shard,
        epoch: command.epoch,
        sequence: command.sequence,
    }
}

/// Whether the row of a branch is seen: then it was committed.
fn is_seen(row: Option<&InboxRow>) -> bool {
    row.is_some_and(|row| matches!(row.entry(Phase::Prepare), Some(Entry::Done(_))))
}

/// A vote has no output: the stored one is that of the work, and is told by `commit`.
fn vote(answer: PhaseAnswer) -> PhaseAnswer {
    answer.map(|done| Done { output: Bytes::new(), ..done })
}

impl<U: Unit> UnitHost<U> {
    /// Carries a phase of a branch out.
    pub(super) async fn branch(
        &self,
        shared: &Shared,
        job: &Job,
        branches: &Branches<U>,
        handler: Arc<dyn Handler<U>>,
    ) -> Settled {
        match job.command.phase {
            Phase::Prepare => self.prepare(shared, job, branches, handler).await,
            Phase::Commit if !job.command.one_phase => {
                self.commit_branch(shared, job, branches).await
            }
            Phase::Abort => self.abort(shared, job, branches).await,
            // One participant alone: nothing is prepared.
            _ => self.run(shared, job, Some(handler)).await,
        }
    }

    async fn prepare(
        &self,
        shared: &Shared,
        job: &Job,
        branches: &Branches<U>,
        handler: Arc<dyn Handler<U>>,
    ) -> Settled {
        let command = &*job.command;
        let claimed = match self.claim(shared, job).await {
            Claiming::Claimed(claimed) => claimed,
            Claiming::Busy => return repeated(command, branches).await,
            Claiming::Settled(settled) => return settled,
        };
        let (row, forward) = match self.decide(shared, &claimed, command) {
            Claim::Run { row, forward } => (row, forward),
            Claim::Answer { row, answer } => {
                return self.tell(claimed.open, row, vote(answer)).await;
            }
            Claim::Ask { .. } => unreachable!("a prepare is no question"),
        };
        let (answer, open) = self.call(shared, job, handler, claimed.open, forward).await;
        let Ok(done) = answer else {
            return self.finish(job, row, (answer, open)).await;
        };
        let Some(open) = open else { unreachable!("what was done has its transaction") };
        let row = barrier::finish(row, command, &Ok(done));
        let prepared = branches.prepare(open, row.encode(), &branch_of(command)).await;
        written(prepared, Ok(Done::default()))
    }

    async fn commit_branch(&self, shared: &Shared, job: &Job, branches: &Branches<U>) -> Settled {
        let command = &*job.command;
        if let Err(settled) = end(command, branches, BranchEnd::Commit).await {
            return settled;
        }
        let claimed = match self.claim(shared, job).await {
            Claiming::Claimed(claimed) => claimed,
            Claiming::Busy => return busy(),
            Claiming::Settled(settled) => return settled,
        };
        match self.decide(shared, &claimed, command) {
            Claim::Run { row, .. } => {
                let output = match row.entry(Phase::Prepare) {
                    Some(Entry::Done(done)) => done.output.clone(),
                    _ => Bytes::new(),
                };
                let answer = Ok(Done::with(output));
                let row = barrier::finish(row, command, &answer);
                self.commit(claimed.open, row.encode(), answer).await
            }
            // It voted, or nobody would ask for a commit; and neither branch nor row is there.
            Claim::Answer { row: None, answer: Err(NotDone::Unknown(reason)) }
                if claimed.row.as_ref().is_none_or(|row| row.entries().is_empty()) =>
            {
                let first = Command { one_phase: true, ..command.clone() };
                let Claim::Run { row, .. } = self.decide(shared, &claimed, &first) else {
                    return self.tell(claimed.open, None, Err(NotDone::Unknown(reason))).await;
                };
                let reason =
                    "heuristic rollback: the prepared branch is gone, and its effect with it";
                let answer = rejected(reason);
                say_heuristic(shared, command, reason);
                let row = barrier::finish(row, command, &answer);
                self.commit(claimed.open, row.encode(), answer).await
            }
            Claim::Answer { row, answer } => self.tell(claimed.open, row, answer).await,
            Claim::Ask { .. } => unreachable!("a commit is no question"),
        }
    }

    /// Takes a branch back, and leaves a row that keeps a late `prepare` from making it again.
    pub(super) async fn abort(
        &self,
        shared: &Shared,
        job: &Job,
        branches: &Branches<U>,
    ) -> Settled {
        let command = &*job.command;
        if let Err(settled) = end(command, branches, BranchEnd::RollBack).await {
            return settled;
        }
        let claimed = match self.claim(shared, job).await {
            Claiming::Claimed(claimed) => claimed,
            Claiming::Busy => return busy(),
            Claiming::Settled(settled) => return settled,
        };
        match self.decide(shared, &claimed, command) {
            Claim::Run { .. } if is_seen(claimed.row.as_ref()) => {
                say_heuristic(
                    shared,
                    command,
                    "heuristic commit: the branch was committed, and is to be taken back",
                );
                let answer = Err(NotDone::Refused(Refusal::Executed));
                self.tell(claimed.open, None, answer).await
            }
            // Its work was begun by a host that kept its effects elsewhere, or by none.
            Claim::Run { row, .. } => {
                let answer = Ok(Done::default());
                let row = barrier::finish(row, command, &answer);
                self.commit(claimed.open, row.encode(), answer).await
            }
            Claim::Answer { row, answer } => self.tell(claimed.open, row, answer).await,
            Claim::Ask { .. } => unreachable!("an abort is no question"),
        }
    }
}

/// The branches of the command's operation. A command of an epoch that is lower than that of one
/// of them touches none: nobody sees the row that would say so.
async fn found<U: Unit>(command: &Command, branches: &Branches<U>) -> Result<Vec<Branch>, Settled> {
    let of = Some((command.tx, command.operation));
    match branches.branches(&command.participant, of).await {
        Ok(found) if found.iter().any(|branch| branch.epoch > command.epoch) => {
            Err(unknown("the epoch is lower than one seen before"))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(Settled::Fault(error)),
    }
}

/// The answer to a `prepare` whose row somebody has: the branch itself, or one who makes it.
async fn repeated<U: Unit>(command: &Command, branches: &Branches<U>) -> Settled {
    match found(command, branches).await {
        Ok(found) if found.is_empty() => busy(),
        Ok(_) => Settled::Answer(Ok(Done::default())),
        Err(settled) => settled,
    }
}

async fn end<U: Unit>(
    command: &Command,
    branches: &Branches<U>,
    end: BranchEnd,
) -> Result<(), Settled> {
    for branch in found(command, branches).await? {
        branches.end(&branch, end).await.map_err(Settled::Fault)?;
    }
    Ok(())
}

fn say_heuristic(shared: &Shared, command: &Command, what: &str) {
    count(&shared.counters.heuristics, 1);
    let (participant, tx) = (&shared.participant, command.tx);
    tracing::error!(%participant, %tx, "{what}");
}

/// The command that takes a branch back which nobody has a row of.
pub(super) fn recalled(branch: &Branch) -> Command {
    Command {
        tx: branch.tx,
        operation: branch.operation,
        phase: Phase::Abort,
        pattern: Pattern::TwoPhaseCommit,
        participant: branch.participant.clone(),
        // No handler is asked for it.
        action: ActionName::new("branch").expect("it is a name"),
        action_version: 0,
        attempt: 1,
        shard: branch.shard,
        epoch: branch.epoch,
        sequence: branch.sequence,
        watermark: AcceptSequence::default(),
        deadline: None,
        ttl: None,
        one_phase: false,
        reply: false,
        payload: Bytes::new(),
        inputs: Vec::new(),
    }
}
