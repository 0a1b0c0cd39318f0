//! Every transaction to its outcome, all at once.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use dtx::{
    coordinator::{Dtx, Handle},
    pattern::Pattern,
    store::Outcome,
    transaction::Transaction,
};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::commands::words;

/// As whom this program signals.
const BY: &str = "dtx submit";

/// What is said in place of the person that a transaction waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Approve,
    Reject,
}

/// What became of one transaction.
#[derive(Debug, Serialize)]
pub(super) struct Driven {
    /// `None` when it was not accepted.
    pub(super) tx: Option<String>,
    pub(super) key: Option<String>,
    pub(super) pattern: Pattern,
    pub(super) outcome: Option<Outcome>,
    /// How it stands: `finished`, or as `dtx tx list` says it, or `not_accepted`.
    pub(super) status: String,
    /// Whether this submit made it; else its key was known already.
    pub(super) new: bool,
    /// From the submit to the end, in milliseconds.
    pub(super) ms: f64,
    pub(super) error: Option<String>,
}

impl Driven {
    /// Whether it has its outcome.
    pub(super) fn has_ended(&self) -> bool {
        self.outcome.is_some()
    }

    /// What a person should know besides.
    pub(super) fn notes(&self) -> String {
        let known = (self.tx.is_some() && !self.new).then(|| "known by its key".to_owned());
        let notes = [known, self.error.clone()];
        notes.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// Submits all and waits for each, `wait` at the most.
pub(super) async fn drive(
    dtx: &Dtx,
    transactions: Vec<Transaction>,
    decision: Option<Decision>,
    wait: Duration,
) -> Vec<Driven> {
    let count = transactions.len();
    let mut running = JoinSet::new();
    for (index, transaction) in transactions.into_iter().enumerate() {
        let dtx = dtx.clone();
        running.spawn(async move { (index, one(&dtx, transaction, decision, wait).await) });
    }
    let mut driven: Vec<Option<Driven>> = (0..count).map(|_| None).collect();
    while let Some(joined) = running.join_next().await {
        let (index, one) = joined.expect("waiting for an outcome does not panic");
        driven[index] = Some(one);
    }
    driven.into_iter().flatten().collect()
}

async fn one(
    dtx: &Dtx,
    transaction: Transaction,
    decision: Option<Decision>,
    wait: Duration,
) -> Driven {
    let start = Instant::now();
    let has_approval = transaction.modifiers().is_some_and(|all| all.approval.is_some());
    let mut driven = Driven {
        tx: None,
        key: transaction.key().map(|key| format!("{}/{}", key.namespace, key.key)),
        pattern: transaction.pattern(),
        outcome: None,
        status: "not_accepted".to_owned(),
        new: false,
        ms: 0.0,
        error: None,
    };
    match dtx.submit(transaction).await {
        Err(error) => driven.error = Some(chain(&error)),
        Ok(mut handle) => {
            driven.tx = Some(handle.tx().to_string());
            driven.new = handle.is_new();
            if has_approval && let Some(decision) = decision {
                driven.error = decide(&handle, decision).await;
            }
            match tokio::time::timeout(wait, handle.finished()).await {
                Ok(Ok(outcome)) => {
                    driven.outcome = Some(outcome);
                    driven.status = "finished".to_owned();
                }
                Ok(Err(error)) => driven.error = Some(chain(&error)),
                Err(_) => driven.status = standing(dtx, &handle).await,
            }
        }
    }
    driven.ms = start.elapsed().as_secs_f64() * 1_000.0;
    driven
}

async fn decide(handle: &Handle, decision: Decision) -> Option<String> {
    let decided = match decision {
        Decision::Approve => handle.approve(BY, "--approve").await,
        Decision::Reject => handle.reject(BY, "--reject").await,
    };
    decided.err().map(|error| chain(&error))
}

/// How a transaction stands that has not ended in time.
async fn standing(dtx: &Dtx, handle: &Handle) -> String {
    match dtx.get(handle.tx()).await {
        Ok(Some(record)) => words::status(record.summary.status),
        Ok(None) | Err(_) => "unknown".to_owned(),
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
