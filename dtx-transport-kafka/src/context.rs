//! What the client tells its consumer's thread.

use std::sync::{
    Arc, Condvar, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::time::Duration;

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    topic_partition_list::TopicPartitionList,
    types::RDKafkaRespErr,
    util::Timeout,
};

use crate::client::{self, LastError};

/// Wakes the thread of a consumer.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    pub(crate) fn wake(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits until it is woken, or that long.
    pub(crate) fn wait(&self, at_most: Duration) {
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(woken, at_most, |woken| !*woken);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// What the group decided. It is carried out by the thread, which has more to do than a callback
/// should: the group waits until it did.
#[derive(Debug)]
pub(crate) enum Rebalance {
    Assigned(TopicPartitionList),
    Revoked,
}

/// The context of a consumer.
#[derive(Debug, Default)]
pub(crate) struct Context {
    pub(crate) rebalances: Mutex<Vec<Rebalance>>,
    /// The consumer ends: what is revoked is given up at once.
    pub(crate) closing: AtomicBool,
    /// How many events the client has told here. A poll that brings nothing has told one, or has
    /// found none.
    told: AtomicU64,
    pub(crate) last_error: Arc<LastError>,
}

impl Context {
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    fn tell(&self) {
        self.told.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn take<T: Default>(of: &Mutex<T>) -> T {
    std::mem::take(&mut *of.lock().unwrap_or_else(PoisonError::into_inner))
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.tell();
        client::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, _reason: &str) {
        self.last_error.note(&error);
    }
}

/// Gives all partitions up.
pub(crate) fn unassign(consumer: &BaseConsumer<Context>) {
    if let Err(error) = consumer.unassign() {
        tracing::warn!(%error, "partitions could not be given up");
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        self.tell();
        let is_assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::SeqCst) {
            // Nothing new is begun, and what was held is committed already.
            return unassign(consumer);
        }
        let rebalance =
            if is_assigned { Rebalance::Assigned(list.clone()) } else { Rebalance::Revoked };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push(rebalance);
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::ZERO)
    }
}
