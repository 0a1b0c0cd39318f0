//! A subscription, as its owner has it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dtx_core::{
    error::{ErrorKind, TransportError},
    transport::{AckToken, Delivery, Envelope, Nack, Subscription},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    error::error,
    hub::{Found, Hub, Place, Taken},
    letters::{Letter, Mover},
    plan::Plan,
    record::Record,
    shared::Shared,
};

/// One subscription of a [`KafkaTransport`](crate::KafkaTransport).
#[derive(Debug)]
pub(crate) struct KafkaSubscription {
    shared: Arc<Shared>,
    mover: Arc<Mover>,
    plan: Plan,
    local_delay_max: Duration,
}

/// A nacked message that goes to another topic.
struct Move {
    place: Place,
    envelope: Envelope,
    attempts: u32,
    delay: Duration,
}

impl KafkaSubscription {
    pub(crate) fn new(
        shared: Arc<Shared>,
        mover: Arc<Mover>,
        plan: Plan,
        local_delay_max: Duration,
    ) -> Self {
        Self { shared, mover, plan, local_delay_max }
    }

    /// Does something with each message that is out, and says whether a token was of another
    /// generation.
    fn for_each(
        &self,
        operation: &'static str,
        tokens: impl Iterator<Item = AckToken>,
        mut settle: impl FnMut(&mut Hub, usize, Place),
    ) -> Result<(), TransportError> {
        let mut hub = self.shared.hub();
        if hub.closed {
            return Err(error(ErrorKind::Closed, operation));
        }
        let mut stale = 0;
        for (index, token) in tokens.enumerate() {
            match hub.find(&token) {
                Found::Out(place) => settle(&mut hub, index, place),
                Found::Settled => {}
                Found::Stale => stale += 1,
            }
        }
        drop(hub);
        self.shared.made_room();
        match stale {
            0 => Ok(()),
            _ => Err(error(ErrorKind::Fenced, operation).with_context(format!(
                "{stale} tokens are of partitions that were assigned to others meanwhile"
            ))),
        }
    }

    /// Writes messages to other topics, and waits until that is done. It goes on when nobody
    /// waits any more.
    async fn move_all(&self, moves: Vec<Move>) {
        let mut tasks = Vec::with_capacity(moves.len());
        for Move { place, envelope, attempts, delay } in moves {
            let (mover, shared) = (Arc::clone(&self.mover), Arc::clone(&self.shared));
            let is_last = self.plan.attempts_max.is_some_and(|max| attempts >= max);
            match &self.plan.retries {
                Some(retries) if !is_last => {
                    let record = Record::of(&envelope, retries.clone(), None);
                    tasks.push(tokio::spawn(async move {
                        mover.retry(&shared, place, record, attempts, delay).await;
                    }));
                }
                _ => {
                    let letter = Letter {
                        record: Record::of(&envelope, mover.dead_letters(), None),
                        reason: format!("it was given back {attempts} times, which is the most"),
                        from: format!("offset {}", place.offset),
                        group: self.plan.group.clone(),
                        attempts,
                    };
                    tracing::warn!(tx = %envelope.tx(), attempts, "a message goes to the dead letters");
                    tasks.push(tokio::spawn(async move {
                        mover.park(&shared, place, letter).await;
                    }));
                }
            }
        }
        for task in tasks {
            // A task neither panics nor is ended by anybody.
            let _ = task.await;
        }
    }
}

#[async_trait]
impl Subscription for KafkaSubscription {
    async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, TransportError> {
        let end = Instant::now().checked_add(wait);
        loop {
            let now = Instant::now();
            let taken = self.shared.hub().deliver(max, now);
            let due = match taken {
                Taken::Some(deliveries) => {
                    self.shared.made_room();
                    return Ok(deliveries);
                }
                Taken::Failed(failure) => return Err(failure),
                Taken::Closed => return Err(error(ErrorKind::Closed, "receive")),
                Taken::None(due) => due,
            };
            if end.is_some_and(|end| now >= end) {
                return Ok(Vec::new());
            }
            match end.into_iter().chain(due).min() {
                // A permit that is left over makes one more look, no more.
                Some(until) => drop(timeout_at(until, self.shared.arrived.notified()).await),
                None => self.shared.arrived.notified().await,
            }
        }
    }

    async fn ack(&mut self, tokens: &[AckToken]) -> Result<(), TransportError> {
        self.for_each("ack", tokens.iter().copied(), |hub, _, place| hub.settle(place))
    }

    /// A delay up to `local_delay_max` is waited for here. For a longer one, and for the last
    /// attempt, the message is written elsewhere first.
    async fn nack(&mut self, nacks: &[Nack]) -> Result<(), TransportError> {
        let now = Instant::now();
        let mut moves = Vec::new();
        let tokens = nacks.iter().map(|nack| nack.token);
        let settled = self.for_each("nack", tokens, |hub, index, place| {
            let delay = nacks[index].delay;
            let attempts = hub.attempt(place);
            let is_last = self.plan.attempts_max.is_some_and(|max| attempts >= max);
            let is_long = delay > self.local_delay_max && self.plan.retries.is_some();
            if !is_last && !is_long {
                return hub.give_back(place, now, delay);
            }
            if let Some(envelope) = hub.begin_move(place) {
                moves.push(Move { place, envelope, attempts, delay });
            }
        });
        self.move_all(moves).await;
        settled
    }

    async fn extend(&mut self, tokens: &[AckToken]) -> Result<(), TransportError> {
        self.for_each("extend", tokens.iter().copied(), |_, _, _| {})
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.shared.close();
        self.shared.wait_for_end().await;
        Ok(())
    }
}

impl Drop for KafkaSubscription {
    fn drop(&mut self) {
        self.shared.close();
    }
}
