//! How far one operation is.

use serde::{Deserialize, Serialize};

use crate::pattern::Phase;

/// How far one operation is, forward and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Progress {
    /// The last forward phase that it was asked for.
    pub phase: Option<Phase>,
    /// What came of it.
    pub mark: Mark,
    /// How far it is taken back.
    pub undo: Undo,
    /// It is known to have executed.
    pub executed: bool,
    /// 2PC: it voted that it changed nothing.
    pub read_only: bool,
    /// Its handler itself rejected the first phase, and an inbox keeps that: nothing happened
    /// and nothing will.
    pub untouched: bool,
}

impl Progress {
    /// Whether it did a phase, or one after it. What was lost on delivery is settled too.
    pub fn has_done(&self, phase: Phase) -> bool {
        let Some(asked) = self.phase else { return false };
        match self.mark {
            Mark::Done => asked >= phase || (self.read_only && phase == Phase::Commit),
            Mark::Lost => asked > phase || phase == Phase::Deliver,
            Mark::Asked | Mark::No | Mark::Idle => asked > phase,
        }
    }
}

/// What came of the last forward phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mark {
    /// It was not asked.
    #[default]
    Idle,
    /// It was asked.
    Asked,
    /// It is done.
    Done,
    /// It will not be done.
    No,
    /// Nobody knows.
    Lost,
}

/// How far an operation is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Undo {
    /// It was not asked to go back.
    #[default]
    Open,
    /// It was asked by this phase.
    Asked(Phase),
    /// It is taken back.
    Done,
}
