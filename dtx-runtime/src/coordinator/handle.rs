//! A handle on a transaction. Dropping it never cancels anything.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    engine::Signal,
    error::Retry,
    ids::TxId,
    store::{Outcome, Status},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    dtx::Inner,
    error::{OutcomeError, SignalError},
    lane::LaneInput,
    waiters::{TxEvent, Waiter},
};

/// How soon the store is asked again for an outcome that another owner will write. Doubles up to
/// [`POLL_MAX`], so that many who wait for long are no load.
const POLL: Duration = Duration::from_millis(25);

/// The longest pause between two questions.
const POLL_MAX: Duration = Duration::from_secs(1);

/// A transaction that was accepted. Keeps its coordinator running, as a [`Dtx`](super::Dtx) does.
#[derive(Debug)]
pub struct Handle {
    tx: TxId,
    inner: Arc<Inner>,
    is_new: bool,
    outcome: Option<oneshot::Receiver<Outcome>>,
    is_closed: bool,
    told: Option<Outcome>,
}

impl Handle {
    pub(super) fn new(
        tx: TxId,
        inner: Arc<Inner>,
        is_new: bool,
        outcome: Option<oneshot::Receiver<Outcome>>,
    ) -> Self {
        Self { tx, inner, is_new, outcome, is_closed: false, told: None }
    }

    /// The transaction.
    pub fn tx(&self) -> TxId {
        self.tx
    }

    /// Whether this submit made it; `false` when the key was known already.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Waits for the outcome: until a record fixes it.
    ///
    /// # Errors
    /// [`OutcomeError`] when the coordinator stops before, the transaction is unknown, or the
    /// store fails for good.
    ///
    /// # Cancel safety
    /// Cancel safe: the outcome can be awaited again.
    pub async fn outcome(&mut self) -> Result<Outcome, OutcomeError> {
        if let Some(outcome) = self.told {
            return Ok(outcome);
        }
        if let Some(receiver) = &mut self.outcome {
            let told = receiver.await;
            self.outcome = None;
            if let Ok(outcome) = told {
                self.told = Some(outcome);
                return Ok(outcome);
            }
        }
        // Another owner has it, it is parked, or it ended earlier: the store knows.
        let outcome = self.read_outcome(false).await?;
        self.told = Some(outcome);
        Ok(outcome)
    }

    /// Waits until nothing is left to do: after the outcome, what follows from it is carried out
    /// (0.5PS and 1.5PS: everything is delivered or in the dead letters). The record of the end
    /// may still be on its way.
    ///
    /// # Errors
    /// As [`outcome`](Self::outcome).
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn finished(&mut self) -> Result<Outcome, OutcomeError> {
        let outcome = self.outcome().await?;
        if self.is_closed {
            return Ok(outcome);
        }
        // Asked for only now: most callers never do, and every open transaction would pay.
        let (closed, ends) = oneshot::channel();
        let waiter = Waiter { closed: Some(closed), ..Waiter::default() };
        let shard = self.tx.shard(self.inner.shared.store.info().shards);
        self.inner.shared.send(shard, LaneInput::Attach { tx: self.tx, waiter }).await;
        self.is_closed = ends.await.is_ok();
        if self.is_closed { Ok(outcome) } else { self.read_outcome(true).await }
    }

    async fn read_outcome(&self, finished: bool) -> Result<Outcome, OutcomeError> {
        let mut pause = POLL;
        loop {
            match self.inner.shared.store.load(&[self.tx]).await {
                Ok(mut records) => {
                    let found = records.pop().flatten();
                    let record = found.ok_or(OutcomeError::Unknown(self.tx))?;
                    match record.summary.status {
                        Status::Finished(outcome) => return Ok(outcome),
                        _ if finished => {}
                        _ => {
                            if let Some(outcome) = fixed(&record) {
                                return Ok(outcome);
                            }
                        }
                    }
                }
                Err(error) if error.retry() == Retry::Never || self.inner.is_stopped() => {
                    return Err(OutcomeError::Store(error));
                }
                Err(error) => tracing::debug!(%error, "the outcome could not be read; again soon"),
            }
            if self.inner.is_stopped() {
                return Err(OutcomeError::Stopped(self.tx));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_MAX);
        }
    }

    /// The answers of its participants from now on. A reader that is slower than `events_max`
    /// misses some. Ends when the transaction leaves this coordinator's memory; at once, when
    /// another coordinator drives it or it is parked.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn events(&self) -> mpsc::Receiver<TxEvent> {
        let (sender, receiver) = mpsc::channel(self.inner.shared.settings.events_max);
        let waiter = Waiter { events: Some(sender), ..Waiter::default() };
        let shard = self.tx.shard(self.inner.shared.store.info().shards);
        self.inner.shared.send(shard, LaneInput::Attach { tx: self.tx, waiter }).await;
        receiver
    }

    /// Agrees, as the person whom the transaction waits for. Durable when it returns.
    ///
    /// # Errors
    /// [`SignalError`].
    pub async fn approve(&self, by: &str, reason: &str) -> Result<(), SignalError> {
        self.inner.signal(self.tx, Signal::Approve, by, reason).await
    }

    /// Refuses, as the person whom the transaction waits for: it goes back.
    ///
    /// # Errors
    /// [`SignalError`].
    pub async fn reject(&self, by: &str, reason: &str) -> Result<(), SignalError> {
        self.inner.signal(self.tx, Signal::Reject, by, reason).await
    }

    /// Asks it to go back. Durable when it returns; whether it still could is the outcome's to
    /// say.
    ///
    /// # Errors
    /// [`SignalError`]; `TooLate` when it is decided.
    pub async fn cancel(&self, by: &str, reason: &str) -> Result<(), SignalError> {
        self.inner.signal(self.tx, Signal::Cancel, by, reason).await
    }
}

/// The outcome that an open record fixes already.
fn fixed(record: &dtx_core::store::TxRecord) -> Option<Outcome> {
    use dtx_core::{pattern::Pattern, store::Verdict};
    match (record.verdict?, record.summary.pattern) {
        (Verdict::Completed, Pattern::FireAndForget) => Some(Outcome::Dispatched),
        (Verdict::Completed | Verdict::Commit, _) => Some(Outcome::Committed),
        (Verdict::Abort, _) => Some(Outcome::Aborted),
        // After a turn only the end says whether an effect was reversed.
        (Verdict::Turned, _) => None,
    }
}
