//! What operators do through a running coordinator: as an [`Operator`] does, and the owner here
//! hears of it at once.

use dtx_core::{
    engine::{Hold, Move, Signal},
    error::StoreError,
    ids::TxId,
    name::ParticipantName,
};

use super::{Dtx, Handle, HealReport, SignalError, SubmitError, dtx::Inner, heal};
use crate::operator::{HoldError, Operator, UndoError, UndoPlan};

impl Dtx {
    /// Gives a signal to a transaction, wherever its owner is. Durable when it returns.
    ///
    /// # Errors
    /// [`SignalError`]; what is not among the [`moves`](Self::moves) is refused.
    ///
    /// # Idempotency
    /// Of contradictory signals the first durable one stands; the same one again is no error.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the signal given.
    pub async fn signal(
        &self,
        tx: TxId,
        signal: Signal,
        by: &str,
        reason: &str,
    ) -> Result<(), SignalError> {
        self.inner.signal(tx, signal, by, reason).await
    }

    /// The moves that a transaction takes now, and what each would do.
    ///
    /// # Errors
    /// As [`Operator::moves`].
    pub async fn moves(&self, tx: TxId) -> Result<Vec<Move>, SignalError> {
        self.operator().moves(tx).await
    }

    /// From now on nothing is sent to the participant, by any coordinator of the store.
    ///
    /// # Errors
    /// As [`Operator::hold`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave the participant held.
    pub async fn hold(
        &self,
        participant: &ParticipantName,
        by: &str,
        reason: &str,
    ) -> Result<bool, HoldError> {
        let is_new = self.operator().hold(participant, by, reason).await?;
        self.inner.shared.look.notify_one();
        Ok(is_new)
    }

    /// Ends a [`hold`](Self::hold).
    ///
    /// # Errors
    /// As [`Operator::release`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave the participant released.
    pub async fn release(
        &self,
        participant: &ParticipantName,
        by: &str,
        reason: &str,
    ) -> Result<bool, HoldError> {
        let was_held = self.operator().release(participant, by, reason).await?;
        self.inner.shared.look.notify_one();
        Ok(was_held)
    }

    /// Every participant that is held or ever was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn holds(&self) -> Result<Vec<Hold>, StoreError> {
        self.operator().holds().await
    }

    /// Starts the one transaction that reverses a committed one, and gives a handle on it.
    ///
    /// # Errors
    /// [`UndoError`].
    ///
    /// # Idempotency
    /// A transaction is reversed once: a further call gives a handle on the same reversal.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the reversal started.
    pub async fn undo(&self, tx: TxId, by: &str, reason: &str) -> Result<Handle, UndoError> {
        match self.operator().plan_undo(tx, by, reason).await? {
            UndoPlan::Known(known) => Ok(self.attach(known).await),
            UndoPlan::Start(transaction) => match self.submit(*transaction).await {
                Ok(handle) => Ok(handle),
                // Another one came first, with another reason.
                Err(SubmitError::KeyConflict(known)) => Ok(self.attach(known).await),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Lets the healer make a pass now, and says what it found.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the pass where it is.
    pub async fn heal(&self) -> Result<HealReport, StoreError> {
        heal::pass(&self.inner.shared).await
    }

    /// What the healer found in its last pass. Waits for one that is under way.
    pub async fn heal_report(&self) -> HealReport {
        self.inner.shared.healing.lock().await.last.clone()
    }

    fn operator(&self) -> &Operator {
        &self.inner.shared.operator
    }
}

impl Inner {
    pub(super) async fn signal(
        &self,
        tx: TxId,
        signal: Signal,
        by: &str,
        reason: &str,
    ) -> Result<(), SignalError> {
        self.shared.operator.signal(tx, signal, by, reason).await?;
        self.shared.poke(tx).await;
        Ok(())
    }
}
