//! The transport.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dtx_core::{
    error::{ErrorKind, TransportError},
    pattern::Pattern,
    transport::{
        Envelope, Interest, PublishResult, Subscribe, Subscription, Transport,
        TransportCapabilities, TransportInfo, TransportLimits,
    },
};
use futures_util::future::try_join_all;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    error::{NAME, closed, error, invalid},
    held::Held,
    layout::{self, ensure_consumer},
    link::Link,
    names,
    publish::Publisher,
    pump::{Pump, Shared, deliveries_max},
    settings::NatsSettings,
    subscription::NatsSubscription,
};

/// How long `close` waits for subscriptions to give back what they hold.
const CLOSE: Duration = Duration::from_secs(5);

/// A transport over NATS JetStream. A clone is another handle of the same connection.
#[derive(Clone, Debug)]
pub struct NatsTransport(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    info: TransportInfo,
    reasons: Vec<String>,
    link: Arc<Link>,
    settings: Arc<NatsSettings>,
    publisher: Publisher,
    ends: CancellationToken,
    pumps: TaskTracker,
}

impl NatsTransport {
    /// Connects, and makes the streams or checks those that are there. What an acknowledged
    /// message does not survive is logged as a warning; see
    /// [`durability_reasons`](Self::durability_reasons).
    ///
    /// Afterwards a connection that breaks is made again for as long as the transport is open.
    ///
    /// # Errors
    /// `Invalid` for settings that cannot work, a login or a certificate that is refused, missing
    /// rights, and a stream that is there and would lose messages; `Unavailable` when no server
    /// can be reached; `Unsupported` when JetStream is off or the server is older than 2.9. Each
    /// names the setting.
    pub async fn connect(settings: NatsSettings) -> Result<Self, TransportError> {
        settings.check()?;
        let link = Link::connect(&settings).await?;
        let found = layout::streams(&link, &settings).await?;
        for reason in &found.reasons {
            tracing::warn!(%reason, "what NATS acknowledges may be lost");
        }
        let capabilities = TransportCapabilities {
            durable: found.is_durable,
            // What is published again after a broken connection comes later than what followed.
            ordered_by_transaction: false,
        };
        let limits = TransportLimits {
            batch_messages_max: settings.batch_messages_max,
            body_bytes_max: settings.body_bytes_max,
            ack_wait: Some(settings.ack_wait),
        };
        let settings = Arc::new(settings);
        Ok(Self(Arc::new(Inner {
            info: TransportInfo { name: NAME, capabilities, limits },
            reasons: found.reasons,
            publisher: Publisher::new(Arc::clone(&link), Arc::clone(&settings)),
            link,
            settings,
            ends: CancellationToken::new(),
            pumps: TaskTracker::new(),
        })))
    }

    /// What an acknowledged message does not survive, as far as it can be known, in words. Never
    /// empty: no client sees when the server syncs its files.
    pub fn durability_reasons(&self) -> &[String] {
        &self.0.reasons
    }
}

fn check(subscribe: &Subscribe) -> Result<(), TransportError> {
    let wrong = match &subscribe.interest {
        Interest::Replies(shards) if shards.is_empty() => "no shard is named; give at least 1",
        _ if subscribe.prefetch == 0 => "prefetch is zero; give at least 1",
        _ if !names::is_group(&subscribe.group) => {
            "the group is not 1 to 64 bytes of letters, digits, '-' and '_'"
        }
        _ => return Ok(()),
    };
    Err(invalid("subscribe", wrong))
}

impl Inner {
    async fn subscribe(&self, subscribe: &Subscribe) -> Result<NatsSubscription, TransportError> {
        check(subscribe)?;
        let Subscribe { interest, group, prefetch } = subscribe;
        let patterns = layout::patterns(&self.settings);
        let queues = self.settings.names.queues(interest, group, &patterns);
        let made = queues.iter().map(|queue| ensure_consumer(&self.link, &self.settings, queue));
        try_join_all(made).await?;
        let client = self.link.client();
        let failed = |source| {
            error(ErrorKind::Unavailable, "subscribe")
                .with_context("there is no connection")
                .with_source(source)
        };
        let inbox = client.new_inbox();
        let messages = client.subscribe(format!("{inbox}.*.*")).await.map_err(failed)?;
        let best_effort = match interest {
            Interest::Participant(name) if self.settings.best_effort_dispatch => {
                let subject = self.settings.names.commands(Pattern::FireAndForget, name);
                let group = names::consumer(group, name.as_str());
                Some(client.queue_subscribe(subject, group).await.map_err(failed)?)
            }
            _ => None,
        };
        let held = Held::new(*prefetch, self.settings.ack_wait);
        let shared = Arc::new(Shared::new(held, self.ends.child_token()));
        let pump = Pump::new(
            Arc::clone(&self.link),
            Arc::clone(&self.settings),
            Arc::clone(&shared),
            queues,
            inbox,
            messages,
            best_effort,
            deliveries_max(interest, &self.settings),
        );
        self.pumps.spawn(pump.run());
        Ok(NatsSubscription::new(Arc::clone(&self.link), Arc::clone(&self.settings), shared))
    }
}

#[async_trait]
impl Transport for NatsTransport {
    fn info(&self) -> &TransportInfo {
        &self.0.info
    }

    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        if self.0.ends.is_cancelled() {
            return messages.iter().map(|_| Err(closed("publish"))).collect();
        }
        self.0.publisher.publish(messages).await
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        if self.0.ends.is_cancelled() {
            return Err(closed("subscribe"));
        }
        Ok(Box::new(self.0.subscribe(subscribe).await?))
    }

    /// Waits up to 5 s for subscriptions to give back what they hold.
    async fn close(&self) -> Result<(), TransportError> {
        self.0.ends.cancel();
        self.0.pumps.close();
        if timeout(CLOSE, self.0.pumps.wait()).await.is_err() {
            tracing::warn!("subscriptions did not end in time; what they hold comes again");
        }
        Ok(())
    }
}
