//! Which signals a transaction takes, by its record alone: what is offered to people, and what
//! is refused.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::{
    engine::{Signal, StoredState, Unreadable, readable},
    ids::OperationIndex,
    mutant,
    pattern::Phase,
    store::{RecordKind, Status, TxRecord, Verdict},
    transaction::{Transaction, codec},
};

/// What people can say to a transaction, as they write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Agree, as the person whom it waits for.
    Approve,
    /// Refuse, as the person whom it waits for.
    Reject,
    /// Go back, if it is not decided.
    Cancel,
    /// Try again what failed.
    Retry,
    /// Count an operation's phase as done.
    Skip,
    /// Try an operation again with another input.
    EditInput,
    /// Go forward in spite of what is missing.
    ForceCommit,
    /// Go back in spite of what is missing.
    ForceAbort,
    /// Stop, whatever was done.
    Abandon,
    /// The exceptions are dealt with.
    ClearExceptions,
}

/// A text that names no verb.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no move; give one of approve, reject, cancel, retry, skip, edit-input, \
     force-commit, force-abort, abandon, clear-exceptions"
)]
pub struct UnknownVerb(pub String);

impl Verb {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 10] = [
        Self::Approve,
        Self::Reject,
        Self::Cancel,
        Self::Retry,
        Self::Skip,
        Self::EditInput,
        Self::ForceCommit,
        Self::ForceAbort,
        Self::Abandon,
        Self::ClearExceptions,
    ];

    /// The word that people write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::EditInput => "edit-input",
            Self::ForceCommit => "force-commit",
            Self::ForceAbort => "force-abort",
            Self::Abandon => "abandon",
            Self::ClearExceptions => "clear-exceptions",
        }
    }

    /// Whether it is an operator's move, which needs a reason.
    pub const fn is_operator_move(self) -> bool {
        !matches!(self, Self::Approve | Self::Reject | Self::Cancel)
    }

    /// Whether it is about one operation.
    pub const fn needs_operation(self) -> bool {
        matches!(self, Self::Skip | Self::EditInput)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Verb {
    type Err = UnknownVerb;
    fn from_str(text: &str) -> Result<Self, UnknownVerb> {
        let found = Self::ALL.into_iter().find(|verb| verb.name() == text);
        found.ok_or_else(|| UnknownVerb(text.chars().take(80).collect()))
    }
}

/// A move that a transaction takes now, and what it would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// What.
    pub verb: Verb,
    /// With which operation, where it is about one.
    pub operation: Option<OperationIndex>,
    /// What it would do, as a sentence for people.
    pub effect: String,
}

/// The moves that a transaction takes as its record stands. Whoever gives one of them may still
/// be too late: its owner may have gone on in the meantime.
///
/// # Errors
/// [`Unreadable`]: a record that is quarantined takes none.
pub fn legal_moves(record: &TxRecord) -> Result<Vec<Move>, Unreadable> {
    if record.definition.is_empty() {
        // The tombstone that an inquiry wrote.
        return Ok(Vec::new());
    }
    let (state, transaction) = readable(record)?;
    let standing = Standing::of(record, &state);
    let mut moves = Vec::new();
    for verb in Verb::ALL {
        let about: Vec<Option<OperationIndex>> = match verb.needs_operation() {
            true => state.stuck.iter().map(|(operation, _)| Some(*operation)).collect(),
            false => vec![None],
        };
        for operation in about {
            if standing.allows(verb, operation).is_ok() {
                let effect = standing.effect(verb, operation, &transaction);
                moves.push(Move { verb, operation, effect });
            }
        }
    }
    Ok(moves)
}

/// Why a signal is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// The transaction is decided or ended.
    TooLate,
    /// It was given before, or this one contradicts it.
    Stands(Signal),
    /// It does not fit.
    Invalid(&'static str),
}

/// What of a record says which signals it takes.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    ended: bool,
    status: Status,
    verdict: Option<Verdict>,
    point: Option<RecordKind>,
    stuck: &'a [(OperationIndex, Phase)],
    /// The last of the signals that say forward or back.
    decision: Option<&'a Signal>,
    has_exceptions: bool,
    /// Whether there is a gate to be passed.
    definition: &'a [u8],
}

impl<'a> Standing<'a> {
    pub(super) fn of(record: &'a TxRecord, state: &'a StoredState) -> Self {
        let decides = |signal: &&Signal| {
            matches!(signal, Signal::Approve | Signal::ForceCommit) || signal.wants_back()
        };
        Self {
            ended: record.due.is_none(),
            status: record.summary.status,
            verdict: record.verdict,
            point: state.point_of_no_return,
            stuck: &state.stuck,
            decision: state.signals.iter().rev().map(|entry| &entry.signal).find(decides),
            has_exceptions: !record.summary.exceptions.is_empty(),
            definition: &record.definition,
        }
    }

    fn is_undecided(&self) -> bool {
        self.verdict.is_none() && self.point.is_none()
    }

    /// The answer of its only participant is its verdict, and was perhaps told already.
    fn is_delegated(&self) -> bool {
        self.verdict.is_none() && self.point == Some(RecordKind::Delegated)
    }

    /// Whether it may be taken here.
    pub(super) fn allows(&self, verb: Verb, operation: Option<OperationIndex>) -> Result<(), No> {
        if verb == Verb::ClearExceptions {
            return invalid_unless(self.has_exceptions, "there are no exceptions to clear");
        }
        if self.ended {
            return Err(No::TooLate);
        }
        match verb {
            Verb::Approve | Verb::Reject | Verb::Cancel
                if !self.is_undecided() && !mutant!(CancelAfterDecision) =>
            {
                Err(No::TooLate)
            }
            Verb::Approve | Verb::Reject | Verb::Cancel => self.fits_decision(verb),
            Verb::Retry => invalid_unless(
                self.status == Status::NeedsAttention,
                "nothing of the transaction waits for an operator",
            ),
            Verb::Skip => self.allows_skip(self.stuck_phase(operation)?),
            Verb::EditInput => {
                let phase = self.stuck_phase(operation)?;
                let said_no = !self.is_undecided() && !phase.is_backward();
                invalid_unless(!said_no, "a no after the decision does not depend on the input")
            }
            Verb::ForceCommit => self.allows_force_commit(),
            Verb::ForceAbort => self.allows_force_abort(),
            Verb::Abandon => invalid_unless(
                !self.is_delegated() || self.status == Status::NeedsAttention,
                "its only participant decides, and is still asked",
            ),
            Verb::ClearExceptions => Ok(()),
        }
    }

    fn stuck_phase(&self, operation: Option<OperationIndex>) -> Result<Phase, No> {
        let found = self.stuck.iter().find(|(stuck, _)| Some(*stuck) == operation);
        found.map(|(_, phase)| *phase).ok_or(No::Invalid("this operation is not stuck"))
    }

    /// What a participant alone can promise cannot be counted as done in its place.
    fn allows_skip(&self, phase: Phase) -> Result<(), No> {
        let promised = matches!(phase, Phase::Prepare | Phase::Reserve | Phase::Validate);
        invalid_unless(!promised, "only the participant itself can promise this")
    }

    fn allows_force_commit(&self) -> Result<(), No> {
        if self.verdict.is_some_and(Verdict::is_backward) {
            return Err(No::TooLate);
        }
        if self.is_undecided() {
            self.fits_decision(Verb::ForceCommit)?;
            if self.stuck.is_empty() {
                // Resumed too often, it has reached nothing yet that could be passed.
                let has_gate = self.status != Status::NeedsAttention
                    && codec::decode(self.definition).is_ok_and(|t| t.has_gate());
                return invalid_unless(has_gate, "there is no gate to pass and nothing is stuck");
            }
        }
        if self.stuck.is_empty() {
            return Err(No::Invalid("nothing is stuck"));
        }
        self.stuck.iter().try_for_each(|(_, phase)| self.allows_skip(*phase))
    }

    fn allows_force_abort(&self) -> Result<(), No> {
        if self.is_undecided() {
            return self.fits_decision(Verb::ForceAbort);
        }
        match self.verdict {
            Some(verdict) if verdict.is_backward() => {
                invalid_unless(!self.stuck.is_empty(), "nothing is stuck")
            }
            _ => Err(No::TooLate),
        }
    }

    /// Of contradictory signals the first durable one stands (rule 8). An approval may be
    /// followed by whatever decides more.
    fn fits_decision(&self, verb: Verb) -> Result<(), No> {
        match self.decision {
            None => Ok(()),
            Some(Signal::Approve)
                if matches!(verb, Verb::Cancel | Verb::ForceCommit | Verb::ForceAbort) =>
            {
                Ok(())
            }
            Some(stands) => Err(No::Stands(stands.clone())),
        }
    }

    /// What a move that is allowed would do.
    fn effect(
        &self,
        verb: Verb,
        operation: Option<OperationIndex>,
        transaction: &Transaction,
    ) -> String {
        let name = |operation: OperationIndex| {
            let found = transaction.operations().get(operation.get());
            found.map_or_else(|| operation.to_string(), |found| found.name().to_string())
        };
        let stuck: Vec<String> = self
            .stuck
            .iter()
            .filter(|(stuck, _)| operation.is_none_or(|operation| operation == *stuck))
            .map(|(operation, phase)| format!("{phase} of {}", name(*operation)))
            .collect();
        let stuck = stuck.join(", ");
        let back = "It goes back: whatever was done is taken back in reverse order.";
        match verb {
            Verb::Approve => {
                "The approval counts as given; the gate opens when the rest is there.".into()
            }
            Verb::Reject | Verb::Cancel => back.into(),
            Verb::Retry if self.stuck.is_empty() => {
                "It is taken up once more, from its records.".into()
            }
            Verb::Retry => format!(
                "{stuck}: sent again, with all of its attempts. A participant that keeps its \
                 answers repeats a no."
            ),
            Verb::Skip => {
                format!("{stuck} counts as done, although nobody says that it is; then it goes on.")
            }
            Verb::EditInput => format!(
                "{stuck}: sent again with the input that you give. What was done with the old \
                 input stays."
            ),
            Verb::ForceCommit if self.stuck.is_empty() => {
                "It passes its last gate once all participants are ready, without the approval, \
                 the delay or the verification; then it is committed."
                    .into()
            }
            Verb::ForceCommit => format!(
                "{stuck} counts as done, although nobody says that it is; it goes forward. The \
                 exceptions stay listed."
            ),
            Verb::ForceAbort if self.is_undecided() => back.into(),
            Verb::ForceAbort => format!(
                "{stuck} counts as taken back, although nobody says that it is; it ends as gone \
                 back. The exceptions stay listed."
            ),
            Verb::Abandon if self.verdict.is_some_and(|verdict| !verdict.is_backward()) => {
                "It ends where it is, with the outcome that is decided and an exception. Nothing \
                 more is sent: what was not carried out never will be, and what is held for it \
                 stays held until somebody frees it by hand."
                    .into()
            }
            Verb::Abandon => "It ends where it is, as abandoned. Nothing more is sent; what was \
                 done stays done, and what is held ends by itself or by the participants' \
                 inquiries."
                .into(),
            Verb::ClearExceptions => {
                "Its exceptions are not listed any more; its history keeps them.".into()
            }
        }
    }
}

fn invalid_unless(holds: bool, why: &'static str) -> Result<(), No> {
    if holds { Ok(()) } else { Err(No::Invalid(why)) }
}
