//! Messages that go from the topic where they came to another one: retries and dead letters. The
//! copy is durable before the original is settled.

use std::{sync::Arc, time::Duration};

use dtx_core::error::{ErrorKind, TransportError};

use crate::{
    hub::Place,
    layout::Kind,
    producer::Producer,
    record::{ATTEMPTS, DEAD_ATTEMPTS, DEAD_FROM, DEAD_GROUP, DEAD_REASON, RETRY_DELAY, Record},
    settings::millis,
    shared::Shared,
    topics::{Catalog, Wanted},
};

/// How long to wait before a dead letter is written again that could not be written.
const AGAIN: Duration = Duration::from_secs(1);

/// What is kept of the body of a dead letter that is too large for its topic, in bytes.
const CUT_BODY: usize = 1_024;

/// The longest value of a header that such a letter keeps, in bytes.
const CUT_VALUE: usize = 256;

/// How many headers such a letter keeps.
const CUT_HEADERS: usize = 64;

/// A message that is given up.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) record: Record,
    pub(crate) reason: String,
    pub(crate) from: String,
    pub(crate) group: String,
    pub(crate) attempts: u32,
}

impl Letter {
    /// As it is written: it can be written back to its topic as it is, to begin anew.
    fn into_record(self) -> Record {
        self.record
            .without(RETRY_DELAY)
            .without(ATTEMPTS)
            .with(DEAD_REASON, self.reason)
            .with(DEAD_FROM, self.from)
            .with(DEAD_GROUP, self.group)
            .with(DEAD_ATTEMPTS, self.attempts)
    }
}

/// Keeps what fits into any topic.
fn cut(mut record: Record) -> Record {
    record.body.truncate(CUT_BODY);
    let ours = |name: &str| [DEAD_REASON, DEAD_FROM, DEAD_GROUP, DEAD_ATTEMPTS].contains(&name);
    record.headers.retain(|name, bytes| ours(name) || name.len() + bytes <= CUT_VALUE);
    let excess = record.headers.len().saturating_sub(CUT_HEADERS);
    // Ours are the last ones.
    record.headers.leave_out(excess);
    record.key = record.key.filter(|key| key.len() <= CUT_VALUE);
    record.with("dtx-dead-cut", "true")
}

/// Writes messages to other topics.
#[derive(Debug)]
pub(crate) struct Mover {
    producer: Arc<Producer>,
    catalog: Arc<Catalog>,
    dead_letters: String,
}

impl Mover {
    pub(crate) fn new(
        producer: Arc<Producer>,
        catalog: Arc<Catalog>,
        dead_letters: String,
    ) -> Self {
        Self { producer, catalog, dead_letters }
    }

    pub(crate) fn dead_letters(&self) -> String {
        self.dead_letters.clone()
    }

    async fn write(&self, record: &Record) -> Result<(), TransportError> {
        let wanted = Wanted { name: record.topic.clone(), kind: Kind::Shared };
        self.catalog.ensure(vec![wanted], "publish").await?;
        let mut results = self.producer.produce(std::slice::from_ref(record)).await;
        results.pop().unwrap_or(Ok(()))
    }

    /// Parks a message that is held, and settles it. Tries until it is done or its partition is
    /// gone: the next owner parks it then.
    pub(crate) async fn park(&self, shared: &Shared, place: Place, letter: Letter) {
        let mut record = letter.into_record();
        let mut is_whole = true;
        while shared.has(place.generation) {
            match self.write(&record).await {
                Ok(()) => return shared.settle(place),
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) if error.kind() == ErrorKind::Invalid && is_whole => {
                    tracing::warn!(%error, "a dead letter is refused, and cut");
                    is_whole = false;
                    record = cut(record);
                }
                Err(error) => {
                    tracing::warn!(%error, "a dead letter could not be written; again soon");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Writes a message to the topic of retries and settles it. Where that fails it stays where
    /// it is, and comes again after the delay all the same.
    pub(crate) async fn retry(
        &self,
        shared: &Shared,
        place: Place,
        record: Record,
        attempts: u32,
        delay: Duration,
    ) {
        let record = record.with(RETRY_DELAY, millis(delay)).with(ATTEMPTS, attempts);
        match self.write(&record).await {
            Ok(()) => shared.settle(place),
            Err(error) => {
                tracing::warn!(%error, "a retry could not be written; it is waited for here");
                shared.move_failed(place, delay);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::RecordHeaders;

    #[test]
    fn a_letter_that_is_cut_keeps_its_reason_and_fits() {
        let mut headers = RecordHeaders::default();
        (0..500).for_each(|n| headers.add(format!("h{n}"), &vec![b'x'; n]));
        let body = Bytes::from(vec![0; CUT_BODY + 1]);
        let key = Some(Bytes::from(vec![0; CUT_VALUE + 1]));
        let record = Record { topic: "t".to_owned(), partition: None, key, headers, body };
        let letter = Letter {
            record,
            reason: "why".to_owned(),
            from: "t 1 2".to_owned(),
            group: "g".to_owned(),
            attempts: 3,
        };
        let record = cut(letter.into_record());
        assert!(record.bytes() < 32_000, "{}", record.bytes());
        assert_eq!((record.body.len(), record.key.is_none()), (CUT_BODY, true));
        for name in [DEAD_REASON, DEAD_FROM, DEAD_GROUP, DEAD_ATTEMPTS] {
            assert!(record.headers.iter().any(|(other, _)| other == name), "{name}");
        }
    }
}
