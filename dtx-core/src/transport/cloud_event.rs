//! What a message says in the words of CloudEvents 1.0, for tools that know no dtx. dtx itself
//! reads none of it.

use crate::transport::{Body, Command, Envelope, Inquiry, InquiryAnswer, Reply, WireHeaders};

/// The header with the media type of the body, and the name of the metadata that gives another
/// one than JSON.
pub const CONTENT_TYPE: &str = "content-type";

/// How a broker's binding of CloudEvents names the attributes in its binary mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloudEventNames {
    /// `specversion`.
    pub version: &'static str,
    /// `id`.
    pub id: &'static str,
    /// `type`.
    pub kind: &'static str,
    /// `source`.
    pub source: &'static str,
    /// `subject`.
    pub subject: &'static str,
}

/// The version of CloudEvents.
const VERSION: &str = "1.0";
/// What bodies are unless the metadata of the transaction say otherwise.
const JSON: &str = "application/json";
/// The longest media type that is taken, in bytes.
const MEDIA_TYPE_MAX: usize = 128;

/// Adds the attributes of a message to its headers, with these names. A command that is sent again
/// has the same id.
pub fn add_cloud_event(headers: &mut WireHeaders, envelope: &Envelope, names: &CloudEventNames) {
    headers.add(names.version, VERSION);
    match &envelope.body {
        Body::Command(command) => {
            let Command { tx, operation, .. } = &**command;
            headers.add(names.id, format_args!("{tx}.{operation}.{}", command.phase.name()));
            headers.add(names.kind, "dtx.command");
            headers.add(names.source, format_args!("/dtx/shards/{}", command.shard));
            headers.add(names.subject, command.subject());
        }
        Body::Reply(reply) => {
            let Reply { tx, operation, attempt, .. } = reply;
            let phase = reply.phase.name();
            headers.add(names.id, format_args!("{tx}.{operation}.{phase}.{attempt}"));
            headers.add(names.kind, "dtx.reply");
            headers.add(names.source, format_args!("/dtx/participants/{}", reply.participant));
            headers.add(names.subject, reply.subject());
        }
        Body::Inquiry(inquiry) => {
            let Inquiry { tx, operation, host, .. } = inquiry;
            headers.add(names.id, format_args!("{tx}.{operation}.{host:?}"));
            headers.add(names.kind, "dtx.inquiry");
            headers.add(names.source, format_args!("/dtx/participants/{}", inquiry.participant));
            headers.add(names.subject, tx);
        }
        Body::InquiryAnswer(answer) => {
            let InquiryAnswer { tx, operation, host, .. } = answer;
            let what = if answer.verdict.is_some() { "decided" } else { "pending" };
            headers.add(names.id, format_args!("{tx}.{operation}.{host:?}.{what}"));
            headers.add(names.kind, "dtx.inquiry-answer");
            headers.add(names.source, "/dtx/coordinators");
            headers.add(names.subject, tx);
        }
    }
}

/// The media type of the body; `None` when there is no body.
pub fn content_type<'a>(envelope: &'a Envelope, body: &[u8]) -> Option<&'a str> {
    if body.is_empty() {
        return None;
    }
    let is_media_type = |text: &&str| {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        (1..=MEDIA_TYPE_MAX).contains(&text.len()) && printable && text.trim() == *text
    };
    let metadata = envelope.headers.iter().flat_map(|headers| &headers.metadata);
    let given = metadata.filter(|(name, _)| name == CONTENT_TYPE).map(|(_, value)| value.as_str());
    // A reply is the participant's, whose answers are JSON.
    let is_command = matches!(envelope.body, Body::Command(_));
    let given = given.filter(|_| is_command).find(is_media_type);
    Some(given.unwrap_or(JSON))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::{
        answer::Done,
        ids::{AcceptSequence, Epoch, HolderId, OperationIndex, ShardId, TxId},
        name::{ActionName, ParticipantName},
        pattern::{Pattern, Phase},
        store::Verdict,
        transport::Headers,
    };

    const NAMES: CloudEventNames = CloudEventNames {
        version: "ce_specversion",
        id: "ce_id",
        kind: "ce_type",
        source: "ce_source",
        subject: "ce_subject",
    };

    fn attributes(envelope: &Envelope) -> [(&'static str, String); 5] {
        let mut headers = WireHeaders::default();
        add_cloud_event(&mut headers, envelope, &NAMES);
        let all: Vec<_> = headers.iter().map(|(name, value)| (name, value.to_owned())).collect();
        all.try_into().expect("five attributes")
    }

    fn command(attempt: u32) -> Command {
        Command {
            tx: TxId::from_bytes([1; 16]),
            operation: OperationIndex(2),
            phase: Phase::Reserve,
            pattern: Pattern::ThreePhaseSaga,
            participant: ParticipantName::new("payment").expect("a name"),
            action: ActionName::new("take").expect("a name"),
            action_version: 1,
            attempt,
            shard: ShardId(5),
            epoch: Epoch(9),
            sequence: AcceptSequence::default(),
            watermark: AcceptSequence::default(),
            deadline: None,
            ttl: None,
            one_phase: false,
            reply: true,
            payload: Bytes::from_static(b"{}"),
            inputs: Vec::new(),
        }
    }

    fn envelope(attempt: u32) -> Envelope {
        Envelope::new(Body::Command(Arc::new(command(attempt))))
    }

    #[test]
    fn a_command_has_one_id_however_often_it_is_sent() {
        let tx = TxId::from_bytes([1; 16]);
        let expected = [
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", format!("{tx}.2.reserve")),
            ("ce_type", "dtx.command".to_owned()),
            ("ce_source", "/dtx/shards/5".to_owned()),
            ("ce_subject", "3ps.payment.reserve".to_owned()),
        ];
        assert_eq!(attributes(&envelope(1)), expected);
        assert_eq!(attributes(&envelope(2)), expected);
    }

    #[test]
    fn what_is_another_event_has_another_id_or_source() {
        let (tx, operation, host) = (TxId::from_bytes([1; 16]), OperationIndex(2), HolderId(7));
        let participant = ParticipantName::new("payment").expect("a name");
        let answer = |verdict| {
            let (participant, retry_after) = (participant.clone(), Default::default());
            Body::InquiryAnswer(InquiryAnswer {
                tx,
                operation,
                participant,
                host,
                verdict,
                retry_after,
            })
        };
        let pattern = Pattern::ThreePhaseSaga;
        let inquiry = Inquiry { tx, pattern, operation, participant: participant.clone(), host };
        let reply = |attempt| Body::Reply(command(attempt).reply(Ok(Done::with("{}"))));
        let all = [
            Body::Command(Arc::new(command(1))),
            reply(1),
            reply(2),
            Body::Inquiry(inquiry),
            answer(None),
            answer(Some(Verdict::Commit)),
        ];
        let mut keys: Vec<_> = all
            .map(|body| {
                let [_, (_, id), _, (_, source), (_, subject)] = attributes(&Envelope::new(body));
                assert!(!subject.is_empty());
                (id, source)
            })
            .into();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 6, "{keys:?}");
    }

    #[test]
    fn a_body_is_json_unless_the_metadata_of_its_command_say_otherwise() {
        let of = |value: &str| {
            let metadata = vec![(CONTENT_TYPE.to_owned(), value.to_owned())];
            let headers = Some(Arc::new(Headers { metadata, trace: None }));
            Envelope { headers, ..envelope(1) }
        };
        let longest = "x".repeat(MEDIA_TYPE_MAX);
        for (given, taken) in [
            ("application/cbor", "application/cbor"),
            (&longest, &longest),
            (&"x".repeat(MEDIA_TYPE_MAX + 1), JSON),
            ("", JSON),
            ("a\nb", JSON),
            (" a", JSON),
        ] {
            assert_eq!(content_type(&of(given), b"x"), Some(taken), "{given:?}");
        }
        assert_eq!(content_type(&envelope(1), b"{}"), Some(JSON));
        assert_eq!(content_type(&of("application/cbor"), b""), None);
        let body = Body::Reply(command(1).reply(Ok(Done::with("{}"))));
        let reply = Envelope { body, ..of("application/cbor") };
        assert_eq!(content_type(&reply, b"{}"), Some(JSON));
    }
}
