//! Messages that nobody answers.

use bytes::Bytes;
use dtx_core::{
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    transport::{Body, Command, Envelope},
};
use std::sync::Arc;

/// A fire-and-forget command with this payload.
pub(crate) fn dispatch(to: &ParticipantName, action: &ActionName, payload: Bytes) -> Envelope {
    Envelope::new(Body::Command(Arc::new(Command {
        // A broker that drops what it has seen must not take two messages for one.
        tx: TxId::from_bytes(*uuid::Uuid::new_v4().as_bytes()),
        operation: OperationIndex(0),
        phase: Phase::Deliver,
        pattern: Pattern::FireAndForget,
        participant: to.clone(),
        action: action.clone(),
        action_version: 1,
        attempt: 1,
        shard: ShardId(0),
        epoch: Epoch(0),
        sequence: AcceptSequence::default(),
        watermark: AcceptSequence::default(),
        deadline: None,
        ttl: None,
        one_phase: false,
        reply: false,
        payload,
        inputs: Vec::new(),
    })))
}
