//! From headers and a body to an envelope.

use std::{str, str::FromStr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    encode::{refusal_word, verdict_word},
    header::*,
    message::{WireError, WireLimits},
    text,
};
use crate::{
    answer::{Done, NotDone, PhaseAnswer, Reason, Refusal},
    ids::{Epoch, HolderId, OperationIndex, ShardId},
    name::{ActionName, OperationName, ParticipantName},
    store::Verdict,
    transport::{
        Body, Command, DependencyOutput, Envelope, Headers, Inquiry, InquiryAnswer, Reply,
        TraceContext,
    },
};

type Result<T> = std::result::Result<T, WireError>;

/// The headers of one message, within their limit.
struct Fields<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Fields<'a> {
    fn of(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>, max: usize) -> Result<Self> {
        let mut bytes = 0;
        let mut fields = Vec::new();
        for (name, value) in headers {
            bytes += name.len() + value.len();
            if bytes > max {
                return Err(WireError::TooLarge { part: "headers", bytes, max });
            }
            fields.push((name, value));
        }
        Ok(Self(fields))
    }

    fn optional(&self, header: &'static str) -> Result<Option<&'a str>> {
        let mut values = self.0.iter().filter(|(name, _)| *name == header);
        let Some((_, value)) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(WireError::Twice { header });
        }
        let expected = "printable ASCII";
        str::from_utf8(value)
            .ok()
            .filter(|text| text::is_plain(text))
            .map(Some)
            .ok_or(WireError::Value { header, expected })
    }

    fn text(&self, header: &'static str) -> Result<&'a str> {
        self.optional(header)?.ok_or(WireError::Missing { header })
    }

    fn read<T>(
        &self,
        header: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T> {
        read(self.text(header)?).ok_or(WireError::Value { header, expected })
    }

    fn read_optional<T>(
        &self,
        header: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.optional(header)? else { return Ok(None) };
        read(value).map(Some).ok_or(WireError::Value { header, expected })
    }

    fn number<N: FromStr>(&self, header: &'static str) -> Result<N> {
        self.read(header, "a number in its range", text::number)
    }

    fn parsed<T: FromStr>(&self, header: &'static str, expected: &'static str) -> Result<T> {
        self.read(header, expected, |value| value.parse().ok())
    }

    fn name<T, E>(
        &self,
        header: &'static str,
        checked: impl FnOnce(String) -> std::result::Result<T, E>,
    ) -> Result<T> {
        self.read(header, "a name of a-z, 0-9, - and _", |value| checked(value.to_owned()).ok())
    }

    fn flag(&self, header: &'static str) -> Result<bool> {
        let is_so = self.read_optional(header, TRUE, |value| (value == TRUE).then_some(()))?;
        Ok(is_so.is_some())
    }

    fn host(&self) -> Result<HolderId> {
        self.read(HOST, "32 hexadecimal digits", |value| {
            let whole = value.len() == 32 && !value.starts_with('+');
            let number = u128::from_str_radix(value, 16).ok()?;
            whole.then_some(HolderId(number))
        })
    }
}

pub(super) fn decode<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    body: Bytes,
    limits: &WireLimits,
) -> Result<Envelope> {
    let (bytes, max) = (body.len(), limits.body_bytes_max);
    if bytes > max {
        return Err(WireError::TooLarge { part: "body", bytes, max });
    }
    let fields = Fields::of(headers, limits.headers_bytes_max)?;
    if fields.optional(VERSION)? != Some(CURRENT) {
        return Err(WireError::Version);
    }
    let body = match fields.text(KIND)? {
        COMMAND => Body::Command(Arc::new(command(&fields, body)?)),
        REPLY => Body::Reply(reply(&fields, body)?),
        INQUIRY => Body::Inquiry(inquiry(&fields)?),
        INQUIRY_ANSWER => Body::InquiryAnswer(inquiry_answer(&fields)?),
        _ => {
            let expected = "command, reply, inquiry or inquiry-answer";
            return Err(WireError::Value { header: KIND, expected });
        }
    };
    Ok(Envelope { body, headers: self::headers(&fields)? })
}

fn command(fields: &Fields<'_>, payload: Bytes) -> Result<Command> {
    let sequence = |header| fields.read(header, "epoch.number", text::accept_sequence);
    let time = |header| fields.read_optional(header, "nanoseconds", text::duration);
    Ok(Command {
        tx: fields.parsed(TX, "the id of a transaction")?,
        operation: OperationIndex(fields.number(OPERATION)?),
        phase: fields.parsed(PHASE, "the name of a phase")?,
        pattern: fields.parsed(PATTERN, "the word of a pattern")?,
        participant: fields.name(PARTICIPANT, ParticipantName::new)?,
        action: fields.name(ACTION, ActionName::new)?,
        action_version: fields.number(ACTION_VERSION)?,
        attempt: fields.number(ATTEMPT)?,
        shard: ShardId(fields.number(SHARD)?),
        epoch: Epoch(fields.number(EPOCH)?),
        sequence: sequence(SEQUENCE)?,
        watermark: sequence(WATERMARK)?,
        deadline: time(DEADLINE)?,
        ttl: time(TTL)?,
        one_phase: fields.flag(ONE_PHASE)?,
        reply: !fields.flag(NO_REPLY)?,
        payload,
        inputs: fields
            .read_optional(INPUTS, "operation:base64, with commas between", inputs)?
            .unwrap_or_default(),
    })
}

fn inputs(text: &str) -> Option<Vec<DependencyOutput>> {
    text.split(',')
        .map(|input| {
            let (operation, output) = input.split_once(':')?;
            let output = STANDARD.decode(output).ok()?.into();
            Some(DependencyOutput { operation: OperationName::new(operation).ok()?, output })
        })
        .collect()
}

fn reply(fields: &Fields<'_>, output: Bytes) -> Result<Reply> {
    Ok(Reply {
        tx: fields.parsed(TX, "the id of a transaction")?,
        operation: OperationIndex(fields.number(OPERATION)?),
        phase: fields.parsed(PHASE, "the name of a phase")?,
        attempt: fields.number(ATTEMPT)?,
        shard: ShardId(fields.number(SHARD)?),
        epoch: Epoch(fields.number(EPOCH)?),
        participant: fields.name(PARTICIPANT, ParticipantName::new)?,
        answer: answer(fields, output)?,
    })
}

fn answer(fields: &Fields<'_>, output: Bytes) -> Result<PhaseAnswer> {
    let reason = || {
        let read = |value: &str| serde_json::from_str::<String>(value).ok().map(Reason::new);
        fields.read(REASON, "JSON text", read)
    };
    Ok(match fields.text(ANSWER)? {
        DONE => Ok(Done {
            output,
            read_only: fields.flag(READ_ONLY)?,
            reversed: fields.flag(REVERSED)?,
        }),
        REJECTED => Err(NotDone::Rejected(reason()?)),
        UNKNOWN => Err(NotDone::Unknown(reason()?)),
        REFUSED => {
            let all = [Refusal::Undone, Refusal::Executed, Refusal::Expired];
            let read = |value: &str| all.into_iter().find(|one| refusal_word(*one) == value);
            Err(NotDone::Refused(fields.read(REFUSAL, "undone, executed or expired", read)?))
        }
        _ => {
            let expected = "done, rejected, refused or unknown";
            return Err(WireError::Value { header: ANSWER, expected });
        }
    })
}

fn inquiry(fields: &Fields<'_>) -> Result<Inquiry> {
    Ok(Inquiry {
        tx: fields.parsed(TX, "the id of a transaction")?,
        pattern: fields.parsed(PATTERN, "the word of a pattern")?,
        operation: OperationIndex(fields.number(OPERATION)?),
        participant: fields.name(PARTICIPANT, ParticipantName::new)?,
        host: fields.host()?,
    })
}

fn inquiry_answer(fields: &Fields<'_>) -> Result<InquiryAnswer> {
    let all = [Verdict::Completed, Verdict::Turned, Verdict::Commit, Verdict::Abort];
    let verdict = |value: &str| all.into_iter().find(|one| verdict_word(*one) == value);
    Ok(InquiryAnswer {
        tx: fields.parsed(TX, "the id of a transaction")?,
        operation: OperationIndex(fields.number(OPERATION)?),
        participant: fields.name(PARTICIPANT, ParticipantName::new)?,
        host: fields.host()?,
        verdict: fields.read_optional(VERDICT, "completed, turned, commit or abort", verdict)?,
        retry_after: fields.read(RETRY_AFTER, "nanoseconds", text::duration)?,
    })
}

fn headers(fields: &Fields<'_>) -> Result<Option<Arc<Headers>>> {
    let pairs = |value: &str| serde_json::from_str::<Vec<(String, String)>>(value).ok();
    let metadata = fields.read_optional(METADATA, "JSON, [[name, value], ..]", pairs)?;
    let trace = match fields.optional(TRACE_PARENT)? {
        Some(parent) => Some(TraceContext {
            parent: parent.to_owned(),
            state: fields.optional(TRACE_STATE)?.map(str::to_owned),
        }),
        None => None,
    };
    if metadata.is_none() && trace.is_none() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Headers { metadata: metadata.unwrap_or_default(), trace })))
}
