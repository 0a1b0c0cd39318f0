//! What the client tells its consumer's thread.

use std::sync::{
    Arc, Condvar, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, KafkaResult},
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
    Revoked(TopicPartitionList),
}

/// The context of a consumer.
#[derive(Debug, Default)]
pub(crate) struct Context {
    pub(crate) rebalances: Mutex<Vec<Rebalance>>,
    /// Partitions whose commit failed.
    pub(crate) uncommitted: Mutex<Vec<(String, i32)>>,
    /// The consumer ends: what is revoked is given up at once.
    pub(crate) closing: AtomicBool,
    pub(crate) last_error: Arc<LastError>,
}

pub(crate) fn take<T: Default>(of: &Mutex<T>) -> T {
    std::mem::take(&mut *of.lock().unwrap_or_else(PoisonError::into_inner))
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        client::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, _reason: &str) {
        self.last_error.note(&error);
    }
}

/// Gives partitions up.
pub(crate) fn unassign(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) {
    let given_up = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    };
    if let Err(error) = given_up {
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
        let is_assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::SeqCst) {
            // Nothing new is begun, and what was held is committed already.
            match is_assigned {
                true => drop(consumer.incremental_assign(&TopicPartitionList::new())),
                false => unassign(consumer, list),
            }
            return;
        }
        let list = list.clone();
        let rebalance =
            if is_assigned { Rebalance::Assigned(list) } else { Rebalance::Revoked(list) };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push(rebalance);
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let all = offsets.elements();
        let failed = all.iter().filter(|one| result.is_err() || one.error().is_err());
        let failed = failed.map(|one| (one.topic().to_owned(), one.partition()));
        let mut uncommitted = self.uncommitted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = uncommitted.len();
        uncommitted.extend(failed);
        if let (Err(error), true) = (&result, uncommitted.len() > before) {
            tracing::debug!(%error, "a commit failed; it is made again");
        }
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::ZERO)
    }
}
