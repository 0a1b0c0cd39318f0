//! How a service asks its region.

use std::{sync::Arc, time::Duration};

use dtx_geo::pool::{Answer, HoldId, Input, Member, NUMBER_MAX};
use tokio::sync::{mpsc, oneshot};

use crate::{error::PoolError, spec::PoolSpec};

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The answer.
    pub answer: Answer,
    /// The region in which the hold is, as far as this region knows.
    pub at: Member,
}

/// How things stand in a region. Of other regions nothing is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// Units that were brought in here.
    pub minted: u64,
    /// Units that can be held or given.
    pub free: u64,
    /// Units of holds that have not ended.
    pub held: u64,
    /// Units that were sold here.
    pub sold: u64,
}

/// What the region is asked.
#[derive(Debug)]
pub(crate) enum Ask {
    Hold { id: HoldId, input: Input, reply: oneshot::Sender<Told> },
    Restock { total: u64, reply: oneshot::Sender<PoolState> },
    State { reply: oneshot::Sender<PoolState> },
}

/// Asks a running region. Cheap to clone.
///
/// Every answer has landed before it is given. The same id is the same hold, so every question
/// may be asked again.
///
/// # Cancel safety
/// Dropping a future drops the wait: what was asked may still be done.
#[derive(Clone, Debug)]
pub struct PoolHandle {
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) spec: Arc<PoolSpec>,
}

impl PoolHandle {
    /// Which region of which pool.
    pub fn spec(&self) -> &PoolSpec {
        &self.spec
    }

    /// Holds units for `ttl`: here, or where there are some. Answered after `wait_max` of the
    /// pool at the latest.
    ///
    /// # Errors
    /// [`PoolError::Stopped`] when the node ends; [`PoolError::TooMany`].
    pub async fn reserve(&self, id: HoldId, units: u64, ttl: Duration) -> Result<Told, PoolError> {
        if units >= NUMBER_MAX {
            return Err(PoolError::TooMany(units));
        }
        self.hold(id, Input::Reserve { id, units, ttl }).await
    }

    /// Makes a hold last until it is confirmed or cancelled. If it is in another region, this
    /// waits until that region answers.
    ///
    /// # Errors
    /// [`PoolError::Stopped`] when the node ends.
    pub async fn pin(&self, id: HoldId) -> Result<Told, PoolError> {
        self.hold(id, Input::Pin { id }).await
    }

    /// The units of a hold are sold. Waits as [`pin`](Self::pin) does.
    ///
    /// # Errors
    /// [`PoolError::Stopped`] when the node ends.
    pub async fn confirm(&self, id: HoldId) -> Result<Told, PoolError> {
        self.hold(id, Input::Confirm { id }).await
    }

    /// The units of a hold are free again. Waits as [`pin`](Self::pin) does.
    ///
    /// # Errors
    /// [`PoolError::Stopped`] when the node ends.
    pub async fn cancel(&self, id: HoldId) -> Result<Told, PoolError> {
        self.hold(id, Input::Cancel { id }).await
    }

    /// A hold of this region lives longer.
    ///
    /// # Errors
    /// [`PoolError::Stopped`] when the node ends.
    pub async fn extend(&self, id: HoldId, by: Duration) -> Result<Told, PoolError> {
        self.hold(id, Input::Extend { id, by }).await
    }

    /// Brings units in, up to `total` in all that were ever brought in here. With fewer than that
    /// nothing changes: units are not taken out.
    ///
    /// # Errors
    /// [`PoolError::Stopped`] when the node ends; [`PoolError::TooMany`].
    ///
    /// # Idempotency
    /// The same total again changes nothing.
    pub async fn restock(&self, total: u64) -> Result<PoolState, PoolError> {
        if total >= NUMBER_MAX {
            return Err(PoolError::TooMany(total));
        }
        self.ask(|reply| Ask::Restock { total, reply }).await
    }

    /// How things stand here.
    ///
    /// # Errors
    /// [`PoolError::Stopped`] when the node ends.
    pub async fn state(&self) -> Result<PoolState, PoolError> {
        self.ask(|reply| Ask::State { reply }).await
    }

    async fn hold(&self, id: HoldId, input: Input) -> Result<Told, PoolError> {
        self.ask(|reply| Ask::Hold { id, input, reply }).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, PoolError> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).await.map_err(|_| PoolError::Stopped)?;
        answer.await.map_err(|_| PoolError::Stopped)
    }
}
