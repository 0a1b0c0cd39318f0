//! From an envelope to headers and a body.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    header::*,
    message::{WireHeaders, WireMessage},
    text,
};
use crate::{
    answer::{NotDone, Refusal},
    store::Verdict,
    transport::{Body, Command, Envelope, Headers, Inquiry, InquiryAnswer, Reply},
};

/// As many headers as a command has, with metadata and trace and what transports add to them.
const ROOM: usize = 28;

/// As many bytes as their values usually have, with what transports add to them.
const ROOM_BYTES: usize = 512;

fn flag(out: &mut WireHeaders, name: &'static str, is_so: bool) {
    if is_so {
        out.add(name, TRUE);
    }
}

pub(super) fn encode(envelope: &Envelope) -> WireMessage {
    let mut out = WireHeaders::with_capacity(ROOM, ROOM_BYTES);
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
    WireMessage { headers: out, body }
}

fn command(out: &mut WireHeaders, command: &Command) -> Bytes {
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
    out.add(SEQUENCE, text::Sequence(command.sequence));
    out.add(WATERMARK, text::Sequence(command.watermark));
    if let Some(deadline) = command.deadline {
        out.add(DEADLINE, deadline.as_nanos());
    }
    if let Some(ttl) = command.ttl {
        out.add(TTL, ttl.as_nanos());
    }
    flag(out, ONE_PHASE, command.one_phase);
    flag(out, NO_REPLY, !command.reply);
    if !command.inputs.is_empty() {
        let input = |(name, output): (&_, &Bytes)| format!("{name}:{}", STANDARD.encode(output));
        let inputs = command.inputs.iter().map(|i| input((&i.operation, &i.output)));
        out.add(INPUTS, inputs.collect::<Vec<_>>().join(","));
    }
    command.payload.clone()
}

fn reply(out: &mut WireHeaders, reply: &Reply) -> Bytes {
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
            flag(out, READ_ONLY, done.read_only);
            flag(out, REVERSED, done.reversed);
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

fn inquiry(out: &mut WireHeaders, inquiry: &Inquiry) -> Bytes {
    out.add(KIND, INQUIRY);
    out.add(TX, inquiry.tx);
    out.add(OPERATION, inquiry.operation);
    out.add(PARTICIPANT, &inquiry.participant);
    out.add(PATTERN, inquiry.pattern.word());
    out.add(HOST, format_args!("{:?}", inquiry.host));
    Bytes::new()
}

fn inquiry_answer(out: &mut WireHeaders, answer: &InquiryAnswer) -> Bytes {
    out.add(KIND, INQUIRY_ANSWER);
    out.add(TX, answer.tx);
    out.add(OPERATION, answer.operation);
    out.add(PARTICIPANT, &answer.participant);
    out.add(HOST, format_args!("{:?}", answer.host));
    if let Some(verdict) = answer.verdict {
        out.add(VERDICT, verdict_word(verdict));
    }
    out.add(RETRY_AFTER, answer.retry_after.as_nanos());
    Bytes::new()
}

fn headers(out: &mut WireHeaders, headers: &Headers) {
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
