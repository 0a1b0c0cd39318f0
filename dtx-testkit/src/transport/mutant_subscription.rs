//! The subscriptions of mutant transports.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use dtx_core::{
    error::{ErrorKind, TransportError},
    transport::{AckToken, Delivery, Nack, Subscription},
};
use tokio::time::Instant;

use super::{
    messages::tokens,
    mutant::{Fault, is_unreadable},
};

#[derive(Debug)]
pub(super) struct MutantSubscription {
    inner: Box<dyn Subscription>,
    fault: Fault,
    out: HashSet<AckToken>,
    closed: bool,
    stopped: bool,
}

impl MutantSubscription {
    pub(super) fn new(inner: Box<dyn Subscription>, fault: Fault) -> Self {
        Self { inner, fault, out: HashSet::new(), closed: false, stopped: false }
    }

    /// Waits until it has `max` messages or the wait is over.
    async fn receive_all(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, TransportError> {
        let end = Instant::now() + wait;
        let mut all = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            all.extend(self.inner.receive(max - all.len(), left).await?);
            if all.len() >= max || left.is_zero() {
                return Ok(all);
            }
        }
    }

    /// Puts aside what stands for something that nobody can read.
    async fn put_aside(&mut self, deliveries: &mut Vec<Delivery>) -> Result<(), TransportError> {
        let (unreadable, readable): (Vec<_>, Vec<_>) =
            std::mem::take(deliveries).into_iter().partition(|d| is_unreadable(&d.envelope));
        if unreadable.is_empty() {
            *deliveries = readable;
        } else if self.fault == Fault::StopsAtTheUnreadable {
            self.stopped = true;
        } else {
            *deliveries = readable;
            self.inner.ack(&tokens(&unreadable)).await?;
        }
        Ok(())
    }

    async fn repeat(&mut self) -> Result<(), TransportError> {
        let nack = |token| Nack { token, delay: Duration::ZERO };
        let nacks: Vec<Nack> = self.out.drain().map(nack).collect();
        self.inner.nack(&nacks).await
    }
}

#[async_trait]
impl Subscription for MutantSubscription {
    async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, TransportError> {
        if self.stopped {
            tokio::time::sleep(wait).await;
            return Ok(Vec::new());
        }
        let mut deliveries = match self.fault {
            Fault::ReturnsTooMany => self.inner.receive(max * 2, wait).await?,
            Fault::WaitsForMore => self.receive_all(max, wait).await?,
            Fault::DoesNotWait => self.inner.receive(max, Duration::ZERO).await?,
            Fault::RepeatsAtOnce if !self.out.is_empty() => {
                self.repeat().await?;
                self.inner.receive(max, wait).await?
            }
            _ => self.inner.receive(max, wait).await?,
        };
        self.put_aside(&mut deliveries).await?;
        match self.fault {
            Fault::AcksOnReceive => self.inner.ack(&tokens(&deliveries)).await?,
            Fault::LosesOnDroppedReceive => {
                // Settled before they are returned: a caller that goes away here loses them.
                self.inner.ack(&tokens(&deliveries)).await?;
                tokio::task::yield_now().await;
            }
            Fault::ForgetsTheAttempt => deliveries.iter_mut().for_each(|d| d.attempt = 1),
            _ => {}
        }
        self.out.extend(tokens(&deliveries));
        Ok(deliveries)
    }

    async fn ack(&mut self, tokens: &[AckToken]) -> Result<(), TransportError> {
        match self.fault {
            Fault::IgnoresAck => return Ok(()),
            Fault::RefusesAnEmptyAck if tokens.is_empty() => return Err(self.fault.error()),
            _ => {}
        }
        let mut again = false;
        for token in tokens {
            again |= !self.out.remove(token);
        }
        if again && self.fault == Fault::RefusesASecondAck {
            return Err(self.fault.error());
        }
        match self.inner.ack(tokens).await {
            Err(error) if self.accepts(&error) => Ok(()),
            result => result,
        }
    }

    async fn nack(&mut self, nacks: &[Nack]) -> Result<(), TransportError> {
        let mut nacks = nacks.to_vec();
        match self.fault {
            Fault::IgnoresNack => return Ok(()),
            Fault::IgnoresTheDelay => nacks.iter_mut().for_each(|n| n.delay = Duration::ZERO),
            _ => {}
        }
        for nack in &nacks {
            self.out.remove(&nack.token);
        }
        match self.inner.nack(&nacks).await {
            Err(error) if self.accepts(&error) => Ok(()),
            result => result,
        }
    }

    async fn extend(&mut self, tokens: &[AckToken]) -> Result<(), TransportError> {
        match self.fault {
            Fault::IgnoresExtend => return Ok(()),
            Fault::AcksOnExtend => return self.inner.ack(tokens).await,
            Fault::RefusesALateExtend if tokens.iter().any(|token| !self.out.contains(token)) => {
                return Err(self.fault.error());
            }
            _ => {}
        }
        match self.inner.extend(tokens).await {
            Err(error) if self.accepts(&error) => Ok(()),
            result => result,
        }
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        match self.fault {
            Fault::IgnoresCloseOfSubscription => return Ok(()),
            Fault::RefusesASecondClose if self.closed => return Err(self.fault.error()),
            _ => {}
        }
        self.closed = true;
        self.inner.close().await
    }
}

impl MutantSubscription {
    fn accepts(&self, error: &TransportError) -> bool {
        self.fault == Fault::AcceptsStaleTokens && error.kind() == ErrorKind::Fenced
    }
}
