//! A participant with an inbox: it repeats what it answered, and what was taken back stays so.

use std::collections::BTreeMap;

use dtx_core::{
    answer::Refusal,
    pattern::{Heard, Phase, table::Table},
};

use crate::transactions::Fate;

/// A participant's row of one operation.
#[derive(Clone, Debug)]
pub(super) struct Participant {
    pub(super) fate: Fate,
    pub(super) answers: BTreeMap<Phase, Heard>,
    pub(super) undone: bool,
    pub(super) executed: bool,
    pub(super) reversed: bool,
    /// An operator counted what it said no to as done.
    pub(super) skipped: bool,
}

impl Participant {
    pub(super) fn new(fate: Fate) -> Self {
        Self {
            fate,
            answers: BTreeMap::new(),
            undone: false,
            executed: false,
            reversed: false,
            skipped: false,
        }
    }

    pub(super) fn said_done(&self, phase: Phase) -> bool {
        matches!(self.answers.get(&phase), Some(Heard::Done { .. }))
    }

    pub(super) fn take(&mut self, table: &Table<'_>, phase: Phase, one_phase: bool) -> Heard {
        if self.undone && !phase.is_backward() {
            return Heard::Refused(Refusal::Undone);
        }
        if let Some(stored) = self.answers.get(&phase) {
            return *stored;
        }
        let answer = match phase {
            Phase::Compensate => {
                self.undone = true;
                self.reversed = std::mem::take(&mut self.executed);
                Heard::Done { read_only: false, reversed: self.reversed }
            }
            _ if phase.is_backward() && self.executed => {
                return Heard::Refused(Refusal::Executed);
            }
            // After a compensation a drop says, too, that an effect was reversed: whoever resumes
            // asks for the drop first, and tells `Compensated` by what it hears.
            _ if phase.is_backward() => {
                self.undone = true;
                Heard::Done { read_only: false, reversed: self.reversed }
            }
            _ => self.forward(table, phase, one_phase),
        };
        self.answers.insert(phase, answer);
        answer
    }

    fn forward(&mut self, table: &Table<'_>, phase: Phase, one_phase: bool) -> Heard {
        let place = table.phases.iter().position(|of| *of == phase);
        let place = if one_phase { Some(0) } else { place };
        if phase != Phase::Deliver && place == Some(self.fate.no_at) {
            return match self.fate.refuses {
                true => Heard::Refused(Refusal::Expired),
                false => Heard::Rejected { kept: true },
            };
        }
        self.executed |= matches!(phase, Phase::Execute | Phase::Commit | Phase::Deliver);
        let read_only = phase == Phase::Prepare && table.name == "2pc" && self.fate.read_only;
        Heard::Done { read_only, reversed: false }
    }
}
