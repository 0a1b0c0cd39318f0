//! A transport whose subscriptions are looked after.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dtx_core::{
    error::{ErrorKind, TransportError},
    transport::{
        AckToken, Delivery, Envelope, Nack, PublishResult, Subscribe, Subscription, Transport,
        TransportInfo,
    },
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    registry::{Registry, Slot},
    settings::SubscriptionSettings,
};

/// A transport whose subscriptions are looked after: each has a time to live, which every use of
/// it renews. What nobody has used for so long is closed, so that its messages go to the others of
/// its group, and its owner gets `ErrorKind::Closed` if it comes back. A subscription that is read
/// and gets nothing stays.
///
/// A coordinator does this to its transport by itself. Hosts that are started alone, and whoever
/// subscribes directly, can do it with this.
#[derive(Debug)]
pub struct ManagedTransport {
    inner: Arc<dyn Transport>,
    info: TransportInfo,
    registry: Arc<Registry>,
    _collector: AbortOnDropHandle<()>,
}

impl ManagedTransport {
    /// Looks after the subscriptions that are made through it from now on.
    ///
    /// Its `ack_wait` is the time to live where the transport has none or a longer one: who holds
    /// messages and does not receive meanwhile must extend them as often as that.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its timers.
    pub fn new(inner: Arc<dyn Transport>, settings: &SubscriptionSettings) -> Self {
        let mut info = inner.info().clone();
        let SubscriptionSettings { ttl, interval } = *settings;
        info.limits.ack_wait = Some(info.limits.ack_wait.map_or(ttl, |wait| wait.min(ttl)));
        let registry = Arc::new(Registry::default());
        let collector = tokio::spawn(collect(registry.clone(), ttl, interval));
        Self { inner, info, registry, _collector: AbortOnDropHandle::new(collector) }
    }

    /// How many subscriptions are open.
    pub fn subscriptions(&self) -> usize {
        self.registry.count()
    }

    /// Closes all subscriptions that nobody is just using. The transport stays open.
    ///
    /// Idempotent.
    ///
    /// # Cancel safety
    /// Cancel safe: what was not closed yet stays open.
    pub async fn close_subscriptions(&self) {
        self.registry.close_all().await;
    }
}

async fn collect(registry: Arc<Registry>, ttl: Duration, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        registry.collect(ttl).await;
    }
}

#[async_trait]
impl Transport for ManagedTransport {
    fn info(&self) -> &TransportInfo {
        &self.info
    }

    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        self.inner.publish(messages).await
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        let subscription = self.inner.subscribe(subscribe).await?;
        let (id, slot) = self.registry.add(subscription);
        let (registry, name) = (self.registry.clone(), self.info.name);
        Ok(Box::new(Managed { id, slot, registry, name }))
    }

    async fn close(&self) -> Result<(), TransportError> {
        let closed = self.inner.close().await;
        self.registry.close_all().await;
        closed
    }
}

/// What the owner of a subscription has.
#[derive(Debug)]
struct Managed {
    id: u64,
    slot: Arc<Slot>,
    registry: Arc<Registry>,
    name: &'static str,
}

/// Evaluates a call with the subscription, which is in use for as long.
macro_rules! using {
    ($self:ident, $operation:literal, $subscription:ident => $call:expr) => {{
        $self.slot.touch();
        let mut used = $self.slot.subscription.lock().await;
        let Some($subscription) = used.as_mut() else {
            return Err(TransportError::new(ErrorKind::Closed, $self.name, $operation)
                .with_context("nobody has read it for its time to live"));
        };
        let result = $call.await;
        $self.slot.touch();
        result
    }};
}

#[async_trait]
impl Subscription for Managed {
    async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, TransportError> {
        using!(self, "receive", subscription => subscription.receive(max, wait))
    }

    async fn ack(&mut self, tokens: &[AckToken]) -> Result<(), TransportError> {
        using!(self, "ack", subscription => subscription.ack(tokens))
    }

    async fn nack(&mut self, nacks: &[Nack]) -> Result<(), TransportError> {
        using!(self, "nack", subscription => subscription.nack(nacks))
    }

    async fn extend(&mut self, tokens: &[AckToken]) -> Result<(), TransportError> {
        using!(self, "extend", subscription => subscription.extend(tokens))
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.registry.remove(self.id);
        match self.slot.subscription.lock().await.as_mut() {
            Some(subscription) => subscription.close().await,
            None => Ok(()),
        }
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        self.registry.remove(self.id);
    }
}
