//! Holding and releasing participants.

use std::collections::BTreeSet;

use dtx_core::{
    answer::Reason,
    engine::{Hold, HoldStep, hold_of, hold_read, hold_scope, hold_write},
    error::StoreError,
    frame::FrameError,
    name::ParticipantName,
    store::{ParticipantStore, RowWriteResult, ScopeRead, ScopeRows},
    time::Timestamp,
};
use thiserror::Error;

use super::Operator;

/// How often a hold is tried again when others write to its row in between.
const ATTEMPTS_MAX: usize = 32;

/// How many holds are read at a time.
const PAGE: usize = 256;

/// A participant that was not held or released.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HoldError {
    /// It cannot be done.
    #[error("the participant cannot be held or released: {0}")]
    Invalid(&'static str),
    /// The stored row cannot be read.
    #[error("the stored holds cannot be read")]
    Unreadable(#[from] FrameError),
    /// Others write to the row all the time.
    #[error("others write to the same row all the time; try again")]
    Busy,
    /// The store failed.
    #[error("the store did not answer")]
    Store(#[from] StoreError),
}

impl Operator {
    /// From now on no coordinator of the store sends the participant anything. What is undecided
    /// still ends by its own deadlines. Durable when it returns; every coordinator follows on its
    /// next look at the store. Says whether it was not held before.
    ///
    /// # Errors
    /// [`HoldError`]; without a reason it is `Invalid`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the participant held.
    pub async fn hold(
        &self,
        participant: &ParticipantName,
        by: &str,
        reason: &str,
    ) -> Result<bool, HoldError> {
        self.set_hold(participant, true, by, reason).await
    }

    /// Ends a [`hold`](Self::hold): what waited is sent. Says whether it was held.
    ///
    /// # Errors
    /// [`HoldError`]; without a reason it is `Invalid`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the participant released.
    pub async fn release(
        &self,
        participant: &ParticipantName,
        by: &str,
        reason: &str,
    ) -> Result<bool, HoldError> {
        self.set_hold(participant, false, by, reason).await
    }

    /// Every participant that is held or ever was, with who did it and why.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn holds(&self) -> Result<Vec<Hold>, StoreError> {
        let found = holds(self.rows.as_ref()).await?;
        until_durable(self.rows.as_ref()).await?;
        Ok(found)
    }

    async fn set_hold(
        &self,
        participant: &ParticipantName,
        held: bool,
        by: &str,
        reason: &str,
    ) -> Result<bool, HoldError> {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.rows.read_durable(&[hold_read(participant)]).await?.pop();
            let rows = found.unwrap_or(ScopeRows { rows: vec![None], now: Timestamp::ZERO });
            let (by, reason) = (Reason::new(by), Reason::new(reason));
            let set = match hold_write(participant, held, &rows, by, reason)? {
                HoldStep::Write(set) => set,
                HoldStep::Settled => return Ok(false),
                HoldStep::Invalid(why) => return Err(HoldError::Invalid(why)),
            };
            match self.rows.write(&[set]).await.pop() {
                Some(RowWriteResult::Written) => return Ok(true),
                Some(RowWriteResult::Failed(error)) => return Err(error.into()),
                _ => {}
            }
        }
        Err(HoldError::Busy)
    }
}

async fn holds(rows: &dyn ParticipantStore) -> Result<Vec<Hold>, StoreError> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = rows.scan(&hold_scope(), &[], cursor.as_ref(), PAGE).await?;
        for (key, row) in page.items {
            match hold_of(&key, &row) {
                Ok(hold) => found.push(hold),
                // One row that cannot be read must not end the holds of the others.
                Err(error) => tracing::error!(?key, %error, "a hold cannot be read"),
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

/// Waits until the holds that were read before are durable.
pub(crate) async fn until_durable(rows: &dyn ParticipantStore) -> Result<(), StoreError> {
    let none = ScopeRead { scope: hold_scope(), keys: Vec::new() };
    rows.read_durable(&[none]).await.map(drop)
}

/// The participants to which nothing may be sent.
pub(crate) async fn held(
    rows: &dyn ParticipantStore,
) -> Result<BTreeSet<ParticipantName>, StoreError> {
    let all = holds(rows).await?;
    Ok(all.into_iter().filter(Hold::is_held).map(|hold| hold.participant).collect())
}
