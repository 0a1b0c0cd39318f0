//! Commands of a built-in resource: claim, effect and answer are one write per scope.

use std::sync::Arc;

use dtx_core::{
    answer::PhaseAnswer,
    error::StoreError,
    resource::{Plan, Work, plan, read_keys},
    store::{RowKey, RowSet, RowWriteResult, Scope, ScopeRead, ScopeRows},
    time::Timestamp,
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    crash_points,
    inbox::{conflicts, error_like},
    job::{Job, Settled},
    settle::Completion,
    shared::{Served, Shared, count},
};

/// The commands of one scope that still have no answer.
type Open = Vec<(Scope, Vec<Job>)>;

/// Handles a batch: all its scopes are read in one call, written in one, and answered in one
/// publish. What met a change of somebody else is read and planned again.
pub(crate) async fn handle_batch(
    shared: Arc<Shared>,
    served: &Served,
    batch: Open,
    completions: mpsc::Sender<Completion>,
) {
    let scopes = batch.iter().map(|(scope, _)| scope.clone()).collect();
    count(&shared.counters.runs, batch.iter().map(|(_, jobs)| jobs.len()).sum());
    let mut open = batch;
    for _ in 0..=shared.settings.conflict_retries_max {
        if open.is_empty() {
            break;
        }
        let (settled, again) = round(served, open).await;
        open = again;
        if !settled.is_empty() {
            // The intake is gone only after it gave up waiting for this.
            let _ = completions.send(shared.settle(settled).await).await;
        }
    }
    let given_up = open.into_iter().flat_map(|(_, jobs)| jobs);
    let settled = given_up.map(|job| (job, Settled::Fault(conflicts()))).collect();
    let last = shared.settle(settled).await;
    let _ = completions.send(Completion { scopes, is_batch_end: true, ..last }).await;
}

/// Reads, plans and writes once.
async fn round(served: &Served, open: Open) -> (Vec<(Job, Settled)>, Open) {
    let Pass { mut settled, mut again, known } = pass(served, open, false).await;
    if !known.is_empty() {
        // An earlier answer may be read before it is durable.
        let durable = pass(served, known, true).await;
        settled.extend(durable.settled);
        again.extend(durable.again);
    }
    (settled, again)
}

/// What became of commands.
#[derive(Default)]
struct Pass {
    settled: Vec<(Job, Settled)>,
    /// Their write met another one.
    again: Open,
    /// Their answers are in what was read, and nothing has to be written; none where that was
    /// durable.
    known: Open,
}

async fn pass(served: &Served, open: Open, is_durable: bool) -> Pass {
    let keys: Vec<_> = open.iter().map(|(_, jobs)| keys(served, jobs)).collect();
    let reads = open.iter().zip(&keys);
    let reads: Vec<_> = reads
        .map(|((scope, _), keys)| ScopeRead { scope: scope.clone(), keys: keys.clone() })
        .collect();
    let read = match is_durable {
        true => served.store.read_durable(&reads).await,
        false => served.store.read(&reads).await,
    };
    let mut passed = Pass::default();
    let rows = match read {
        Ok(rows) => rows,
        Err(error) => return Pass { settled: faults(open, &error), ..passed },
    };
    let mut sets: Vec<RowSet> = Vec::new();
    let mut waiting = Vec::new();
    for (((scope, jobs), keys), rows) in open.into_iter().zip(keys).zip(rows) {
        let Plan { write, answers, damaged } = plan_scope(served, &scope, &keys, rows, &jobs);
        if !damaged.is_empty() {
            tracing::error!(%scope, ?damaged, "rows cannot be read and are left as they are");
        }
        match write {
            Some(set) => {
                sets.push(set);
                waiting.push((scope, jobs, answers));
            }
            None if is_durable => {
                let answers = answers.into_iter().map(Settled::Answer);
                passed.settled.extend(jobs.into_iter().zip(answers));
            }
            None => passed.known.push((scope, jobs)),
        }
    }
    if !sets.is_empty() {
        write(served, &sets, waiting, &mut passed).await;
    }
    passed
}

async fn write(
    served: &Served,
    sets: &[RowSet],
    waiting: Vec<(Scope, Vec<Job>, Vec<PhaseAnswer>)>,
    passed: &mut Pass,
) {
    crash_points::writing(&waiting);
    let written = served.store.write(sets).await;
    crash_points::written(&waiting);
    for ((scope, jobs, answers), written) in waiting.into_iter().zip(written) {
        match written {
            RowWriteResult::Written => {
                let answers = answers.into_iter().map(Settled::Answer);
                passed.settled.extend(jobs.into_iter().zip(answers));
            }
            RowWriteResult::Conflict | RowWriteResult::TooLate => passed.again.push((scope, jobs)),
            RowWriteResult::Failed(error) => {
                passed.settled.extend(faults(vec![(scope, jobs)], &error));
            }
        }
    }
}

fn keys(served: &Served, jobs: &[Job]) -> Vec<RowKey> {
    read_keys(&*served.resource, jobs.iter().map(|job| &*job.command))
}

fn plan_scope(
    served: &Served,
    scope: &Scope,
    keys: &[RowKey],
    rows: ScopeRows,
    jobs: &[Job],
) -> Plan {
    let now = Instant::now();
    let works: Vec<_> = jobs
        .iter()
        .map(|job| Work { command: &job.command, not_after: not_after(job, rows.now, now) })
        .collect();
    plan(&*served.resource, scope, keys, rows, &works)
}

/// When the command is too late, on the store's clock; before its now if it is so already.
fn not_after(job: &Job, store_now: Timestamp, now: Instant) -> Option<Timestamp> {
    let left = job.left(now)?;
    Some(if left.is_zero() {
        Timestamp::from_micros(store_now.as_micros().saturating_sub(1))
    } else {
        store_now + left
    })
}

fn faults(open: Open, error: &StoreError) -> Vec<(Job, Settled)> {
    let jobs = open.into_iter().flat_map(|(_, jobs)| jobs);
    jobs.map(|job| (job, Settled::Fault(error_like(error)))).collect()
}
