//! The transport.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use dtx_core::{
    error::{ErrorKind, TransportError},
    transport::{
        Address, Envelope, Interest, PublishResult, Subscribe, Subscription, Transport,
        TransportInfo,
    },
};
use tokio::sync::Notify;

use crate::{
    hub::{Hub, Wakes},
    settings::{Builder, NAME, PREFETCH_MAX},
    subscription::InMemorySubscription,
};

/// A transport inside one process. A clone is another handle of the same transport.
#[derive(Clone)]
pub struct InMemoryTransport(Arc<Shared>);

/// What handles and subscriptions share.
pub(crate) struct Shared {
    info: TransportInfo,
    hub: Mutex<Hub>,
}

impl Shared {
    /// The state. Held for one batch and never across an await.
    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        // Nothing panics in the middle of a change, so a poisoned state is still whole.
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("info", &self.info).finish_non_exhaustive()
    }
}

impl fmt::Debug for InMemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryTransport").field("info", &self.0.info).finish_non_exhaustive()
    }
}

pub(crate) fn error(kind: ErrorKind, operation: &'static str) -> TransportError {
    TransportError::new(kind, NAME, operation)
}

impl Default for InMemoryTransport {
    fn default() -> Self {
        Self::with(Builder::default())
    }
}

impl InMemoryTransport {
    /// A transport with the default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder with the default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn with(settings: Builder) -> Self {
        let info = settings.info();
        Self(Arc::new(Shared { info, hub: Mutex::new(Hub::new(settings)) }))
    }

    /// Why a message cannot be published, whenever it is tried.
    fn refusal(&self, message: &Envelope) -> Option<TransportError> {
        let (bytes, max) = (message.body_bytes(), self.0.info.limits.body_bytes_max);
        (bytes > max).then(|| {
            error(ErrorKind::Invalid, "publish")
                .with_context(format!("the body has {bytes} bytes; {max} are the most"))
        })
    }
}

/// The addresses of an interest, each once.
fn addresses(interest: &Interest) -> Vec<Address> {
    match interest {
        Interest::Participant(name) => vec![Address::Participant(name.clone())],
        Interest::Replies(shards) => {
            let mut shards = shards.clone();
            shards.sort_unstable();
            shards.dedup();
            shards.into_iter().map(Address::Replies).collect()
        }
        Interest::Inquiries => vec![Address::Inquiries],
        Interest::InquiryAnswers(host) => vec![Address::InquiryAnswers(*host)],
    }
}

#[async_trait]
impl Transport for InMemoryTransport {
    fn info(&self) -> &TransportInfo {
        &self.0.info
    }

    /// Places the batch under one lock. A full queue holds up its own messages only; those of
    /// the batch that go elsewhere are placed at once.
    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        let max = self.0.info.limits.batch_messages_max;
        if messages.len() > max {
            let refuse = || {
                let count = messages.len();
                error(ErrorKind::Invalid, "publish")
                    .with_context(format!("{count} messages in a batch; {max} are the most"))
            };
            return messages.iter().map(|_| Err(refuse())).collect();
        }
        let mut results = Vec::with_capacity(messages.len());
        let mut left = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            match self.refusal(message) {
                None => {
                    left.push((index, message.clone()));
                    results.push(Ok(()));
                }
                Some(refusal) => results.push(Err(refusal)),
            }
        }
        let mut room: Option<Arc<Notify>> = None;
        while !left.is_empty() {
            let mut wakes = Wakes::default();
            {
                let mut hub = self.0.hub();
                if hub.closed {
                    for (index, _) in left {
                        results[index] = Err(error(ErrorKind::Closed, "publish"));
                    }
                    return results;
                }
                left = hub.place(left, &mut room, &mut wakes);
            }
            wakes.send();
            if !left.is_empty()
                && let Some(room) = &room
            {
                room.notified().await;
            }
        }
        results
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        let addresses = addresses(&subscribe.interest);
        let invalid = |context: &str| {
            Err(error(ErrorKind::Invalid, "subscribe").with_context(context.to_owned()))
        };
        if addresses.is_empty() {
            return invalid("no shard is named; give at least 1");
        }
        if subscribe.group.is_empty() {
            return invalid("the group has no name");
        }
        if !(1..=PREFETCH_MAX).contains(&subscribe.prefetch) {
            return invalid("prefetch is not from 1 to 1048576");
        }
        let notify = Arc::new(Notify::new());
        let mut hub = self.0.hub();
        if hub.closed {
            return Err(error(ErrorKind::Closed, "subscribe"));
        }
        let (id, generation) =
            hub.subscribe(addresses, &subscribe.group, subscribe.prefetch, Arc::clone(&notify));
        drop(hub);
        let shared = Arc::clone(&self.0);
        Ok(Box::new(InMemorySubscription::new(shared, id, generation, notify)))
    }

    async fn close(&self) -> Result<(), TransportError> {
        let mut wakes = Wakes::default();
        self.0.hub().close(&mut wakes);
        wakes.send();
        Ok(())
    }
}
