//! Produces batches: one loop over the messages, one wait for all of them.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dtx_core::{
    error::{Effect, ErrorKind, TransportError},
    transport::PublishResult,
};
use rdkafka::{
    ClientContext,
    config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
    statistics::Statistics,
    util::Timeout,
};
use tokio::sync::oneshot;

use crate::{
    client::{self, LastError},
    error::{error, of_call, of_message},
    record::Record,
};

/// How long to wait for room when the client holds as many messages as it can.
const ROOM: Duration = Duration::from_millis(5);

/// What was published, as the client counts it. See
/// [`KafkaTransport::stats`](crate::KafkaTransport::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KafkaStats {
    /// Messages that the brokers have confirmed.
    pub messages: u64,
    /// Requests that carried them, up to some seconds ago.
    pub produce_requests: u64,
}

/// The messages of one call that are not yet confirmed.
struct Batch {
    state: Mutex<BatchState>,
}

struct BatchState {
    results: Vec<Option<PublishResult>>,
    left: usize,
    done: Option<oneshot::Sender<Vec<PublishResult>>>,
}

impl Batch {
    fn new(count: usize, done: oneshot::Sender<Vec<PublishResult>>) -> Self {
        let results = (0..count).map(|_| None).collect();
        Self { state: Mutex::new(BatchState { results, left: count, done: Some(done) }) }
    }

    fn settle(&self, index: usize, result: PublishResult) {
        // Nothing panics in the middle of a change.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = state.results.get_mut(index).filter(|place| place.is_none()) else {
            return;
        };
        *place = Some(result);
        state.left -= 1;
        if state.left > 0 {
            return;
        }
        let results = std::mem::take(&mut state.results).into_iter().flatten().collect();
        if let Some(done) = state.done.take() {
            // Whoever published may have stopped waiting.
            let _ = done.send(results);
        }
    }
}

/// One message of a batch.
pub(crate) struct InBatch {
    batch: Arc<Batch>,
    index: usize,
}

#[derive(Default)]
struct Counters {
    messages: AtomicU64,
    requests: AtomicU64,
}

struct Context {
    last_error: Arc<LastError>,
    counters: Arc<Counters>,
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
        self.counters.requests.store(u64::try_from(all).unwrap_or_default(), Ordering::Relaxed);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<InBatch>;

    fn delivery(&self, result: &DeliveryResult<'_>, message: Box<InBatch>) {
        let result = match result {
            Ok(_) => {
                self.counters.messages.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err((error, _)) => Err(of_message(error)),
        };
        message.batch.settle(message.index, result);
    }
}

/// The producer of a transport.
pub(crate) struct Producer {
    /// Dropped on a thread of its own: that waits for the client's threads.
    client: Option<ThreadedProducer<Context>>,
    counters: Arc<Counters>,
    message_bytes_max: usize,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Producer {
    /// Makes the client; nothing is sent. Blocks shortly.
    pub(crate) fn new(
        config: &ClientConfig,
        last_error: Arc<LastError>,
        message_bytes_max: usize,
    ) -> Result<Self, TransportError> {
        let counters = Arc::new(Counters::default());
        let context = Context { last_error, counters: Arc::clone(&counters) };
        let client = ThreadedProducer::from_config_and_context(config, context);
        let client = client.map_err(|error| of_call(&error, "connect"))?;
        Ok(Self { client: Some(client), counters, message_bytes_max })
    }

    pub(crate) fn stats(&self) -> KafkaStats {
        KafkaStats {
            messages: self.counters.messages.load(Ordering::Relaxed),
            produce_requests: self.counters.requests.load(Ordering::Relaxed),
        }
    }

    /// Whether a broker answers within this time. Blocks.
    pub(crate) fn answers(&self, within: Duration) -> bool {
        let client = self.client.as_ref();
        client.is_some_and(|client| client.client().fetch_cluster_id(within).is_some())
    }

    /// Produces all of them and waits until each is confirmed or given up. One that is too large
    /// is refused here; the others go on.
    ///
    /// Cancel safe: what was handed to the client goes on.
    pub(crate) async fn produce(&self, records: &[Record]) -> Vec<PublishResult> {
        if records.is_empty() {
            return Vec::new();
        }
        let (done, all) = oneshot::channel();
        let batch = Arc::new(Batch::new(records.len(), done));
        for (index, record) in records.iter().enumerate() {
            let message = InBatch { batch: Arc::clone(&batch), index };
            if let Err(error) = self.send(record, message).await {
                batch.settle(index, Err(error));
            }
        }
        // The client answers for everything that it took, so the batch ends.
        let lost = || Err(error(ErrorKind::Internal, "publish"));
        all.await.unwrap_or_else(|_| records.iter().map(|_| lost()).collect())
    }

    /// Hands a message to the client. Waits only while the client is full.
    async fn send(&self, record: &Record, message: InBatch) -> Result<(), TransportError> {
        let (bytes, max) = (record.bytes(), self.message_bytes_max);
        if bytes > max {
            return Err(of_message(&KafkaError::MessageProduction(
                RDKafkaErrorCode::MessageSizeTooLarge,
            )));
        }
        let Some(client) = &self.client else { return Err(error(ErrorKind::Closed, "publish")) };
        let mut message = Box::new(message);
        loop {
            let mut base: BaseRecord<'_, [u8], [u8], _> =
                BaseRecord::with_opaque_to(&record.topic, message)
                    .payload(&record.body[..])
                    .headers(record.owned_headers());
            base.partition = record.partition;
            base.key = record.key.as_deref();
            let Err((refused, base)) = client.send(base) else { return Ok(()) };
            if refused.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(of_message(&refused).with_effect(Effect::None));
            }
            message = base.delivery_opaque;
            tokio::time::sleep(ROOM).await;
        }
    }

    /// Waits until nothing is on its way. Blocks.
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), TransportError> {
        let Some(client) = &self.client else { return Ok(()) };
        client.flush(Timeout::After(timeout)).map_err(|error| of_call(&error, "close"))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let client = self.client.take();
        client::drop_apart("dtx-kafka-producer-end", client);
    }
}
