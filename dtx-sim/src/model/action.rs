//! Everything that can happen in a state.

use dtx_core::{store::Expect, time::Timestamp};

use super::{
    bug::Bug,
    case::Case,
    participant::Choice,
    state::{SEATS, State},
};

/// Something that can happen. Numbers are places in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A command reaches its participant.
    Command { operation: u8, command: u8, choice: Choice },
    /// A reply reaches a coordinator.
    Reply { operation: u8, reply: u8, seat: u8 },
    /// A write reaches the store.
    Land { write: u8 },
    /// A coordinator hears the store's answer.
    Hear { write: u8, answer: u8 },
    /// A coordinator hears that its write failed and that nobody knows more.
    Fail { seat: u8 },
    /// A coordinator gets the record that it asked for, as it was then or as it is now.
    Load { seat: u8, fresh: bool },
    /// A coordinator finds that somebody wrote to the transaction.
    Look { seat: u8 },
    /// No answer came in time.
    Tick { seat: u8 },
    /// The deadline has passed on a coordinator's clock.
    Overdue { seat: u8 },
    /// A coordinator loses its memory.
    Crash { seat: u8 },
    /// A coordinator gets the lease.
    TakeOver { seat: u8 },
    /// A new owner takes up what it found when it got the lease. The deadline has passed on the
    /// store's clock, or it has not.
    Recover { seat: u8, late: bool },
    /// A participant asks what was decided.
    Inquire { operation: u8 },
    /// The caller cancels.
    Cancel,
    /// What is held ends by a clock.
    Expire { operation: u8 },
}

impl State {
    pub(super) fn actions(&self, case: &Case, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        self.messages(case, actions);
        self.writes_and_answers(actions);
        for seat in 0..SEATS as u8 {
            self.of_seat(case, seat, actions);
        }
        self.of_seats_together(case, actions);
        self.of_clocks(case, actions);
    }

    fn messages(&self, case: &Case, actions: &mut Vec<Action>) {
        for (index, participant) in self.participants.iter().enumerate() {
            let operation = index as u8;
            for (at, command) in participant.commands.iter().enumerate() {
                let command_at = at as u8;
                let act = |choice| Action::Command { operation, command: command_at, choice };
                actions.push(act(Choice::Yes));
                if participant.has_choice(command) {
                    let choices = case.choices(index, command.phase);
                    actions.extend(choices.iter().map(|choice| act(*choice)));
                }
            }
            for (at, _) in participant.replies.iter().enumerate() {
                for seat in 0..SEATS as u8 {
                    if self.seats[usize::from(seat)].engine.is_some() {
                        actions.push(Action::Reply { operation, reply: at as u8, seat });
                    }
                }
            }
        }
    }

    fn writes_and_answers(&self, actions: &mut Vec<Action>) {
        for (index, flying) in self.writes.iter().enumerate() {
            let write = index as u8;
            actions.push(Action::Land { write });
            for answer in 0..flying.answers.len() as u8 {
                actions.push(Action::Hear { write, answer });
            }
        }
    }

    fn of_seat(&self, case: &Case, seat: u8, actions: &mut Vec<Action>) {
        let coordinator = &self.seats[usize::from(seat)];
        let Some(engine) = &coordinator.engine else { return };
        if coordinator.recovering.is_some() {
            actions.push(Action::Recover { seat, late: false });
            if case.has_deadline() {
                actions.push(Action::Recover { seat, late: true });
            }
        }
        if coordinator.loading.is_some() {
            actions.push(Action::Load { seat, fresh: true });
            actions.push(Action::Load { seat, fresh: false });
        }
        let row = self.row.as_ref().map(|row| &row.record);
        if row.is_some_and(|row| row.due.is_some_and(|due| due != Timestamp::MAX)) {
            actions.push(Action::Look { seat });
        }
        if case.store_fails && engine.unsettled(case.tx).is_some() {
            actions.push(Action::Fail { seat });
        }
        let undecided = engine.is_undecided(case.tx);
        let completed = dtx_core::store::Verdict::Completed;
        let delivers = self.view.verdict == Some(completed) && case.is_delivered();
        if engine.awaits_answers(case.tx) && (undecided || delivers) {
            actions.push(Action::Tick { seat });
        }
        if undecided && !coordinator.is_overdue() {
            actions.push(Action::Overdue { seat });
        }
        if self.crashes_left > 0 {
            actions.push(Action::Crash { seat });
        }
    }

    /// Who may take the shard over: a seat without an engine, or the one whose lease has ended.
    fn of_seats_together(&self, case: &Case, actions: &mut Vec<Action>) {
        if self.newest.0 >= case.epochs || self.row.is_none() {
            return;
        }
        let free = self.seats.iter().position(|c| c.engine.is_none());
        let stale = |c: &super::state::Seat| c.engine.is_some() && c.epoch < self.newest;
        let stale = self.seats.iter().position(|c| stale(c));
        for seat in free.into_iter().chain(stale) {
            actions.push(Action::TakeOver { seat: seat as u8 });
        }
    }

    fn of_clocks(&self, case: &Case, actions: &mut Vec<Action>) {
        let pinned = |p: &super::participant::Participant| {
            p.row.as_ref().is_some_and(|row| row.recall().is_some())
        };
        for (index, participant) in self.participants.iter().enumerate() {
            let operation = index as u8;
            if pinned(participant) && case.inquires() {
                actions.push(Action::Inquire { operation });
            }
            let is_held = participant.hold == super::participant::Hold::Held;
            let is_pinned = participant.hold == super::participant::Hold::Pinned;
            if (is_held && case.expires) || (is_pinned && case.bug == Some(Bug::PinnedExpires)) {
                actions.push(Action::Expire { operation });
            }
        }
        let cancels = |flying: &super::store::Flying| {
            flying.write.kind == dtx_core::store::RecordKind::Signal
                && matches!(flying.write.expect, Expect::Version(_))
        };
        if case.cancels && self.row.is_some() && !self.writes.iter().any(cancels) {
            actions.push(Action::Cancel);
        }
    }
}
