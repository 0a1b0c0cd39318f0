//! From an envelope to headers and a body.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{header::*, message::WireMessage, text};
use crate::{
    answer::{NotDone, Refusal},
    store::Verdict,
    transport::{Body, Command, Envelope, Headers, Inquiry, InquiryAnswer, Reply},
};

/// As many headers as a command has, metadata and trace included.
const ROOM: usize = 20;

struct Out {
    headers: Vec<(&'static str, String)>,
}

impl Out {
    fn add(&mut self, name: &'static str, value: impl ToString) {
        self.headers.push((name, value.to_string()));
    }

    fn flag(&mut self, name: &'static str, is_so: bool) {
        if is_so {
            self.add(name, TRUE);
        }
    }
}

pub(super) fn encode(envelope: &Envelope) -> WireMessage {
    let mut out = Out { headers: Vec::with_capacity(ROOM) };
    out.add(VERSION, CURRENT);
    let body = match &envelope.body {
        Body::Command(command) => self::command(&mut out, command),
        Body::Reply(reply) => self::reply(&mut out, reply),
        Body::Inquiry(inquiry) => self::inquiry(&mut out, inquiry),
        Body::InquiryAnswer(answer) => inquiry_answer(&mut out, answer),
    };
    if let Some(headers) = &envelope.headers {
        self::headers(&mut out, headers);
    }
    WireMessage { headers: out.headers, body }
}

fn command(out: &mut Out, command: &Command) -> Bytes {
    out.add(KIND, COMMAND);
    out.add(TX, command.tx);
    out.add(OPERATION, command.operation);
    out.add(PARTICIPANT, &command.participant);
    out.add(PATTERN, command.pattern.word());
    out.add(PHASE, command.phase.name());
    out.add(ATTEMPT, command.attempt);
    out.add(SHARD, command.shard);
    out.add(EPOCH, command.epoch);
    out.add(ACTION, &command.action);
    out.add(ACTION_VERSION, command.action_version);
    out.add(SEQUENCE, text::sequence(command.sequence));
    out.add(WATERMARK, text::sequence(command.watermark));
    if let Some(deadline) = command.deadline {
        out.add(DEADLINE, text::nanoseconds(deadline));
    }
    if let Some(ttl) = command.ttl {
        out.add(TTL, text::nanoseconds(ttl));
    }
    out.flag(ONE_PHASE, command.one_phase);
    out.flag(NO_REPLY, !command.reply);
    if !command.inputs.is_empty() {
        let input = |(name, output): (&_, &Bytes)| format!("{name}:{}", STANDARD.encode(output));
        let inputs = command.inputs.iter().map(|i| input((&i.operation, &i.output)));
        out.add(INPUTS, inputs.collect::<Vec<_>>().join(","));
    }
    command.payload.clone()
}

fn reply(out: &mut Out, reply: &Reply) -> Bytes {
    out.add(KIND, REPLY);
    out.add(TX, reply.tx);
    out.add(OPERATION, reply.operation);
    out.add(PARTICIPANT, &reply.participant);
    out.add(PHASE, reply.phase.name());
    out.add(ATTEMPT, reply.attempt);
    out.add(SHARD, reply.shard);
    out.add(EPOCH, reply.epoch);
    match &reply.answer {
        Ok(done) => {
            out.add(ANSWER, DONE);
            out.flag(READ_ONLY, done.read_only);
            out.flag(REVERSED, done.reversed);
            return done.output.clone();
        }
        Err(NotDone::Rejected(reason)) => {
            out.add(ANSWER, REJECTED);
            out.add(REASON, text::ascii_json(reason));
        }
        Err(NotDone::Unknown(reason)) => {
            out.add(ANSWER, UNKNOWN);
            out.add(REASON, text::ascii_json(reason));
        }
        Err(NotDone::Refused(refusal)) => {
            out.add(ANSWER, REFUSED);
            out.add(REFUSAL, refusal_word(*refusal));
        }
    }
    Bytes::new()
}

fn inquiry(out: &mut Out, inquiry: &Inquiry) -> Bytes {
    out.add(KIND, INQUIRY);
    out.add(TX, inquiry.tx);
    out.add(OPERATION, inquiry.operation);
    out.add(PARTICIPANT, &inquiry.participant);
    out.add(PATTERN, inquiry.pattern.word());
    out.add(HOST, format_args!("{:?}", inquiry.host));
    Bytes::new()
}

fn inquiry_answer(out: &mut Out, answer: &InquiryAnswer) -> Bytes {
    out.add(KIND, INQUIRY_ANSWER);
    out.add(TX, answer.tx);
    out.add(OPERATION, answer.operation);
    out.add(PARTICIPANT, &answer.participant);
    out.add(HOST, format_args!("{:?}", answer.host));
    if let Some(verdict) = answer.verdict {
        out.add(VERDICT, verdict_word(verdict));
    }
    out.add(RETRY_AFTER, text::nanoseconds(answer.retry_after));
    Bytes::new()
}

fn headers(out: &mut Out, headers: &Headers) {
    out.add(METADATA, text::ascii_json(&headers.metadata));
    // What is not plain is no W3C trace context; it is among the metadata all the same.
    let Some(trace) = headers.trace.as_ref().filter(|trace| text::is_plain(&trace.parent)) else {
        return;
    };
    out.add(TRACE_PARENT, &trace.parent);
    if let Some(state) = trace.state.as_ref().filter(|state| text::is_plain(state)) {
        out.add(TRACE_STATE, state);
    }
}

pub(super) fn refusal_word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Undone => "undone",
        Refusal::Executed => "executed",
        Refusal::Expired => "expired",
    }
}

pub(super) fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Completed => "completed",
        Verdict::Turned => "turned",
        Verdict::Commit => "commit",
        Verdict::Abort => "abort",
    }
}
