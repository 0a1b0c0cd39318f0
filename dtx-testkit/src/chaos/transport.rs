//! Faults around a transport.

use std::sync::Arc;

use async_trait::async_trait;
use dtx_core::{
    error::{ErrorKind, TransportError},
    transport::{Body, Envelope, PublishResult, Subscribe, Subscription, Transport, TransportInfo},
};

use super::{Chaos, layer::Strike};

const NAME: &str = "chaos";

/// A transport that refuses, is slow, and loses messages, as often as the knobs say. Each
/// participant has a link of its own in each direction. What a cut link loses is lost without a
/// word, unless the transport promised that what it took is durable.
#[derive(Clone, Debug)]
pub struct ChaosTransport {
    pub(super) inner: Arc<dyn Transport>,
    pub(super) chaos: Chaos,
}

/// Over which link a message goes.
fn link(envelope: &Envelope) -> String {
    match &envelope.body {
        Body::Command(command) => format!("to {}", command.participant),
        Body::Reply(reply) => format!("from {}", reply.participant),
        Body::Inquiry(inquiry) => format!("from {}", inquiry.participant),
        Body::InquiryAnswer(answer) => format!("to {}", answer.participant),
    }
}

impl ChaosTransport {
    fn refused(&self, strike: Strike) -> PublishResult {
        let kind = match strike {
            Strike::None => return Ok(()),
            Strike::TimeOut { .. } => ErrorKind::Timeout,
            Strike::Cut if !self.inner.info().capabilities.durable => return Ok(()),
            Strike::Fail | Strike::Cut => ErrorKind::Unavailable,
        };
        Err(TransportError::new(kind, NAME, "publish"))
    }

    /// Publishes what arrives after all when nobody waits for it any more.
    fn publish_late(&self, late: Vec<Envelope>) {
        if late.is_empty() {
            return;
        }
        let (inner, after) = (self.inner.clone(), self.chaos.timeout());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            drop(inner.publish(&late).await);
        });
    }
}

#[async_trait]
impl Transport for ChaosTransport {
    fn info(&self) -> &TransportInfo {
        self.inner.info()
    }

    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        self.chaos.delay().await;
        let strikes: Vec<Strike> =
            messages.iter().map(|message| self.chaos.draw(&link(message))).collect();
        let those = |wanted: Strike| {
            let chosen = messages.iter().zip(&strikes).filter(move |(_, of)| **of == wanted);
            chosen.map(|(message, _)| message.clone()).collect::<Vec<_>>()
        };
        self.publish_late(those(Strike::TimeOut { lands: true }));
        let mut published = self.inner.publish(&those(Strike::None)).await.into_iter();
        let results = strikes.iter().map(|strike| match strike {
            Strike::None => published.next().expect("one result per message"),
            strike => self.refused(*strike),
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
