//! From a message of a partition to one that can be delivered, or to a dead letter.

use std::sync::Arc;

use dtx_core::transport::{Envelope, WireLimits};
use rdkafka::message::{BorrowedMessage, Message};
use tokio::{runtime::Handle, time::Instant};

use crate::{
    hub::Place,
    letters::{Letter, Mover},
    plan::{Fate, Plan},
    record::{self, Record, Seen},
    settings::KafkaSettings,
    shared::Shared,
};

/// Reads the messages of one subscription.
pub(crate) struct Feed {
    pub(crate) plan: Plan,
    pub(crate) settings: KafkaSettings,
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: WireLimits,
    pub(crate) mover: Arc<Mover>,
    pub(crate) runtime: Handle,
}

/// What a message turned out to be.
enum Read {
    Deliver(Box<Envelope>),
    LeaveOut,
    Park(String),
}

impl Feed {
    /// Takes a message of a partition, whatever it is: a bad one never stops the others.
    pub(crate) fn take_in(&self, generation: u64, message: &BorrowedMessage<'_>) {
        let place = Place { generation, offset: message.offset() };
        let Some(delivered) = self.shared.hub().take_in(place) else { return };
        let headers = record::headers(message);
        let notes = record::notes(&headers);
        let attempts = notes.attempts.saturating_add(delivered);
        let read = match self.plan.attempts_max {
            _ if self.plan.leaves_out(&notes) => Read::LeaveOut,
            Some(max) if attempts >= max => {
                Read::Park(format!("it was delivered {attempts} times; {max} are the most"))
            }
            _ => self.read(headers, message),
        };
        match read {
            Read::Deliver(envelope) => {
                let due = notes.delay.and_then(|delay| Instant::now().checked_add(delay));
                self.shared.offer(place, *envelope, notes.attempts, due);
            }
            Read::LeaveOut => self.shared.hub().settle(place),
            Read::Park(reason) => self.park(place, message, reason, attempts),
        }
    }

    fn read(&self, headers: Seen<'_>, message: &BorrowedMessage<'_>) -> Read {
        match record::read(headers, message.payload().unwrap_or_default(), &self.limits) {
            Ok(envelope) => match self.plan.fate(&envelope) {
                Fate::Deliver => Read::Deliver(Box::new(envelope)),
                Fate::LeaveOut => Read::LeaveOut,
                Fate::Park => Read::Park("it is not for those that read this topic".to_owned()),
            },
            Err(error) => Read::Park(error.to_string()),
        }
    }

    fn park(&self, place: Place, message: &BorrowedMessage<'_>, reason: String, attempts: u32) {
        self.shared.hub().hold(place);
        let from = format!("{} {} {}", message.topic(), message.partition(), message.offset());
        tracing::warn!(%from, %reason, "a message is parked with the dead letters");
        let letter = Letter {
            record: Record::copy(message, self.mover.dead_letters()),
            reason,
            from,
            group: self.plan.group.clone(),
            attempts,
        };
        let (mover, shared) = (Arc::clone(&self.mover), Arc::clone(&self.shared));
        self.runtime.spawn(async move { mover.park(&shared, place, letter).await });
    }
}
