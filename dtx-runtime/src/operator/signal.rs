//! Giving a signal: read, decide, write by the version, and again when somebody wrote in between.

use dtx_core::{
    answer::Reason,
    crash_point,
    engine::{Signal, SignalEntry, SignalStep, signal_write},
    ids::TxId,
    store::CommitResult,
};

use super::{Operator, access::fresh_write_id};
use crate::coordinator::SignalError;

/// How often a signal is tried again when others write to the transaction in between.
const ATTEMPTS_MAX: usize = 32;

impl Operator {
    pub(super) async fn give(
        &self,
        tx: TxId,
        signal: Signal,
        by: &str,
        reason: &str,
    ) -> Result<(), SignalError> {
        let entry = SignalEntry { signal, by: Reason::new(by), reason: Reason::new(reason) };
        for _ in 0..ATTEMPTS_MAX {
            let record = self.record(tx).await?;
            crash_point!("signal.before");
            let at = self.store.now().await.map_err(SignalError::Store)?;
            match signal_write(&record, entry.clone(), fresh_write_id(), at, &self.settings) {
                SignalStep::Settled(stands) if stands == entry.signal => return Ok(()),
                SignalStep::Settled(stands) => {
                    return Err(SignalError::Contradicts { tx, stands: format!("{stands:?}") });
                }
                SignalStep::TooLate => return Err(SignalError::TooLate(tx)),
                SignalStep::Invalid(why) => return Err(SignalError::Invalid(why)),
                SignalStep::Write(write) => match self.store.commit(&[*write]).await.pop() {
                    Some(CommitResult::Committed(_)) => {
                        crash_point!("signal.after");
                        return Ok(());
                    }
                    Some(CommitResult::Failed(error)) => return Err(SignalError::Store(error)),
                    // Somebody wrote in between: look again.
                    _ => {}
                },
            }
        }
        Err(SignalError::Busy(tx))
    }
}
