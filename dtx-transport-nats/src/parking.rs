//! What cannot be delivered goes to the stream `DTX_DEAD`, with the reason.

use std::{sync::Arc, time::Duration};

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    link::Link,
    message::{ID, Origin, Outgoing},
    publish::store_once,
    settings::NatsSettings,
};

const REASON: &str = "dtx-dead-reason";
const SUBJECT: &str = "dtx-dead-subject";
const STREAM: &str = "dtx-dead-stream";
const SEQUENCE: &str = "dtx-dead-sequence";
const DELIVERIES: &str = "dtx-dead-deliveries";
/// `true` where headers and body were too large to be put aside.
const CUT: &str = "dtx-dead-cut";

/// How long a message stays away that could not be put aside.
const LATER: Duration = Duration::from_secs(2);

/// The stream shall not deliver it again.
const TERMINATE: &str = "+TERM";

/// A message that is put aside.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) message: Message,
    pub(crate) ack: Subject,
    pub(crate) stream: String,
    pub(crate) sequence: u64,
    pub(crate) deliveries: u32,
    pub(crate) reason: String,
}

impl Dead {
    pub(crate) fn new(message: Message, ack: Subject, origin: &Origin<'_>, reason: String) -> Self {
        let stream = origin.stream.to_owned();
        let (sequence, deliveries) = (origin.sequence, origin.delivered);
        Self { message, ack, stream, sequence, deliveries, reason }
    }

    /// The letter: the message as it was, and why it is here.
    fn letter(&self, is_whole: bool) -> Outgoing {
        let mut headers = HeaderMap::new();
        let before = self.message.headers.iter().flat_map(HeaderMap::iter);
        for (name, values) in before.filter(|_| is_whole) {
            let is_the_servers = AsRef::<str>::as_ref(name).starts_with("Nats-");
            for value in values.iter().filter(|_| !is_the_servers) {
                headers.append(name.clone(), value.clone());
            }
        }
        let reason: String = self.reason.chars().filter(|c| !c.is_control()).take(500).collect();
        headers.insert(REASON, reason);
        headers.insert(SUBJECT, self.message.subject.as_str());
        headers.insert(STREAM, self.stream.as_str());
        headers.insert(SEQUENCE, self.sequence.to_string());
        headers.insert(DELIVERIES, self.deliveries.to_string());
        // Every group that cannot take it makes the same letter.
        headers.insert(ID, format!("dead-{}-{}", self.stream, self.sequence));
        if is_whole {
            return Outgoing { headers, body: self.message.payload.clone() };
        }
        headers.insert(CUT, "true");
        Outgoing { headers, body: Bytes::new() }
    }
}

/// Puts a message aside. If that fails it comes again later: it is never lost, and never stops
/// the stream.
pub(crate) async fn park(link: &Arc<Link>, settings: &NatsSettings, dead: Dead) {
    let subject = settings.names.dead(&dead.stream);
    let until = || Instant::now() + settings.request_timeout;
    let mut is_kept = false;
    for is_whole in [true, false] {
        let letter = dead.letter(is_whole);
        is_kept = is_kept || store_once(link, subject.clone(), letter, until()).await;
    }
    let Dead { stream, sequence, reason, deliveries, .. } = &dead;
    let say = if is_kept {
        tracing::warn!(%stream, sequence, deliveries, %reason, "a message was put aside");
        Bytes::from_static(TERMINATE.as_bytes())
    } else {
        tracing::error!(%stream, sequence, %reason, "a message could not be put aside");
        nak(LATER)
    };
    if let Err(lost) = link.request(dead.ack.to_string(), say, until()).await {
        tracing::debug!(?lost, "the message comes again");
    }
}

/// The longest delay that the server is told; no message lives as long.
const DELAY_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Tells the stream to deliver again, after a while.
pub(crate) fn nak(delay: Duration) -> Bytes {
    if delay.is_zero() {
        return Bytes::from_static(b"-NAK");
    }
    Bytes::from(format!("-NAK {{\"delay\": {}}}", crate::api::nanoseconds(delay.min(DELAY_MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_the_message_and_the_reason() {
        let mut headers = HeaderMap::new();
        headers.insert("a", "1");
        headers.insert(ID, "own");
        let message = Message {
            subject: "3ps.p.reserve".into(),
            reply: None,
            payload: Bytes::from_static(b"x"),
            headers: Some(headers),
            status: None,
            description: None,
            length: 0,
        };
        let origin = Origin { queue: "S.c", stream: "S", delivered: 3, sequence: 9 };
        let dead = Dead::new(message, "ack".into(), &origin, "bad\r\nthing".to_owned());
        let letter = dead.letter(true);
        let header = |letter: &Outgoing, name: &str| {
            letter.headers.get(name).map(|value| value.as_str().to_owned())
        };
        assert_eq!(header(&letter, REASON).as_deref(), Some("badthing"));
        assert_eq!(header(&letter, ID).as_deref(), Some("dead-S-9"));
        assert_eq!(header(&letter, DELIVERIES).as_deref(), Some("3"));
        assert_eq!((header(&letter, "a").as_deref(), &letter.body[..]), (Some("1"), &b"x"[..]));
        let cut = dead.letter(false);
        assert_eq!((header(&cut, "a"), cut.body.len()), (None, 0));
        assert_eq!(header(&cut, SUBJECT).as_deref(), Some("3ps.p.reserve"));
    }

    #[test]
    fn a_delay_is_in_nanoseconds() {
        assert_eq!(nak(Duration::ZERO), "-NAK");
        assert_eq!(nak(Duration::from_micros(1)), "-NAK {\"delay\": 1000}");
    }
}
