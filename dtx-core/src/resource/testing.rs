//! Commands for the tests of this folder.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    transport::Command,
};

pub(crate) fn tx(number: u64) -> TxId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    TxId::from_parts(1_700_000_000_000, random)
}

pub(crate) fn at(number: u64) -> AcceptSequence {
    AcceptSequence { epoch: Epoch(1), number }
}

/// A command of transaction `number`, which is also its sequence.
pub(crate) fn command(number: u64, pattern: Pattern, phase: Phase) -> Command {
    Command {
        tx: tx(number),
        operation: OperationIndex(0),
        phase,
        pattern,
        participant: ParticipantName::new("inventory").expect("a name"),
        action: ActionName::new("take").expect("a name"),
        action_version: 1,
        attempt: 1,
        shard: ShardId(3),
        epoch: Epoch(1),
        sequence: at(number),
        watermark: AcceptSequence::default(),
        deadline: None,
        ttl: Some(Duration::from_secs(60)),
        one_phase: false,
        reply: true,
        payload: Bytes::new(),
        inputs: Vec::new(),
    }
}
