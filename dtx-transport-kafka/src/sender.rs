//! The clients that produce: one at a time. One that has met an error which ends it, such as a
//! broker that counts its messages otherwise, is replaced.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dtx_core::error::{ErrorKind, TransportError};
use rdkafka::{
    ClientContext,
    config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer},
    statistics::Statistics,
    util::Timeout,
};

use crate::{
    client::{self, LastError},
    error::{error, of_call, of_code, of_message},
    producer::{InBatch, KafkaStats},
};

/// A client that ends sooner than this after it was made is not replaced before: what ended it
/// would end the next one as well.
const AGE_MIN: Duration = Duration::from_secs(1);

/// What all clients of a transport have published.
#[derive(Debug, Default)]
struct Counters {
    messages: AtomicU64,
    requests: AtomicU64,
}

pub(crate) struct Context {
    last_error: Arc<LastError>,
    counters: Arc<Counters>,
    /// How many requests this client has counted.
    requests: AtomicU64,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        client::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, _reason: &str) {
        self.last_error.note(&error);
    }

    fn stats(&self, statistics: Statistics) {
        let requests = |broker: &rdkafka::statistics::Broker| broker.req.get("Produce").copied();
        let all: i64 = statistics.brokers.values().filter_map(requests).sum();
        let all = u64::try_from(all).unwrap_or_default();
        let before = self.requests.swap(all, Ordering::Relaxed);
        self.counters.requests.fetch_add(all.saturating_sub(before), Ordering::Relaxed);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<InBatch>;

    fn delivery(&self, result: &DeliveryResult<'_>, message: Box<InBatch>) {
        message.settle(match result {
            Ok(_) => {
                self.counters.messages.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err((error, _)) => Err(of_message(error)),
        });
    }
}

/// One client.
pub(crate) struct Sender {
    client: Option<ThreadedProducer<Context>>,
    made: Instant,
    /// How long it answers for what it has taken.
    delivery_timeout: Duration,
}

impl Sender {
    /// The client, until it ends.
    pub(crate) fn client(&self) -> Option<&ThreadedProducer<Context>> {
        self.client.as_ref()
    }

    /// What ended it, so that it takes nothing more.
    pub(crate) fn ended_by(&self) -> Option<RDKafkaErrorCode> {
        self.client.as_ref()?.client().fatal_error().map(|(code, _)| code)
    }

    /// Gives up what it holds, which may have been sent: the effect is unknown. Does not block;
    /// what a thread of the client puts back at this moment needs another call.
    pub(crate) fn give_up(&self) {
        if let Some(client) = &self.client {
            client.purge(PurgeConfig::default().queue().inflight().non_blocking());
        }
    }
}

impl Drop for Sender {
    /// On a thread of its own: that waits for the client's threads, and, where the client was
    /// replaced, until it has answered for all that it was given.
    fn drop(&mut self) {
        let (client, timeout) = (self.client.take(), self.delivery_timeout);
        let Some(client) = client else { return };
        client::apart("dtx-kafka-producer-end", move || {
            if client.client().fatal_error().is_some() {
                client.purge(PurgeConfig::default().queue().inflight());
                if let Err(error) = client.flush(Timeout::After(timeout)) {
                    tracing::warn!(%error, "a producer that was replaced has open messages");
                }
            }
            drop(client);
        });
    }
}

/// The client of now, and what makes the next one.
pub(crate) struct Line {
    config: ClientConfig,
    last_error: Arc<LastError>,
    delivery_timeout: Duration,
    counters: Arc<Counters>,
    current: Mutex<Arc<Sender>>,
    /// Held by whoever makes the next one.
    replacing: tokio::sync::Mutex<()>,
}

impl Line {
    /// Makes the first client. Blocks shortly.
    pub(crate) fn new(
        config: ClientConfig,
        last_error: Arc<LastError>,
        delivery_timeout: Duration,
    ) -> Result<Self, TransportError> {
        let counters = Arc::new(Counters::default());
        let sender = make(&config, &last_error, &counters, delivery_timeout, "connect")?;
        let (current, replacing) = (Mutex::new(Arc::new(sender)), tokio::sync::Mutex::new(()));
        Ok(Self { config, last_error, delivery_timeout, counters, current, replacing })
    }

    pub(crate) fn stats(&self) -> KafkaStats {
        KafkaStats {
            messages: self.counters.messages.load(Ordering::Relaxed),
            produce_requests: self.counters.requests.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Sender>> {
        // Nothing panics in the middle of a change.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client of now.
    pub(crate) fn current(&self) -> Arc<Sender> {
        Arc::clone(&self.lock())
    }

    /// Puts another client into the place of one that has ended, unless somebody else did.
    ///
    /// Cancel safe: another caller replaces it then.
    ///
    /// # Errors
    /// What ended the client, when that was soon after it was made.
    pub(crate) async fn replace(&self, ended: &Arc<Sender>) -> Result<(), TransportError> {
        let _only_one = self.replacing.lock().await;
        if !Arc::ptr_eq(ended, &self.current()) {
            return Ok(());
        }
        let code = ended.ended_by().unwrap_or(RDKafkaErrorCode::Fatal);
        if ended.made.elapsed() < AGE_MIN {
            return Err(of_code(code, "publish", "the producer has ended again"));
        }
        tracing::warn!(?code, "the producer has ended, and is replaced");
        let (config, last_error) = (self.config.clone(), Arc::clone(&self.last_error));
        let (counters, timeout) = (Arc::clone(&self.counters), self.delivery_timeout);
        let makes = move || make(&config, &last_error, &counters, timeout, "publish");
        let made = tokio::task::spawn_blocking(makes).await;
        let made = made.map_err(|_| error(ErrorKind::Internal, "publish"))??;
        *self.lock() = Arc::new(made);
        Ok(())
    }
}

fn make(
    config: &ClientConfig,
    last_error: &Arc<LastError>,
    counters: &Arc<Counters>,
    delivery_timeout: Duration,
    operation: &'static str,
) -> Result<Sender, TransportError> {
    let (last_error, counters) = (Arc::clone(last_error), Arc::clone(counters));
    let context = Context { last_error, counters, requests: AtomicU64::new(0) };
    let client = ThreadedProducer::from_config_and_context(config, context);
    let client = client.map_err(|error| of_call(&error, operation))?;
    Ok(Sender { client: Some(client), made: Instant::now(), delivery_timeout })
}
