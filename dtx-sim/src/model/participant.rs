//! A participant: the real barrier before a handler whose effect is in one write with the row.

use std::sync::Arc;

use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer, Refusal, rejected},
    ids::{AcceptSequence, HolderId},
    pattern::{Pattern, Phase},
    resource::barrier::{Claim, ClaimContext, Entry, InboxRow, claim, finish, stamp},
    time::Timestamp,
    transport::{Command, Reply},
};

use super::{
    bug::Bug,
    digest::{digest_of, unordered},
};

/// What the handler holds for the operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Hold {
    #[default]
    Nothing,
    /// It ends by a clock.
    Held,
    /// A clock has ended it.
    Expired,
    /// It does not end by a clock.
    Pinned,
}

/// What the handler says when it has a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Choice {
    Yes,
    No,
    ReadOnly,
}

/// One operation's participant, with the messages to and from it. A message that was sent stays:
/// it may come at any time, and again.
#[derive(Clone, Debug, Default)]
pub(super) struct Participant {
    pub(super) row: Option<InboxRow>,
    pub(super) hold: Hold,
    pub(super) executed: u8,
    pub(super) reversed: u8,
    pub(super) commands: Vec<Arc<Command>>,
    pub(super) replies: Vec<Arc<Reply>>,
    digest: u64,
}

/// What became of a command.
pub(super) struct Carried {
    pub(super) answer: PhaseAnswer,
    /// The answer was stored just now.
    pub(super) is_new: bool,
    /// The handler ran.
    pub(super) ran: bool,
}

impl Participant {
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn seal(&mut self) {
        let row = self.row.as_ref().map(|row| {
            let entries: Vec<_> =
                row.entries().iter().map(|(phase, e)| (*phase, kind(e))).collect();
            (row.epoch(), row.sequence(), entries, row.recall().is_some())
        });
        let commands = self.commands.iter().map(|c| digest_of((c.phase, c.epoch, c.one_phase)));
        let replies = self.replies.iter().map(|r| digest_of((r.phase, r.epoch, said(&r.answer))));
        let effects = (self.hold, self.executed, self.reversed);
        self.digest = digest_of((row, effects, unordered(commands), unordered(replies)));
    }

    pub(super) fn send(&mut self, command: Arc<Command>) {
        let same = |c: &Arc<Command>| {
            (c.phase, c.epoch, c.one_phase) == (command.phase, command.epoch, command.one_phase)
        };
        if !self.commands.iter().any(same) {
            self.commands.push(command);
        }
    }

    pub(super) fn answer(&mut self, command: &Command, answer: PhaseAnswer) {
        let same = |r: &Arc<Reply>| {
            (r.phase, r.epoch, said(&r.answer)) == (command.phase, command.epoch, said(&answer))
        };
        if command.reply && !self.replies.iter().any(same) {
            self.replies.push(Arc::new(command.reply(answer)));
        }
    }

    /// Whether the handler has a choice about the command.
    pub(super) fn has_choice(&self, command: &Command) -> bool {
        self.row.as_ref().is_none_or(|row| row.entry(command.phase).is_none())
    }

    /// Carries a command out as a host does.
    pub(super) fn carry_out(
        &mut self,
        command: &Command,
        choice: Choice,
        bug: Option<Bug>,
    ) -> Carried {
        let before = self.taken_out(self.row.clone(), command, bug);
        let seen = before.as_ref().map_or(command.epoch, InboxRow::epoch);
        let epoch = command.epoch.max(seen);
        let raised = (bug == Some(Bug::OldEpochRun)).then(|| Command { epoch, ..command.clone() });
        let command = raised.as_ref().unwrap_or(command);
        if bug == Some(Bug::NoTombstone) && before.is_none() && command.phase.is_backward() {
            return Carried { answer: Ok(Done::default()), is_new: false, ran: false };
        }
        if bug == Some(Bug::StoredDoneAfterUndone)
            && !command.phase.is_backward()
            && let Some(answer) = before.as_ref().and_then(|row| row.answer(command.phase))
        {
            return Carried { answer, is_new: false, ran: false };
        }
        let context = ClaimContext {
            host: HolderId(0),
            ended: &|_| false,
            forgotten_below: AcceptSequence::default(),
            now: Timestamp::ZERO,
        };
        let known = before.as_ref().and_then(|row| row.answer(command.phase)).is_some();
        match claim(before.as_ref(), &context, command) {
            Claim::Ask { forward } => {
                let stands = forward.is_some() && self.hold != Hold::Expired;
                let answer = if stands {
                    Ok(Done::default())
                } else {
                    Err(NotDone::unknown("nothing stands"))
                };
                Carried { answer, is_new: false, ran: false }
            }
            Claim::Answer { row, answer } => {
                let is_new = row.is_some() && !known && answer.is_ok();
                if let Some(row) = row {
                    self.row = Some(row);
                }
                if is_new && bug == Some(Bug::EmptyCompensationRuns) {
                    self.reversed += 1;
                }
                Carried { answer, is_new, ran: false }
            }
            Claim::Run { row, .. } => {
                let answer = stamp(&row, command, self.handle(command, choice));
                self.row = match &answer {
                    Ok(_) | Err(NotDone::Rejected(_)) if kept(command, &answer) => {
                        Some(finish(row, command, &answer))
                    }
                    // Nothing stays of it, but for the highest epoch.
                    _ => before.map(|row| row.met(command)),
                };
                let is_new = kept(command, &answer);
                Carried { answer, is_new, ran: true }
            }
        }
    }

    fn taken_out(
        &self,
        row: Option<InboxRow>,
        command: &Command,
        bug: Option<Bug>,
    ) -> Option<InboxRow> {
        let is_done = |row: &InboxRow| matches!(row.entry(command.phase), Some(Entry::Done(_)));
        match bug {
            Some(Bug::NotDeduplicated) if row.as_ref().is_some_and(is_done) => None,
            _ => row,
        }
    }

    fn handle(&mut self, command: &Command, choice: Choice) -> PhaseAnswer {
        let no = || rejected("no");
        match command.phase {
            Phase::Prepare | Phase::Reserve => match choice {
                Choice::No => return no(),
                Choice::ReadOnly => return Ok(Done { read_only: true, ..Done::default() }),
                Choice::Yes if command.pattern == Pattern::TwoPhaseCommit => {
                    self.hold = Hold::Pinned;
                }
                Choice::Yes => self.hold = Hold::Held,
            },
            Phase::Validate => match (self.hold, choice) {
                (Hold::Held, Choice::Yes) => self.hold = Hold::Pinned,
                (Hold::Held, _) => {
                    self.hold = Hold::Nothing;
                    return no();
                }
                _ => return Err(NotDone::Refused(Refusal::Expired)),
            },
            Phase::Execute | Phase::Commit => {
                if self.hold == Hold::Expired {
                    return Err(NotDone::Refused(Refusal::Expired));
                }
                if choice == Choice::No {
                    return no();
                }
                self.hold = Hold::Nothing;
                self.executed += 1;
            }
            Phase::Deliver => self.executed += 1,
            Phase::Cancel | Phase::Release | Phase::Abort => self.hold = Hold::Nothing,
            Phase::Compensate => {
                self.hold = Hold::Nothing;
                if self.executed > self.reversed {
                    self.reversed += 1;
                }
            }
            Phase::Status => {}
        }
        Ok(Done::default())
    }
}

fn kept(command: &Command, answer: &PhaseAnswer) -> bool {
    match answer {
        Ok(_) => true,
        Err(NotDone::Rejected(_)) => command.phase != Phase::Deliver,
        Err(_) => false,
    }
}

fn kind(entry: &Entry) -> u8 {
    match entry {
        Entry::Started { .. } => 0,
        Entry::Unsettled => 1,
        Entry::Done(done) => 2 + u8::from(done.read_only) + 2 * u8::from(done.reversed),
        Entry::Rejected(_) => 6,
    }
}

/// What an answer says.
pub(super) fn said(answer: &PhaseAnswer) -> u8 {
    match answer {
        Ok(done) => u8::from(done.read_only) + 2 * u8::from(done.reversed),
        Err(NotDone::Rejected(_)) => 4,
        Err(NotDone::Refused(refusal)) => 5 + *refusal as u8,
        Err(NotDone::Unknown(_)) => 8,
    }
}
