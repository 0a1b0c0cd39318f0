//! Produces batches: one loop over the messages, one wait for all of them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dtx_core::{
    error::{Effect, ErrorKind, TransportError},
    transport::PublishResult,
};
use rdkafka::{
    config::ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, Producer as _},
    util::Timeout,
};
use tokio::{
    sync::oneshot::{self, error::RecvError},
    time::timeout,
};

use crate::{
    client::LastError,
    error::{error, of_call, of_message},
    record::Record,
    sender::{Line, Sender},
};

/// How long to wait for room when the client holds as many messages as it can.
const ROOM: Duration = Duration::from_millis(5);

/// How long messages are waited for until it is looked whether their client has ended.
const LOOK: Duration = Duration::from_millis(100);

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

impl InBatch {
    pub(crate) fn settle(&self, result: PublishResult) {
        self.batch.settle(self.index, result);
    }
}

/// The producer of a transport: one client for all partitions. While a broker handles a request
/// of its connection, messages of the other partitions gather, which makes the next requests
/// fuller. Two clients side by side made a third more requests, and took more of the processor.
pub(crate) struct Producer {
    line: Line,
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
        config: ClientConfig,
        last_error: Arc<LastError>,
        message_bytes_max: usize,
        delivery_timeout: Duration,
    ) -> Result<Self, TransportError> {
        let line = Line::new(config, last_error, delivery_timeout)?;
        Ok(Self { line, message_bytes_max })
    }

    pub(crate) fn stats(&self) -> KafkaStats {
        self.line.stats()
    }

    /// Whether a broker answers within this time. Blocks.
    pub(crate) fn answers(&self, within: Duration) -> bool {
        let sender = self.line.current();
        sender.client().is_some_and(|client| client.client().fetch_cluster_id(within).is_some())
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
        self.settled(all).await.unwrap_or_else(|_| records.iter().map(|_| lost()).collect())
    }

    /// Waits for a batch. A client that has ended sends nothing more, and would hold what it has
    /// until its delivery time-out.
    async fn settled(
        &self,
        mut all: oneshot::Receiver<Vec<PublishResult>>,
    ) -> Result<Vec<PublishResult>, RecvError> {
        let sender = self.line.current();
        loop {
            if let Ok(results) = timeout(LOOK, &mut all).await {
                return results;
            }
            if sender.ended_by().is_some() {
                sender.give_up();
            }
        }
    }

    /// Hands a message to the client. Waits only while the client is full, or is replaced.
    async fn send(&self, record: &Record, message: InBatch) -> Result<(), TransportError> {
        let (bytes, max) = (record.bytes(), self.message_bytes_max);
        if bytes > max {
            return Err(of_message(&KafkaError::MessageProduction(
                RDKafkaErrorCode::MessageSizeTooLarge,
            )));
        }
        let mut message = Box::new(message);
        loop {
            let sender = self.line.current();
            let (refused, returned) = match hand(&sender, record, message)? {
                None => return Ok(()),
                Some(refused) => refused,
            };
            message = returned;
            if refused.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
                tokio::time::sleep(ROOM).await;
            } else if sender.ended_by().is_some() {
                // It was not taken, so it can go to the next client.
                self.line.replace(&sender).await.map_err(|e| e.with_effect(Effect::None))?;
            } else {
                return Err(of_message(&refused).with_effect(Effect::None));
            }
        }
    }

    /// Waits until nothing is on its way. Blocks.
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), TransportError> {
        let sender = self.line.current();
        let Some(client) = sender.client() else { return Ok(()) };
        client.flush(Timeout::After(timeout)).map_err(|error| of_call(&error, "close"))
    }
}

/// What a client says when it does not take a message, and the message.
type Refused = (KafkaError, Box<InBatch>);

/// Hands a message to a client. `None`: it has it.
fn hand(
    sender: &Sender,
    record: &Record,
    message: Box<InBatch>,
) -> Result<Option<Refused>, TransportError> {
    let Some(client) = sender.client() else { return Err(error(ErrorKind::Closed, "publish")) };
    let mut base: BaseRecord<'_, [u8], [u8], _> =
        BaseRecord::with_opaque_to(&record.topic, message)
            .payload(&record.body[..])
            .headers(record.owned_headers());
    base.partition = record.partition;
    base.key = record.key.as_deref();
    Ok(client.send(base).err().map(|(refused, base)| (refused, base.delivery_opaque)))
}
