//! What the engine keeps of a transaction in the store, besides its definition and its verdict.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thin_vec::ThinVec;

use crate::{
    answer::PhaseAnswer,
    engine::SignalEntry,
    frame::{self, FrameError, Kind},
    ids::{AcceptSequence, OperationIndex},
    pattern::Phase,
    store::RecordKind,
};

/// The version of the encoding. Older ones stay readable.
const FORMAT: u8 = 2;

/// The version before it was recorded what is stuck.
const FORMAT_WITHOUT_STUCK: u8 = 1;

/// The largest state that is read, in bytes.
const STATE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The state of a transaction as it is stored. It holds only what the run of the pattern does not
/// give again: participants keep their answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredState {
    /// Its place in its shard; zero until an owner has seen it.
    pub sequence: AcceptSequence,
    /// How long it may stay undecided, counted from the accept on the store's clock, approvals
    /// and delays included.
    pub deadline: Duration,
    /// How often it was taken up again.
    pub resumes: u16,
    /// `PivotSent` or `Delegated`, once that is durable (rule 4).
    pub point_of_no_return: Option<RecordKind>,
    /// What the verification found. Never evaluated again.
    pub verified: Option<bool>,
    /// The signals that were given, in order.
    pub signals: ThinVec<SignalEntry>,
    /// How many of them the owner had acted on. After a resume an operator's moves are not made
    /// again; a caller's signal is, unless the verdict has answered it.
    pub signals_heard: u16,
    /// Attempts made so far, for operations that back off for long.
    pub attempts: ThinVec<(OperationIndex, Phase, u32)>,
    /// Answers of participants without an inbox (rule 13), and those that an operator put in the
    /// place of an answer.
    pub answers: ThinVec<(OperationIndex, Phase, PhaseAnswer)>,
    /// Until when an approval must be there, counted from the accept; set when the gate was
    /// first reached, so that a resume does not begin the wait anew.
    pub approval_within: Option<Duration>,
    /// What waits for an operator, so that whoever reads the record knows which moves there are.
    pub stuck: ThinVec<(OperationIndex, Phase)>,
}

/// The state as format 1 has it.
#[derive(Deserialize)]
struct WithoutStuck {
    sequence: AcceptSequence,
    deadline: Duration,
    resumes: u16,
    point_of_no_return: Option<RecordKind>,
    verified: Option<bool>,
    signals: ThinVec<SignalEntry>,
    signals_heard: u16,
    attempts: ThinVec<(OperationIndex, Phase, u32)>,
    answers: ThinVec<(OperationIndex, Phase, PhaseAnswer)>,
    approval_within: Option<Duration>,
}

impl From<WithoutStuck> for StoredState {
    fn from(old: WithoutStuck) -> Self {
        Self {
            sequence: old.sequence,
            deadline: old.deadline,
            resumes: old.resumes,
            point_of_no_return: old.point_of_no_return,
            verified: old.verified,
            signals: old.signals,
            signals_heard: old.signals_heard,
            attempts: old.attempts,
            answers: old.answers,
            approval_within: old.approval_within,
            stuck: ThinVec::new(),
        }
    }
}

impl StoredState {
    /// Encodes the state.
    pub fn encode(&self) -> Bytes {
        frame::encode(Kind::EngineState, FORMAT, self).expect("its sequences know their lengths")
    }

    /// Decodes a state.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes are none that any version wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let frame = frame::open(Kind::EngineState, bytes, STATE_BYTES_MAX)?;
        match frame.version() {
            FORMAT => frame.body(),
            FORMAT_WITHOUT_STUCK => frame.body::<WithoutStuck>().map(Self::from),
            _ => Err(frame.unknown_version()),
        }
    }

    pub(super) fn answer(&self, operation: OperationIndex, phase: Phase) -> Option<&PhaseAnswer> {
        self.answers
            .iter()
            .find(|(of, in_phase, _)| *of == operation && *in_phase == phase)
            .map(|(_, _, answer)| answer)
    }

    pub(super) fn attempts(&self, operation: OperationIndex, phase: Phase) -> u32 {
        self.attempts
            .iter()
            .find(|(of, in_phase, _)| *of == operation && *in_phase == phase)
            .map_or(0, |(_, _, attempts)| *attempts)
    }

    pub(super) fn note_attempts(&mut self, operation: OperationIndex, phase: Phase, count: u32) {
        self.attempts.retain(|(of, in_phase, _)| *of != operation || *in_phase != phase);
        self.attempts.push((operation, phase, count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_the_first_format_is_read() {
        // Sequence 3 of epoch 2, a deadline of 60 s, one resume, and nothing else.
        let old = [0xD7, 2, 1, 2, 3, 60, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        let state = StoredState::decode(&old).expect("it was written by an earlier release");
        assert_eq!(state.sequence.number, 3);
        assert_eq!((state.deadline, state.resumes), (Duration::from_secs(60), 1));
        assert_eq!(state.stuck, []);
        assert_eq!(StoredState::decode(&state.encode()), Ok(state));
    }

    #[test]
    fn what_is_stuck_is_kept() {
        let stuck = ThinVec::from([(OperationIndex(2), Phase::Compensate)]);
        let state = StoredState { stuck, ..StoredState::default() };
        assert_eq!(StoredState::decode(&state.encode()), Ok(state));
    }
}
