//! The inbox row: what a participant remembers of one operation of one transaction.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{
    answer::{Done, PhaseAnswer, Reason},
    frame::{FrameError, Kind},
    ids::{AcceptSequence, Epoch, HolderId, OperationIndex, ShardId, TxId},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    resource::codec,
    store::RowKey,
    time::Timestamp,
    transport::Command,
};

/// What the keys of inbox rows begin with.
pub const INBOX_PREFIX: &[u8] = b"i";

/// After how long a participant asks what was decided about what it holds, when the command gave
/// neither a lifetime nor a deadline.
pub const ASK_AFTER_DEFAULT: Duration = Duration::from_secs(30);

/// What is remembered of one phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A host has claimed it and its handler may be running.
    Started {
        /// The run of the host that claimed it.
        host: HolderId,
        /// An earlier run of the phase ended with its effect unknown.
        again: bool,
    },
    /// A handler ran and nobody knows whether it had its effect. A repeat runs again, and a
    /// backward phase runs the real handler.
    Unsettled,
    /// It was carried out.
    Done(Done),
    /// The handler said no.
    Rejected(Reason),
}

/// What is needed to carry a verdict out that came as the answer to an inquiry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// The action.
    pub action: ActionName,
    /// Its version.
    pub action_version: u32,
    /// Its input.
    pub payload: Bytes,
    /// When to ask what was decided, on the participant store's clock.
    pub ask_at: Timestamp,
}

/// The inbox row of one operation of one transaction. Only the barrier changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxRow {
    pub(super) pattern: Pattern,
    pub(super) shard: ShardId,
    pub(super) sequence: AcceptSequence,
    pub(super) epoch: Epoch,
    pub(super) changed_at: Timestamp,
    pub(super) entries: Vec<(Phase, Entry)>,
    pub(super) recall: Option<Box<Recall>>,
}

/// The key of an inbox row.
pub fn inbox_key(tx: TxId, operation: OperationIndex) -> RowKey {
    let mut key = BytesMut::with_capacity(INBOX_PREFIX.len() + 18);
    key.put_slice(INBOX_PREFIX);
    key.put_slice(tx.as_bytes());
    key.put_u16(operation.0);
    RowKey(key.freeze())
}

/// The operation that an inbox row is about; `None` for the key of another row.
pub fn parse_inbox_key(key: &RowKey) -> Option<(TxId, OperationIndex)> {
    let rest = key.0.strip_prefix(INBOX_PREFIX)?;
    let (tx, operation) = rest.split_first_chunk::<16>()?;
    let operation = <[u8; 2]>::try_from(operation).ok()?;
    Some((TxId::from_bytes(*tx), OperationIndex(u16::from_be_bytes(operation))))
}

impl InboxRow {
    pub(super) fn new(command: &Command, now: Timestamp) -> Self {
        Self {
            pattern: command.pattern,
            shard: command.shard,
            sequence: command.sequence,
            epoch: command.epoch,
            changed_at: now,
            entries: Vec::new(),
            recall: None,
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Bytes {
        codec::encode(Kind::InboxRow, self)
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes are damaged or newer than this release.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        codec::decode(Kind::InboxRow, bytes)
    }

    /// The shard of the transaction.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The pattern of the transaction.
    pub fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// The largest sequence seen of the transaction.
    pub fn sequence(&self) -> AcceptSequence {
        self.sequence
    }

    /// The highest epoch seen for the transaction.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// When the row was last changed, on the participant store's clock.
    pub fn changed_at(&self) -> Timestamp {
        self.changed_at
    }

    /// What is remembered of each phase, in the order in which the phases were first met.
    pub fn entries(&self) -> &[(Phase, Entry)] {
        &self.entries
    }

    /// What is remembered of one phase.
    pub fn entry(&self, phase: Phase) -> Option<&Entry> {
        self.entries.iter().find(|(of, _)| *of == phase).map(|(_, entry)| entry)
    }

    /// The stored answer of a phase.
    pub fn answer(&self, phase: Phase) -> Option<PhaseAnswer> {
        match self.entry(phase)? {
            Entry::Done(done) => Some(Ok(done.clone())),
            Entry::Rejected(reason) => Some(Err(crate::answer::NotDone::Rejected(reason.clone()))),
            Entry::Started { .. } | Entry::Unsettled => None,
        }
    }

    /// The answer of the last forward phase that was carried out.
    pub fn forward(&self) -> Option<&Done> {
        self.entries.iter().rev().find_map(|(phase, entry)| match entry {
            Entry::Done(done) if !phase.is_backward() => Some(done),
            _ => None,
        })
    }

    /// Set while the operation holds something that no clock may release (a prepared 2PC branch,
    /// a validated 3PS reservation): what the participant needs in order to ask what was decided
    /// and to carry that out.
    pub fn recall(&self) -> Option<&Recall> {
        self.recall.as_deref()
    }

    /// The command that carries a verdict out which came as the answer to an inquiry: the
    /// operation's own command with `phase`. `None` when nothing is held any more.
    pub fn recalled(
        &self,
        tx: TxId,
        operation: OperationIndex,
        participant: &ParticipantName,
        phase: Phase,
    ) -> Option<Command> {
        let recall = self.recall()?;
        Some(Command {
            tx,
            operation,
            phase,
            pattern: self.pattern,
            participant: participant.clone(),
            action: recall.action.clone(),
            action_version: recall.action_version,
            attempt: 1,
            shard: self.shard,
            epoch: self.epoch,
            sequence: self.sequence,
            watermark: AcceptSequence::default(),
            deadline: None,
            ttl: None,
            one_phase: false,
            reply: false,
            payload: recall.payload.clone(),
            inputs: Vec::new(),
        })
    }

    /// Whether the last phase was carried out: there is an effect.
    pub fn is_executed(&self) -> bool {
        [Phase::Execute, Phase::Commit, Phase::Deliver]
            .into_iter()
            .any(|phase| matches!(self.entry(phase), Some(Entry::Done(_))))
    }

    /// Whether a backward phase was carried out.
    pub fn is_undone(&self) -> bool {
        self.entries
            .iter()
            .any(|(phase, entry)| phase.is_backward() && matches!(entry, Entry::Done(_)))
    }

    /// Whether a command has a higher epoch or sequence than any before it.
    pub(super) fn is_behind(&self, command: &Command) -> bool {
        command.epoch > self.epoch || command.sequence > self.sequence
    }

    /// The row once it has met a command: a copy with the epoch and the sequence of the command
    /// and with room for one more phase.
    pub fn met(&self, command: &Command) -> Self {
        let mut entries = Vec::with_capacity(self.entries.len() + 1);
        entries.extend_from_slice(&self.entries);
        Self {
            epoch: self.epoch.max(command.epoch),
            sequence: self.sequence.max(command.sequence),
            entries,
            recall: self.recall.clone(),
            ..*self
        }
    }

    pub(super) fn set(&mut self, phase: Phase, entry: Entry) {
        match self.entries.iter_mut().find(|(of, _)| *of == phase) {
            Some((_, slot)) => *slot = entry,
            None => self.entries.push((phase, entry)),
        }
    }

    pub(super) fn remove(&mut self, phase: Phase) {
        self.entries.retain(|(of, _)| *of != phase);
    }
}
