//! A transport that loses messages.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use dtx::{
    error::TransportError,
    ids::TxId,
    store::StateStore,
    transport::{Body, Envelope, PublishResult, Subscribe, Subscription, Transport, TransportInfo},
};

use super::Faults;

/// Loses commands and replies of the orders on their way; nobody is told.
#[derive(Debug)]
pub(crate) struct LossyTransport<S> {
    inner: Arc<dyn Transport>,
    /// Where the order of a transaction is found.
    store: S,
    faults: Arc<Faults>,
}

impl<S: StateStore> LossyTransport<S> {
    pub(crate) fn new(inner: Arc<dyn Transport>, store: S, faults: Arc<Faults>) -> Self {
        Self { inner, store, faults }
    }

    /// A command leaves only after its transaction is durable, so its order can be read.
    async fn learn(&self, messages: &[Envelope]) {
        let Some(orders) = &self.faults.orders else { return };
        let commands = messages.iter().filter(|message| matches!(message.body, Body::Command(_)));
        let unknown: BTreeSet<TxId> =
            commands.map(Envelope::tx).filter(|tx| orders.order(*tx).is_none()).collect();
        let unknown: Vec<TxId> = unknown.into_iter().collect();
        if unknown.is_empty() {
            return;
        }
        match self.store.load(&unknown).await {
            Ok(records) => {
                for record in records.into_iter().flatten() {
                    if let Some(key) = &record.key {
                        orders.learn(record.tx, &key.key);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "orders could not be read; no faults for them"),
        }
    }

    fn is_lost(&self, message: &Envelope) -> bool {
        let Some(order) = self.faults.order(message.tx()) else { return false };
        match &message.body {
            Body::Command(command) => self.faults.loses_command(order, command),
            Body::Reply(reply) => self.faults.loses_reply(order, reply),
            Body::Inquiry(_) | Body::InquiryAnswer(_) => false,
        }
    }
}

#[async_trait]
impl<S: StateStore> Transport for LossyTransport<S> {
    fn info(&self) -> &TransportInfo {
        self.inner.info()
    }

    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        self.learn(messages).await;
        let is_lost: Vec<bool> = messages.iter().map(|message| self.is_lost(message)).collect();
        if !is_lost.contains(&true) {
            return self.inner.publish(messages).await;
        }
        let kept = messages.iter().zip(&is_lost).filter(|(_, is_lost)| !**is_lost);
        let kept: Vec<Envelope> = kept.map(|(message, _)| message.clone()).collect();
        let mut published = self.inner.publish(&kept).await.into_iter();
        let results = is_lost.into_iter().map(|is_lost| {
            if is_lost { Ok(()) } else { published.next().expect("one result per message") }
        });
        results.collect()
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        self.inner.subscribe(subscribe).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.inner.close().await
    }
}
