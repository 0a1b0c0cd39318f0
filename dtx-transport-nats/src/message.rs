//! Messages as NATS carries them.

use async_nats::{HeaderMap, Message, Subject};
use bytes::{Bytes, BytesMut};
use dtx_core::transport::{
    CONTENT_TYPE, CloudEventNames, Envelope, WireError, WireLimits, WireMessage, add_cloud_event,
    content_type,
};

/// The names of the attributes of CloudEvents in messages of NATS.
const CLOUD_EVENT: CloudEventNames = CloudEventNames {
    version: "ce-specversion",
    id: "ce-id",
    kind: "ce-type",
    source: "ce-source",
    subject: "ce-subject",
};

/// A header with a longer value travels behind the body: JetStream takes 64 KiB of headers.
const LONG_VALUE: usize = 2_048;

/// How many bytes of a body are the user's; the rest are lines `name:value` of long headers.
const OWN_BYTES: &str = "dtx-body-bytes";

/// The server keeps one message of an id.
pub(crate) const ID: &str = "Nats-Msg-Id";

/// How the reply subject of a message from a stream begins.
const ACK: &str = "$JS.ACK.";

/// A message that can be sent.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The message of an envelope.
pub(crate) fn write(envelope: &Envelope) -> Outgoing {
    let mut message = WireMessage::encode(envelope);
    add_cloud_event(&mut message.headers, envelope, &CLOUD_EVENT);
    let mut headers = HeaderMap::new();
    let mut long = Vec::new();
    for (name, value) in message.headers.iter() {
        match value.len() > LONG_VALUE {
            true => long.push((name, value)),
            false => headers.insert(name, value),
        }
    }
    if long.is_empty() {
        if let Some(value) = content_type(envelope, &message.body) {
            headers.insert(CONTENT_TYPE, value);
        }
        return Outgoing { headers, body: message.body };
    }
    // No media type: what follows the body is of none.
    headers.insert(OWN_BYTES, message.body.len().to_string());
    let mut body = BytesMut::from(&message.body[..]);
    for (name, value) in long {
        for part in [name, ":", value, "\n"] {
            body.extend_from_slice(part.as_bytes());
        }
    }
    Outgoing { headers, body: body.freeze() }
}

/// Why a message cannot be taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the header dtx-body-bytes does not fit the body")]
    Body,
}

/// The envelope of a message.
pub(crate) fn read(
    headers: Option<&HeaderMap>,
    body: &Bytes,
    limits: &WireLimits,
) -> Result<Envelope, Unreadable> {
    let own = headers.and_then(|headers| headers.get(OWN_BYTES));
    let (own, rest) = match own {
        None => (body.clone(), Bytes::new()),
        Some(bytes) => {
            let bytes: usize = bytes.as_str().parse().map_err(|_| Unreadable::Body)?;
            if bytes > body.len() {
                return Err(Unreadable::Body);
            }
            (body.slice(..bytes), body.slice(bytes..))
        }
    };
    let lines = rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut long = Vec::new();
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':').ok_or(Unreadable::Body)?;
        let name = std::str::from_utf8(&line[..at]).map_err(|_| Unreadable::Body)?;
        long.push((name, &line[at + 1..]));
    }
    let short = headers.into_iter().flat_map(HeaderMap::iter).flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| (name, value.as_str().as_bytes()))
    });
    Ok(WireMessage::decode(short.chain(long), own, limits)?)
}

/// What the reply subject of a message from a stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    /// `{stream}.{consumer}`.
    pub(crate) queue: &'a str,
    pub(crate) stream: &'a str,
    /// How many times it was delivered, this time included.
    pub(crate) delivered: u32,
    /// Its number in the stream.
    pub(crate) sequence: u64,
}

/// Where a message comes from; `None` when it is from no stream.
///
/// `$JS.ACK.{stream}.{consumer}.{delivered}.{sequence}.{of consumer}.{time}.{pending}`, or with
/// domain and account before the stream and a random word at the end.
pub(crate) fn origin(reply: &str) -> Option<Origin<'_>> {
    let rest = reply.strip_prefix(ACK)?;
    let rest = match rest.split('.').count() {
        7 => rest,
        9.. => rest.splitn(3, '.').nth(2)?,
        _ => return None,
    };
    let mut parts = rest.split('.');
    let (stream, consumer) = (parts.next()?, parts.next()?);
    let queue = &rest[..stream.len() + 1 + consumer.len()];
    let delivered = parts.next()?.parse().ok()?;
    let sequence = parts.next()?.parse().ok()?;
    Some(Origin { queue, stream, delivered, sequence })
}

/// The reply subject, where the message is from a stream.
pub(crate) fn ack_subject(message: &Message) -> Option<&Subject> {
    message.reply.as_ref().filter(|reply| reply.starts_with(ACK))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dtx_core::{
        answer::Done,
        ids::{Epoch, HolderId, OperationIndex, ShardId, TxId},
        name::ParticipantName,
        pattern::{Pattern, Phase},
        transport::{Body, Headers, Inquiry, Reply},
    };

    use super::*;

    fn envelope(value: usize) -> Envelope {
        let metadata = vec![("note".to_owned(), "n".repeat(value))];
        let body = Body::Inquiry(Inquiry {
            tx: TxId::from_bytes([1; 16]),
            pattern: Pattern::Saga,
            operation: OperationIndex(1),
            participant: ParticipantName::new("payment").expect("a name"),
            host: HolderId(7),
        });
        Envelope { body, headers: Some(Arc::new(Headers { metadata, trace: None })) }
    }

    fn again(message: &Outgoing) -> Result<Envelope, Unreadable> {
        read(Some(&message.headers), &message.body, &WireLimits::default())
    }

    #[test]
    fn long_headers_travel_behind_the_body() {
        for (value, is_long) in [(10, false), (LONG_VALUE, true), (200_000, true)] {
            let message = write(&envelope(value));
            assert_eq!(message.headers.get(OWN_BYTES).is_some(), is_long);
            let length = |(name, values): (&async_nats::HeaderName, &Vec<_>)| {
                let values: usize =
                    values.iter().map(|v: &async_nats::HeaderValue| v.as_str().len()).sum();
                AsRef::<str>::as_ref(name).len() + values
            };
            let headers: usize = message.headers.iter().map(length).sum();
            assert!(headers < 4_096, "{headers}");
            assert_eq!(again(&message), Ok(envelope(value)));
        }
    }

    #[test]
    fn a_body_with_headers_behind_it_has_no_media_type() {
        for (value, content_type) in [(10, Some("application/json")), (LONG_VALUE, None)] {
            let reply = Reply {
                tx: TxId::from_bytes([1; 16]),
                operation: OperationIndex(1),
                phase: Phase::Execute,
                attempt: 1,
                shard: ShardId(5),
                epoch: Epoch(9),
                participant: ParticipantName::new("payment").expect("a name"),
                answer: Ok(Done::with("{}")),
            };
            let envelope = Envelope { body: Body::Reply(reply), ..envelope(value) };
            let message = write(&envelope);
            let get = |name: &str| message.headers.get(name).map(|value| value.as_str());
            assert_eq!((get(CONTENT_TYPE), get("ce-type")), (content_type, Some("dtx.reply")));
            assert_eq!(again(&message), Ok(envelope));
        }
    }

    #[test]
    fn a_body_that_is_not_as_long_as_it_says_is_refused() {
        let message = write(&envelope(LONG_VALUE));
        for wrong in ["1000000", "-1", "x", ""] {
            let mut message = message.clone();
            message.headers.insert(OWN_BYTES, wrong);
            assert_eq!(again(&message), Err(Unreadable::Body), "{wrong}");
        }
        let mut message = message.clone();
        message.body = Bytes::from_static(b"no line of a header");
        assert_eq!(again(&message), Err(Unreadable::Body));
        let nothing = read(None, &Bytes::new(), &WireLimits::default());
        assert_eq!(nothing, Err(Unreadable::Wire(WireError::Version)));
    }

    #[test]
    fn both_forms_of_the_reply_subject_are_understood() {
        let expected =
            Origin { queue: "DTX_3PS.g@pay", stream: "DTX_3PS", delivered: 2, sequence: 41 };
        assert_eq!(origin("$JS.ACK.DTX_3PS.g@pay.2.41.7.1700000000.5"), Some(expected));
        let with_domain = "$JS.ACK.hub.ACC.DTX_3PS.g@pay.2.41.7.1700000000.5.rnd";
        assert_eq!(origin(with_domain), Some(expected));
        for bad in ["$JS.ACK.a.b", "_INBOX.a", "$JS.ACK.a.b.x.41.7.17.5"] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }
}
