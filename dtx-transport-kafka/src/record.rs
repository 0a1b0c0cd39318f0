//! What dtx writes into a topic, and how it is read again.

use std::{
    borrow::Cow,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use bytes::Bytes;
use dtx_core::{
    ids::TxId,
    transport::{
        CONTENT_TYPE, CloudEventNames, Envelope, WireError, WireHeaders, WireLimits, WireMessage,
        add_cloud_event, content_type,
    },
};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};

/// The names of the attributes of CloudEvents in messages of Kafka.
const CLOUD_EVENT: CloudEventNames = CloudEventNames {
    version: "ce_specversion",
    id: "ce_id",
    kind: "ce_type",
    source: "ce_source",
    subject: "ce_subject",
};

/// How long a message of the topic of retries stays away, in milliseconds.
pub(crate) const RETRY_DELAY: &str = "dtx-retry-delay-ms";
/// How often a message was delivered before it was written here.
pub(crate) const ATTEMPTS: &str = "dtx-attempts";
/// Why a message is a dead letter.
pub(crate) const DEAD_REASON: &str = "dtx-dead-reason";
/// Where a dead letter lay: topic, partition and offset.
pub(crate) const DEAD_FROM: &str = "dtx-dead-from";
/// How often a dead letter was delivered.
pub(crate) const DEAD_ATTEMPTS: &str = "dtx-dead-attempts";
/// The group that gave a dead letter up.
pub(crate) const DEAD_GROUP: &str = "dtx-dead-group";

/// To whom a command is.
const PARTICIPANT: &str = "dtx-participant";

/// A message before it is produced.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) topic: String,
    /// `None`: by the key.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<Bytes>,
    pub(crate) headers: RecordHeaders,
    pub(crate) body: Bytes,
}

/// The headers of a record. All values share one buffer, since a message has two dozen of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordHeaders {
    places: Vec<(Cow<'static, str>, Range<usize>)>,
    values: Vec<u8>,
}

impl RecordHeaders {
    pub(crate) fn add(&mut self, name: impl Into<Cow<'static, str>>, value: &[u8]) {
        let begin = self.values.len();
        self.values.extend_from_slice(value);
        self.places.push((name.into(), begin..self.values.len()));
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.places.iter().map(|(name, place)| (&**name, &self.values[place.clone()]))
    }

    /// Keeps those for which it holds, by name and bytes of the value.
    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(&str, usize) -> bool) {
        self.places.retain(|(name, place)| keeps(name, place.len()));
    }

    /// Leaves out the first ones.
    pub(crate) fn leave_out(&mut self, count: usize) {
        self.places.drain(..count);
    }
}

impl From<WireHeaders> for RecordHeaders {
    fn from(headers: WireHeaders) -> Self {
        let (ends, text) = headers.into_parts();
        let mut begin = 0;
        let place = |(name, end): (&'static str, usize)| {
            (name.into(), std::mem::replace(&mut begin, end)..end)
        };
        Self { places: ends.into_iter().map(place).collect(), values: text.into_bytes() }
    }
}

impl Record {
    pub(crate) fn of(envelope: &Envelope, topic: String, partition: Option<i32>) -> Self {
        let WireMessage { mut headers, body } = WireMessage::encode(envelope);
        add_cloud_event(&mut headers, envelope, &CLOUD_EVENT);
        if let Some(value) = content_type(envelope, &body) {
            headers.add(CONTENT_TYPE, value);
        }
        Self { topic, partition, key: Some(key(envelope.tx())), headers: headers.into(), body }
    }

    /// A message as it came, whatever it is, but for headers whose names are no text.
    pub(crate) fn copy(message: &BorrowedMessage<'_>, topic: String) -> Self {
        let mut headers = RecordHeaders::default();
        for (name, value) in self::headers(message) {
            headers.add(name.to_owned(), value);
        }
        Self {
            topic,
            partition: None,
            key: message.key().map(Bytes::copy_from_slice),
            headers,
            body: message.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
        }
    }

    /// Without this header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|other, _| other != name);
        self
    }

    /// Sets a header of which there is one.
    pub(crate) fn with(self, name: &'static str, value: impl ToString) -> Self {
        let mut record = self.without(name);
        record.headers.add(name, value.to_string().as_bytes());
        record
    }

    /// The headers as the client takes them.
    pub(crate) fn owned_headers(&self) -> OwnedHeaders {
        let mut all = OwnedHeaders::new_with_capacity(self.headers.len());
        for (key, value) in self.headers.iter() {
            all = all.insert(Header { key, value: Some(value) });
        }
        all
    }

    /// About how many bytes it has on the wire.
    pub(crate) fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len() + 10);
        let key = self.key.as_ref().map_or(0, Bytes::len);
        headers.sum::<usize>() + key + self.body.len() + RECORD_BYTES
    }
}

/// As many bytes as a record, and a batch of one, have beside key, headers and body.
pub(crate) const RECORD_BYTES: usize = 128;

/// The key of all messages of a transaction: its id as text, as tools show it.
fn key(tx: TxId) -> Bytes {
    tx.to_string().into()
}

/// What a message says about itself before it is read.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// It is a retry, and stays away this long.
    pub(crate) delay: Option<Duration>,
    /// How often it was delivered before it was written here.
    pub(crate) attempts: u32,
    /// It is a command for this participant.
    pub(crate) participant: Option<String>,
}

/// The headers of a message.
pub(crate) type Seen<'a> = Vec<(&'a str, &'a [u8])>;

/// The headers of a message, which are looked at more than once. One whose name is no text is not
/// ours and is passed over: the client panics when it is asked for it, and the reader of a
/// partition must outlive every message.
pub(crate) fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Seen<'a> {
    let Some(all) = message.headers() else { return Vec::new() };
    let get = |at| catch_unwind(AssertUnwindSafe(|| all.try_get(at))).ok().flatten();
    let seen = |header: Header<'a, &'a [u8]>| (header.key, header.value.unwrap_or_default());
    (0..all.count()).filter_map(get).map(seen).collect()
}

fn value<'a>(headers: &Seen<'a>, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(key, _)| *key == name)?;
    std::str::from_utf8(value).ok()
}

pub(crate) fn notes(headers: &Seen<'_>) -> Notes {
    let delay = value(headers, RETRY_DELAY).and_then(|text| text.parse().ok());
    Notes {
        delay: delay.map(Duration::from_millis),
        attempts: value(headers, ATTEMPTS).and_then(|text| text.parse().ok()).unwrap_or_default(),
        participant: value(headers, PARTICIPANT).map(str::to_owned),
    }
}

pub(crate) fn read(
    headers: Seen<'_>,
    body: &[u8],
    limits: &WireLimits,
) -> Result<Envelope, WireError> {
    // What is too large is not copied.
    let (bytes, max) = (body.len(), limits.body_bytes_max);
    if bytes > max {
        return Err(WireError::TooLarge { part: "body", bytes, max });
    }
    WireMessage::decode(headers, Bytes::copy_from_slice(body), limits)
}
