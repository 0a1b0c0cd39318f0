//! A subscription.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dtx_core::{
    error::{ErrorKind, TransportError},
    transport::{AckToken, Delivery, Nack, Subscription},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{
    hub::{Stale, SubscriberId, Taken, Wakes},
    transport::{Shared, error},
};

/// A subscription of the in-memory transport.
#[derive(Debug)]
pub(crate) struct InMemorySubscription {
    shared: Arc<Shared>,
    id: SubscriberId,
    generation: u64,
    notify: Arc<Notify>,
    closed: bool,
}

/// A wait in `receive`. If it is dropped half-way, what it may have been woken for goes to
/// another subscription of the group.
struct Waiting<'a> {
    shared: &'a Shared,
    id: SubscriberId,
    over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.over {
            let mut wakes = Wakes::default();
            self.shared.hub().give_up(self.id, &mut wakes);
            wakes.send();
        }
    }
}

impl InMemorySubscription {
    pub(crate) fn new(
        shared: Arc<Shared>,
        id: SubscriberId,
        generation: u64,
        notify: Arc<Notify>,
    ) -> Self {
        Self { shared, id, generation, notify, closed: false }
    }

    fn take(&self, max: usize, now: Instant, wait: bool) -> Taken {
        if self.closed {
            return Taken::Closed;
        }
        let mut wakes = Wakes::default();
        let taken = self.shared.hub().take(self.id, max, now, wait, &mut wakes);
        wakes.send();
        taken
    }

    /// Waits until there may be something to take.
    async fn wait(&self, until: Option<Instant>) {
        let mut waiting = Waiting { shared: &self.shared, id: self.id, over: false };
        let notified = self.notify.notified();
        match until {
            // What the time-out says does not matter: the caller looks either way.
            Some(until) => drop(timeout_at(until, notified).await),
            None => notified.await,
        }
        waiting.over = true;
    }

    fn settle(
        &self,
        operation: &'static str,
        settle: impl FnOnce(&mut Wakes) -> Option<Stale>,
    ) -> Result<(), TransportError> {
        if self.closed {
            return Err(error(ErrorKind::Closed, operation));
        }
        let mut wakes = Wakes::default();
        let stale = settle(&mut wakes);
        wakes.send();
        match stale {
            None => Err(error(ErrorKind::Closed, operation)),
            Some(Stale(0)) => Ok(()),
            Some(Stale(count)) => {
                let own = self.generation;
                Err(error(ErrorKind::Fenced, operation)
                    .with_context(format!("{count} tokens are not of generation {own}")))
            }
        }
    }

    fn end(&mut self) {
        if !self.closed {
            self.closed = true;
            let mut wakes = Wakes::default();
            self.shared.hub().unsubscribe(self.id, &mut wakes);
            wakes.send();
        }
    }
}

#[async_trait]
impl Subscription for InMemorySubscription {
    async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, TransportError> {
        let mut now = Instant::now();
        let until = now.checked_add(wait);
        loop {
            let in_time = max > 0 && until.is_none_or(|until| now < until);
            // Nothing is awaited between taking messages and returning them.
            match self.take(max, now, in_time) {
                Taken::Some(deliveries) => return Ok(deliveries),
                Taken::Closed => return Err(error(ErrorKind::Closed, "receive")),
                Taken::None(_) if !in_time => return Ok(Vec::new()),
                Taken::None(due) => self.wait(until.into_iter().chain(due).min()).await,
            }
            now = Instant::now();
        }
    }

    async fn ack(&mut self, tokens: &[AckToken]) -> Result<(), TransportError> {
        self.settle("ack", |_| {
            let mut hub = self.shared.hub();
            (!hub.closed).then(|| hub.ack(self.id, tokens))
        })
    }

    async fn nack(&mut self, nacks: &[Nack]) -> Result<(), TransportError> {
        let now = Instant::now();
        self.settle("nack", |wakes| {
            let mut hub = self.shared.hub();
            (!hub.closed).then(|| hub.nack(self.id, nacks, now, wakes))
        })
    }

    async fn extend(&mut self, tokens: &[AckToken]) -> Result<(), TransportError> {
        let now = Instant::now();
        self.settle("extend", |_| {
            let mut hub = self.shared.hub();
            (!hub.closed).then(|| hub.extend(self.id, tokens, now))
        })
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.end();
        Ok(())
    }
}

impl Drop for InMemorySubscription {
    fn drop(&mut self) {
        self.end();
    }
}
