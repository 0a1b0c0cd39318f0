//! Whether a command is run, answered from memory or refused.

use crate::{
    answer::{Done, NotDone, PhaseAnswer, Refusal},
    ids::{AcceptSequence, HolderId},
    mutant,
    pattern::{Pattern, Phase},
    resource::barrier::{
        Entry, InboxRow, Role,
        row::{ASK_AFTER_DEFAULT, Recall},
        table::{forward_phases, role},
    },
    time::Timestamp,
    transport::Command,
};

/// What the barrier must know besides the row and the command.
pub struct ClaimContext<'a> {
    /// This run of the host: the name that a claim gets.
    pub host: HolderId,
    /// Whether the end of a run of a host is proven: its process is gone, or its lease ended and
    /// its handlers were cancelled. Anything less is `false`.
    pub ended: &'a dyn Fn(HolderId) -> bool,
    /// The durable mark of the command's shard in this scope: rows below it may have been
    /// collected ([`forgotten_below`](super::forgotten_below)).
    pub forgotten_below: AcceptSequence,
    /// The participant store's clock, at the moment of the read.
    pub now: Timestamp,
}

impl std::fmt::Debug for ClaimContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimContext")
            .field("host", &self.host)
            .field("forgotten_below", &self.forgotten_below)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// What to do with a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// Run the handler, then [`finish`]. Where the effect is not in one transaction with the row,
    /// the row, which now holds the claim, is written before the handler begins.
    Run {
        /// The row with the claim.
        row: InboxRow,
        /// The answer of the operation's last forward phase that was carried out.
        forward: Option<Done>,
    },
    /// Ask the handler for its status; write nothing.
    Ask {
        /// The answer of the operation's last forward phase that was carried out.
        forward: Option<Done>,
    },
    /// The handler is not called.
    Answer {
        /// The row to write before the answer leaves; `None` when it did not change.
        row: Option<InboxRow>,
        /// The answer.
        answer: PhaseAnswer,
    },
}

/// Decides what to do with a command. `row` is what is stored of the operation.
pub fn claim(row: Option<&InboxRow>, context: &ClaimContext<'_>, command: &Command) -> Claim {
    let unknown = |reason: &str| Claim::Answer { row: None, answer: Err(NotDone::unknown(reason)) };
    let Some(role) = role(command.pattern, command.phase, command.one_phase) else {
        return unknown("the pattern has no such phase");
    };
    if row.is_some_and(|row| row.pattern != command.pattern) {
        return unknown("the operation was met in another pattern");
    }
    let is_new = row.is_none();
    let made;
    let row = match row {
        Some(row) if command.epoch < row.epoch && !mutant!(StaleEpochRuns) => {
            return unknown("the epoch is lower than one seen before");
        }
        Some(row) => row,
        // Rule 14: without a row, a finished transaction cannot be told from a new one.
        None if command.sequence < context.forgotten_below.max(command.watermark)
            && !mutant!(ForgottenRunsAgain) =>
        {
            return unknown("the transaction is finished and may be forgotten here");
        }
        None => {
            made = InboxRow::new(command, context.now);
            &made
        }
    };
    let decision = match role {
        Role::Ask => return Claim::Ask { forward: row.forward().cloned() },
        Role::Forward { after } => forward(row, context, command.phase, after),
        Role::Drop | Role::Compensate => backward(row, context, command.phase, role),
    };
    // What is written must hold the highest epoch and sequence, also when the answer is old.
    match decision {
        Decision::Run => {
            let mut row = row.met(command);
            for (_, entry) in &mut row.entries {
                // Only claims whose claimant has ended are left here.
                if matches!(entry, Entry::Started { .. }) {
                    *entry = Entry::Unsettled;
                }
            }
            let forward = row.forward().cloned();
            let again = row.entry(command.phase) == Some(&Entry::Unsettled);
            row.set(command.phase, Entry::Started { host: context.host, again });
            row.changed_at = context.now;
            Claim::Run { row, forward }
        }
        Decision::Record => {
            let mut row = row.met(command);
            // What another backward phase reversed is reversed, whoever asks by which phase: an
            // owner that took over does not know what the one before it had asked for.
            let reversed =
                |(_, entry): &(Phase, Entry)| matches!(entry, Entry::Done(done) if done.reversed);
            let done = Done { reversed: row.entries.iter().any(reversed), ..Done::default() };
            row.set(command.phase, Entry::Done(done.clone()));
            row.recall = None;
            row.changed_at = context.now;
            let is_forgotten = is_new && mutant!(NoTombstone);
            Claim::Answer { row: (!is_forgotten).then_some(row), answer: Ok(done) }
        }
        Decision::Answer(answer) => {
            let newer = !is_new && row.is_behind(command);
            Claim::Answer { row: newer.then(|| row.met(command)), answer }
        }
    }
}

enum Decision {
    Run,
    /// Record it as done without calling the handler.
    Record,
    Answer(PhaseAnswer),
}

fn busy() -> Decision {
    Decision::Answer(Err(NotDone::unknown("a phase of the operation is still running")))
}

fn is_live(entry: &Entry, context: &ClaimContext<'_>) -> bool {
    !mutant!(ClaimTakenOver)
        && matches!(entry, Entry::Started { host, .. } if !(context.ended)(*host))
}

fn forward(
    row: &InboxRow,
    context: &ClaimContext<'_>,
    phase: Phase,
    after: Option<Phase>,
) -> Decision {
    // Rule 2: once going back was begun nothing goes forward, not even a stored answer.
    if row.entries.iter().any(|(of, _)| of.is_backward()) && !mutant!(StoredDoneAfterUndone) {
        return Decision::Answer(Err(NotDone::Refused(Refusal::Undone)));
    }
    if let Some(answer) = row.answer(phase).filter(|_| !mutant!(RepeatRunsAgain)) {
        return Decision::Answer(answer);
    }
    if row.entries.iter().any(|(_, entry)| is_live(entry, context)) {
        return busy();
    }
    // An operation begins with one phase: it is executed or delivered, never both.
    let is_other = |(of, _): &(Phase, Entry)| *of != phase;
    let begun = row.entries.iter().find(|entry| is_other(entry)).map(|(of, _)| *of);
    let after = match (phase, begun) {
        (Phase::Commit, Some(Phase::Prepare)) => Some(Phase::Prepare),
        (_, Some(begun)) if after.is_none() => {
            let reason = format!("{phase} was asked for after {begun} was begun");
            return Decision::Answer(Err(NotDone::unknown(reason)));
        }
        _ => after,
    };
    match after {
        Some(before) if !matches!(row.entry(before), Some(Entry::Done(_))) => Decision::Answer(
            Err(NotDone::unknown(format!("{phase} was asked for before {before} was done"))),
        ),
        _ => Decision::Run,
    }
}

fn backward(row: &InboxRow, context: &ClaimContext<'_>, phase: Phase, role: Role) -> Decision {
    if let Some(answer) = row.answer(phase) {
        return Decision::Answer(answer);
    }
    if row.entries.iter().any(|(_, entry)| is_live(entry, context)) {
        return busy();
    }
    let undone = |(of, entry): &(Phase, Entry)| of.is_backward() && matches!(entry, Entry::Done(_));
    if row.entries.iter().any(undone) {
        return Decision::Record;
    }
    let mut forward = row.entries.iter().filter(|(of, _)| !of.is_backward());
    // Rule 3: nothing to take back, and after this nothing will ever be done.
    match forward.next() {
        None | Some((_, Entry::Rejected(_))) => return Decision::Record,
        Some(_) => {}
    }
    if role == Role::Drop && may_have_effect(row) && !mutant!(DropLeavesEffect) {
        // It was executed, or it may have been: dropping the intent would leave the effect.
        return Decision::Answer(Err(NotDone::Refused(Refusal::Executed)));
    }
    Decision::Run
}

/// Whether the last forward phase was carried out, or may have been.
fn may_have_effect(row: &InboxRow) -> bool {
    let last = forward_phases(row.pattern).last().and_then(|last| row.entry(*last));
    matches!(last, Some(Entry::Done(_) | Entry::Unsettled | Entry::Started { .. }))
}

/// The answer of the handler as it is stored and told: the barrier says whether an effect that
/// was there, or may have been there, was reversed. `row` is the one that [`claim`] gave.
pub fn stamp(row: &InboxRow, command: &Command, answer: PhaseAnswer) -> PhaseAnswer {
    let reversed = command.phase == Phase::Compensate && may_have_effect(row);
    answer.map(|done| Done { reversed, ..done })
}

/// Puts the answer of the handler, after its [`stamp`], into the row that [`claim`] gave.
///
/// `Done` is stored, and so is `Rejected` of a forward phase but for `Deliver`, which is retried.
/// Any other answer ends the claim so that a repeat runs again: without a trace when nothing
/// happened, as [`Entry::Unsettled`] after an `Unknown` and in a backward phase. Where the effect
/// is rolled back together with the row, an `Unknown` needs no `finish`: keep the row as it was
/// before the claim.
pub fn finish(mut row: InboxRow, command: &Command, answer: &PhaseAnswer) -> InboxRow {
    let phase = command.phase;
    let again = matches!(row.entry(phase), Some(Entry::Started { again: true, .. }));
    match answer {
        _ if phase == Phase::Status => {}
        Ok(done) => {
            row.set(phase, Entry::Done(done.clone()));
            row.recall = holds(&row, phase, done).then(|| Box::new(recall(&row, command)));
        }
        // Going back was begun and stays so: nothing goes forward any more.
        Err(_) if phase.is_backward() => row.set(phase, Entry::Unsettled),
        Err(NotDone::Unknown(_)) if mutant!(UnknownForgotten) => row.remove(phase),
        Err(NotDone::Unknown(_)) => row.set(phase, Entry::Unsettled),
        Err(NotDone::Rejected(reason)) if phase != Phase::Deliver => {
            row.set(phase, Entry::Rejected(reason.clone()));
        }
        // This run did nothing, but an earlier one may have.
        Err(NotDone::Rejected(_) | NotDone::Refused(_)) if again => {
            row.set(phase, Entry::Unsettled);
        }
        Err(NotDone::Rejected(_) | NotDone::Refused(_)) => row.remove(phase),
    }
    row
}

/// Whether what this phase leaves may not be released by a clock.
fn holds(row: &InboxRow, phase: Phase, done: &Done) -> bool {
    match (row.pattern, phase) {
        (Pattern::TwoPhaseCommit, Phase::Prepare) => !done.read_only,
        (Pattern::ThreePhaseSaga, Phase::Validate) => true,
        _ => false,
    }
}

fn recall(row: &InboxRow, command: &Command) -> Recall {
    let after = command.ttl.or(command.deadline).unwrap_or(ASK_AFTER_DEFAULT);
    Recall {
        action: command.action.clone(),
        action_version: command.action_version,
        payload: command.payload.clone(),
        ask_at: row.changed_at + after,
    }
}
