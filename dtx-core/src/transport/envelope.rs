//! Commands, replies and inquiries.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    answer::PhaseAnswer,
    ids::{AcceptSequence, Epoch, HolderId, OperationIndex, ShardId, TxId},
    name::{ActionName, OperationName, ParticipantName},
    pattern::{Pattern, Phase},
    store::Verdict,
    transaction::Transaction,
    transport::{ResponseSubject, Subject},
};

/// A message on a transport. A transport that leaves the process puts everything but `body`'s
/// bytes into headers.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// What it says.
    pub body: Body,
    /// Shared by the messages of one transaction.
    pub headers: Option<Arc<Headers>>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Coordinator to participant.
    Command(Arc<Command>),
    /// Participant to coordinator.
    Reply(Reply),
    /// Participant to any coordinator: what was decided?
    Inquiry(Inquiry),
    /// Coordinator to participant host.
    InquiryAnswer(InquiryAnswer),
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// To a participant.
    Participant(ParticipantName),
    /// To the owner of a shard.
    Replies(ShardId),
    /// To any coordinator.
    Inquiries,
    /// To one participant host.
    InquiryAnswers(HolderId),
}

/// What travels along for people and tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// The caller's metadata.
    pub metadata: Vec<(String, String)>,
    /// The W3C trace context of the submitter.
    pub trace: Option<TraceContext>,
}

/// W3C trace context, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// `traceparent`.
    pub parent: String,
    /// `tracestate`.
    pub state: Option<String>,
}

/// The output of an operation that this one depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyOutput {
    /// Which operation.
    pub operation: OperationName,
    /// Its output.
    pub output: Bytes,
}

/// What a participant is asked to do. `(tx, operation, phase)` is the idempotency key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The transaction.
    pub tx: TxId,
    /// Which operation of it.
    pub operation: OperationIndex,
    /// The phase.
    pub phase: Phase,
    /// The pattern.
    pub pattern: Pattern,
    /// To whom.
    pub participant: ParticipantName,
    /// What is asked for.
    pub action: ActionName,
    /// In which version.
    pub action_version: u32,
    /// Which attempt, from 1. No part of the idempotency key.
    pub attempt: u32,
    /// The shard of the transaction, to which the reply goes.
    pub shard: ShardId,
    /// The epoch of the sender's lease.
    pub epoch: Epoch,
    /// The place of the transaction in its shard.
    pub sequence: AcceptSequence,
    /// Every transaction of the shard with a smaller sequence is durably finished.
    pub watermark: AcceptSequence,
    /// How long the sender waits; nothing new is begun after it. `None` after the verdict.
    pub deadline: Option<Duration>,
    /// How long a claim made by this command lives unless something pins it.
    pub ttl: Option<Duration>,
    /// 2PC with one participant: commit without a prepare.
    pub one_phase: bool,
    /// Whether the sender waits for a reply. A 0.5PS without confirmation does not.
    pub reply: bool,
    /// The input of the action.
    pub payload: Bytes,
    /// The outputs of the operations that this one depends on.
    pub inputs: Vec<DependencyOutput>,
}

impl Command {
    /// The subject that users see.
    pub fn subject(&self) -> Subject {
        Subject { pattern: self.pattern, participant: self.participant.clone(), phase: self.phase }
    }

    /// The reply to this command.
    pub fn reply(&self, answer: PhaseAnswer) -> Reply {
        Reply {
            tx: self.tx,
            operation: self.operation,
            phase: self.phase,
            attempt: self.attempt,
            shard: self.shard,
            epoch: self.epoch,
            participant: self.participant.clone(),
            answer,
        }
    }
}

/// What a participant answers. Echoes the epoch and the attempt of the command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The transaction.
    pub tx: TxId,
    /// Which operation of it.
    pub operation: OperationIndex,
    /// The phase that was asked for.
    pub phase: Phase,
    /// The attempt that was answered.
    pub attempt: u32,
    /// The shard of the transaction.
    pub shard: ShardId,
    /// The epoch of the command.
    pub epoch: Epoch,
    /// Who answers.
    pub participant: ParticipantName,
    /// The answer.
    pub answer: PhaseAnswer,
}

impl Reply {
    /// The subject that users see.
    pub fn subject(&self) -> ResponseSubject {
        ResponseSubject { tx: self.tx, participant: self.participant.clone(), phase: self.phase }
    }
}

/// A participant asks what was decided, past the deadline of what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inquiry {
    /// About which transaction.
    pub tx: TxId,
    /// In which pattern.
    pub pattern: Pattern,
    /// Which operation asks.
    pub operation: OperationIndex,
    /// Who asks.
    pub participant: ParticipantName,
    /// Which host gets the answer.
    pub host: HolderId,
}

/// What the store says about an inquiry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InquiryAnswer {
    /// About which transaction.
    pub tx: TxId,
    /// Which operation asked.
    pub operation: OperationIndex,
    /// Who asked.
    pub participant: ParticipantName,
    /// Which host asked.
    pub host: HolderId,
    /// The durable verdict; `None` while it is undecided.
    pub verdict: Option<Verdict>,
    /// When to ask again if it is undecided.
    pub retry_after: Duration,
}

impl Headers {
    /// The headers of a transaction's messages; `None` when it has no metadata.
    pub fn of(transaction: &Transaction) -> Option<Arc<Self>> {
        let metadata: Vec<(String, String)> =
            transaction.metadata().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let find = |name: &str| metadata.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        let trace =
            find("traceparent").map(|parent| TraceContext { parent, state: find("tracestate") });
        (!metadata.is_empty()).then(|| Arc::new(Self { metadata, trace }))
    }
}

impl Envelope {
    /// A message without headers.
    pub fn new(body: Body) -> Self {
        Self { body, headers: None }
    }

    /// Where it goes.
    pub fn address(&self) -> Address {
        match &self.body {
            Body::Command(command) => Address::Participant(command.participant.clone()),
            Body::Reply(reply) => Address::Replies(reply.shard),
            Body::Inquiry(_) => Address::Inquiries,
            Body::InquiryAnswer(answer) => Address::InquiryAnswers(answer.host),
        }
    }

    /// How many bytes of the users it carries, which is what a transport limits: the payload and
    /// the inputs of a command, the output of a reply.
    pub fn body_bytes(&self) -> usize {
        match &self.body {
            Body::Command(command) => {
                let inputs = command.inputs.iter().map(|input| input.output.len()).sum::<usize>();
                command.payload.len() + inputs
            }
            Body::Reply(reply) => reply.answer.as_ref().map_or(0, |done| done.output.len()),
            Body::Inquiry(_) | Body::InquiryAnswer(_) => 0,
        }
    }

    /// The transaction that it is about.
    pub fn tx(&self) -> TxId {
        match &self.body {
            Body::Command(command) => command.tx,
            Body::Reply(reply) => reply.tx,
            Body::Inquiry(inquiry) => inquiry.tx,
            Body::InquiryAnswer(answer) => answer.tx,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Done, NotDone};

    #[test]
    fn the_bytes_of_the_users_are_counted() {
        let command = Command {
            tx: TxId::from_bytes([1; 16]),
            operation: OperationIndex(0),
            phase: Phase::Execute,
            pattern: Pattern::Saga,
            participant: ParticipantName::new("p").expect("a name"),
            action: ActionName::new("a").expect("a name"),
            action_version: 1,
            attempt: 1,
            shard: ShardId(1),
            epoch: Epoch(1),
            sequence: AcceptSequence::default(),
            watermark: AcceptSequence::default(),
            deadline: None,
            ttl: None,
            one_phase: false,
            reply: true,
            payload: Bytes::from_static(b"12345"),
            inputs: ["123", "12"]
                .map(|output| DependencyOutput {
                    operation: OperationName::new("o").expect("a name"),
                    output: Bytes::from_static(output.as_bytes()),
                })
                .into(),
        };
        let bytes = |body| Envelope::new(body).body_bytes();
        assert_eq!(bytes(Body::Reply(command.reply(Ok(Done::with("1234567"))))), 7);
        assert_eq!(bytes(Body::Reply(command.reply(Err(NotDone::unknown("why"))))), 0);
        assert_eq!(bytes(Body::Command(Arc::new(command))), 10);
    }
}
