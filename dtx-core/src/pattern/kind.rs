//! The names of patterns and phases.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How a transaction is coordinated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Pattern {
    /// 0.5PS: delivered at least once, with no coordination.
    #[serde(rename = "0.5ps")]
    FireAndForget,
    /// Executed in sequence or as a DAG; compensated in reverse.
    #[serde(rename = "saga")]
    Saga,
    /// 1.5PS: a critical part, then an eventual one.
    #[serde(rename = "1.5ps")]
    CriticalEventual,
    /// 2PS: prepare, then execute.
    #[serde(rename = "2ps")]
    TwoPhaseSaga,
    /// 3PS: reserve, validate, execute.
    #[serde(rename = "3ps")]
    ThreePhaseSaga,
    /// 2PC: prepare and commit, with locks; presumed abort.
    #[serde(rename = "2pc")]
    TwoPhaseCommit,
}

/// A text that names no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("pattern {0:?} is unknown; give one of 0.5ps, saga, 1.5ps, 2ps, 3ps, 2pc")]
pub struct UnknownPattern(pub String);

impl Pattern {
    /// All patterns, from the loosest to the strictest.
    pub const ALL: [Self; 6] = [
        Self::FireAndForget,
        Self::Saga,
        Self::CriticalEventual,
        Self::TwoPhaseSaga,
        Self::ThreePhaseSaga,
        Self::TwoPhaseCommit,
    ];

    /// The name that people write: `0.5ps`, `saga`, `1.5ps`, `2ps`, `3ps`, `2pc`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FireAndForget => "0.5ps",
            Self::Saga => "saga",
            Self::CriticalEventual => "1.5ps",
            Self::TwoPhaseSaga => "2ps",
            Self::ThreePhaseSaga => "3ps",
            Self::TwoPhaseCommit => "2pc",
        }
    }

    /// The word in subjects, which has no dot: `05ps`, `saga`, `15ps`, `2ps`, `3ps`, `2pc`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::FireAndForget => "05ps",
            Self::CriticalEventual => "15ps",
            other => other.name(),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Pattern {
    type Err = UnknownPattern;
    /// Takes both forms, `0.5ps` and `05ps`, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownPattern> {
        let lower = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|pattern| pattern.name() == lower || pattern.word() == lower)
            .ok_or_else(|| UnknownPattern(text.chars().take(80).collect()))
    }
}

/// What a participant is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// 2PS: check and save the intent. 2PC: take the locks and vote.
    Prepare,
    /// 3PS: claim the resource.
    Reserve,
    /// 3PS: confirm the claim and pin it.
    Validate,
    /// Do it.
    Execute,
    /// 2PC: make the prepared work final. Alone and unprepared: do it in one phase.
    Commit,
    /// 2PC: take the prepared work back.
    Abort,
    /// 2PS: drop the intent.
    Cancel,
    /// 3PS: drop the claim.
    Release,
    /// Reverse what was executed.
    Compensate,
    /// Receive a message.
    Deliver,
    /// Say what is known; changes nothing.
    Status,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 11] = [
        Self::Prepare,
        Self::Reserve,
        Self::Validate,
        Self::Execute,
        Self::Commit,
        Self::Abort,
        Self::Cancel,
        Self::Release,
        Self::Compensate,
        Self::Deliver,
        Self::Status,
    ];

    /// The word in subjects and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Reserve => "reserve",
            Self::Validate => "validate",
            Self::Execute => "execute",
            Self::Commit => "commit",
            Self::Abort => "abort",
            Self::Cancel => "cancel",
            Self::Release => "release",
            Self::Compensate => "compensate",
            Self::Deliver => "deliver",
            Self::Status => "status",
        }
    }

    /// Whether this phase takes something back.
    pub const fn is_backward(self) -> bool {
        matches!(self, Self::Abort | Self::Cancel | Self::Release | Self::Compensate)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Phase {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|phase| phase.name() == text)
            .ok_or_else(|| format!("phase {text:?} is unknown"))
    }
}
