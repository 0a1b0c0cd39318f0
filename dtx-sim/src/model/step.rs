//! What happens in a state.

use std::sync::Arc;

use dtx_core::{
    answer::{Done, NotDone, Reason, Refusal},
    engine::{
        Context, Input, InquiryStep, Notice, Outputs, Peers, ShardEngine, Signal, SignalEntry,
        SignalStep, answer_inquiry, signal_write,
    },
    ids::{Epoch, HolderId, OperationIndex, WriteId},
    pattern::{Pattern, Phase},
    resource::barrier::InboxRow,
    store::{CommitResult, Decision, RecordKind, Status, TxWrite, Verdict},
    transport::{Body, Command, Inquiry, Reply},
};

use super::{
    action::Action,
    bug::Bug,
    case::{ATTEMPT, Case, DEADLINE, LATE, START},
    participant::{Carried, Choice, Hold},
    state::{SEATS, Seat, State},
    store::{Flying, fence, land},
};
use crate::{
    check,
    finish::{Case as Ended, Effects, TxEffects, judge},
    view::Broken,
};

/// How often a row is written at the most where versions are not compared.
const REWRITES_MAX: u64 = 9;

impl State {
    /// The state after an action; `None` if nothing changes.
    pub(super) fn after(&self, case: &Case, action: Action) -> Option<Self> {
        let mut next = self.clone();
        next.happen(case, action);
        next.forget(case);
        next.seal(case);
        (next.digest() != self.digest()).then_some(next)
    }

    fn happen(&mut self, case: &Case, action: Action) {
        match action {
            Action::Command { operation, command, choice } => {
                let operation = usize::from(operation);
                let command = self.participants[operation].commands[usize::from(command)].clone();
                self.carry_out(case, operation, &command, choice);
            }
            Action::Reply { operation, reply, seat } => {
                let reply = &self.participants[usize::from(operation)].replies[usize::from(reply)];
                let mut reply = (**reply).clone();
                if case.bug == Some(Bug::NoIsYes)
                    && reply.phase == Phase::Validate
                    && matches!(reply.answer, Err(NotDone::Rejected(_)))
                {
                    reply.answer = Ok(Done::default());
                }
                self.feed(case, seat, Input::Reply(reply));
            }
            Action::Land { write } => self.land(case, usize::from(write)),
            Action::Hear { write, answer } => self.hear(case, write, answer),
            Action::Fail { seat } => self.fail(case, seat),
            Action::Load { seat, fresh } => self.load(case, seat, fresh),
            Action::Look { seat } => {
                let record = self.row.as_ref().map(|row| Box::new(row.record.clone()));
                let store_now = START;
                self.feed(case, seat, Input::Loaded { tx: case.tx, record: Ok(record), store_now });
            }
            Action::Tick { seat } => self.tick(case, seat),
            Action::Overdue { seat } => {
                let coordinator = self.seat(usize::from(seat));
                coordinator.now = coordinator.now + DEADLINE + DEADLINE;
                self.feed(case, seat, Input::Tick);
            }
            Action::Crash { seat } => {
                self.crashes_left -= 1;
                self.leave(usize::from(seat));
            }
            Action::TakeOver { seat } => {
                self.open_seat(case, usize::from(seat));
                self.seat(usize::from(seat)).recovering = Some(self.row.clone());
                self.seal_seat(usize::from(seat));
            }
            Action::Recover { seat, late } => self.recover(case, seat, late),
            Action::Inquire { operation } => self.inquire(case, usize::from(operation)),
            Action::Cancel => self.cancel(case),
            Action::Expire { operation } => {
                let participant = self.participant(usize::from(operation));
                participant.hold = Hold::Expired;
                participant.seal();
            }
        }
    }

    pub(super) fn open_seat(&mut self, case: &Case, seat: usize) {
        self.newest = Epoch(self.newest.0 + 1);
        let epoch = self.newest;
        let engine = ShardEngine::new(fence(case.shard, epoch), case.settings.clone());
        let now = START;
        *self.seat(seat) = Seat::new(engine, epoch, now);
        self.seal_seat(seat);
    }

    pub(super) fn submit(&mut self, case: &Case) {
        self.feed(case, 0, Input::RecoveryComplete);
        let transaction = case.transaction.clone();
        self.feed(case, 0, Input::Submit { tx: case.tx, transaction, observed: false });
    }

    fn leave(&mut self, seat: usize) {
        *self.seat(seat) = Seat::default();
        self.seal_seat(seat);
    }

    fn recover(&mut self, case: &Case, seat: u8, late: bool) {
        let Some(row) = self.seat(usize::from(seat)).recovering.take() else { return };
        // What is finished is not found among the open ones.
        if let Some(row) = row.filter(|row| row.record.due.is_some()) {
            let record = Box::new(row.record.clone());
            let store_now = if late { LATE } else { START };
            self.feed(case, seat, Input::Recovered { record, store_now });
        }
        self.feed(case, seat, Input::RecoveryComplete);
    }

    fn tick(&mut self, case: &Case, seat: u8) {
        let coordinator = self.seat(usize::from(seat));
        coordinator.now = coordinator.now + ATTEMPT;
        if case.bug == Some(Bug::TimeoutIsNo) {
            return self.hear_no(case, seat);
        }
        self.feed(case, seat, Input::Tick);
    }

    /// Rule taken out: whoever has not answered has said no.
    fn hear_no(&mut self, case: &Case, seat: u8) {
        let epoch = self.seats[usize::from(seat)].epoch;
        for operation in 0..self.participants.len() {
            let mut asked = self.participants[operation].commands.iter();
            let last = asked.rfind(|command| command.epoch == epoch).cloned();
            if let Some(command) = last {
                let answer = Err(NotDone::Rejected(Reason::new("late")));
                self.feed(case, seat, Input::Reply(command.reply(answer)));
            }
        }
    }

    /// Hands an input to an engine, and lets out what comes of it.
    fn feed(&mut self, case: &Case, seat: u8, input: Input) {
        let index = usize::from(seat);
        let coordinator = self.seat(index);
        let (now, epoch) = (coordinator.now, coordinator.epoch);
        let Some(engine) = coordinator.engine.as_mut() else { return };
        let (mut out, mut peers) = (Outputs::default(), Peers::default());
        let mut cx = Context { now, store_now: START, load_percent: 0, peers: &mut peers };
        engine.handle(input, &mut cx, &mut out);
        let mut passed_over = Vec::new();
        for command in out.commands {
            let Body::Command(command) = command.body else { continue };
            if self.is_passed_over(case, &command) {
                passed_over.push(command);
            } else {
                self.send(command);
            }
        }
        let mut is_lost = false;
        for notice in out.notices {
            is_lost |= self.notice(notice);
        }
        if !out.loads.is_empty() {
            self.seat(index).loading = Some(self.row.clone());
        }
        self.seal_seat(index);
        for write in out.writes {
            self.write(case, seat, epoch, write);
        }
        for command in passed_over {
            self.feed(case, seat, Input::Reply(command.reply(Ok(Done::default()))));
        }
        if is_lost {
            self.leave(index);
        }
    }

    /// Rule taken out: whoever has not answered has nothing to take back.
    fn is_passed_over(&self, case: &Case, command: &Command) -> bool {
        let replies = &self.participants[command.operation.get()].replies;
        case.bug == Some(Bug::UnansweredNotTakenBack)
            && command.phase.is_backward()
            && replies.iter().all(|reply| reply.phase.is_backward())
    }

    fn write(&mut self, case: &Case, seat: u8, epoch: Epoch, write: TxWrite) {
        let (tx, id) = (write.tx, write.id);
        let version = match write.expect {
            dtx_core::store::Expect::Absent => dtx_core::ids::Version(1),
            dtx_core::store::Expect::Version(version) => version.next(),
        };
        let early = leaves_early(&write, case.bug);
        if !self.writes.iter().any(|flying| flying.write.id == id) {
            let flying = Flying { write: Arc::new(write), from: Some(epoch), answers: Vec::new() };
            self.writes.push(flying);
        }
        if early {
            let result = CommitResult::Committed(version);
            self.feed(case, seat, Input::Written { tx, id, result });
        }
    }

    fn send(&mut self, command: Arc<Command>) {
        self.expect(check::command(Some(&self.view), &command));
        let operation = command.operation.get();
        let participant = self.participant(operation);
        participant.send(command);
        participant.seal();
    }

    /// Whether the lease is lost.
    fn notice(&mut self, notice: Notice) -> bool {
        match notice {
            Notice::Accepted(_) if !self.view.is_accepted() => {
                self.expect(Err("persist before send: accepted before it was durable"));
            }
            Notice::Told(_, outcome) => {
                self.expect(check::told(Some(&self.view), outcome));
                Arc::make_mut(&mut self.view).told = Some(outcome);
            }
            Notice::Quarantined(..) => self.expect(Err("a record could not be read")),
            Notice::LeaseLost(_) => return true,
            _ => {}
        }
        false
    }

    fn expect(&mut self, result: Result<(), Broken>) {
        if let Err(broken) = result {
            self.broken.get_or_insert(broken);
        }
    }

    fn land(&mut self, case: &Case, index: usize) {
        let flying = &self.writes[index];
        let (write, from) = (flying.write.clone(), flying.from);
        let (decision, row) = land(&write, self.row.as_deref(), self.newest, START, case.bug);
        if let Some(row) = row {
            let version = row.record.version;
            self.row = Some(Arc::new(row));
            let view = Arc::make_mut(&mut self.view);
            let broken = view.land(&write, version, false);
            for what in broken {
                self.expect(Err(what));
            }
            self.judge(case);
        }
        let waits = from.is_some_and(|from| self.waits(from, write.id, case));
        let answers = &mut self.writes[index].answers;
        let decision = match decision {
            Decision::Repeat(version) => Decision::Apply(version),
            other => other,
        };
        if waits && !answers.contains(&decision) {
            answers.push(decision);
        }
    }

    /// Whether the engine of an epoch waits for the answer to a write.
    fn waits(&self, from: Epoch, id: WriteId, case: &Case) -> bool {
        let mut engines = self.seats.iter().filter(|seat| seat.epoch == from);
        engines.any(|seat| {
            seat.engine.as_ref().is_some_and(|engine| engine.unsettled(case.tx) == Some(id))
        })
    }

    fn hear(&mut self, case: &Case, write: u8, answer: u8) {
        let flying = &mut self.writes[usize::from(write)];
        let decision = flying.answers.remove(usize::from(answer));
        let (id, from) = (flying.write.id, flying.from);
        let seat = (0..SEATS).find(|seat| Some(self.seats[*seat].epoch) == from);
        if let Some(seat) = seat {
            let result = decision.into();
            self.feed(case, seat as u8, Input::Written { tx: case.tx, id, result });
        }
    }

    fn fail(&mut self, case: &Case, seat: u8) {
        let engine = self.seats[usize::from(seat)].engine.as_ref();
        let Some(id) = engine.and_then(|engine| engine.unsettled(case.tx)) else { return };
        let result = CommitResult::Failed(crate::service::unknown("commit"));
        self.feed(case, seat, Input::Written { tx: case.tx, id, result });
        // And sends it again at its next look at the clock.
        let coordinator = self.seat(usize::from(seat));
        coordinator.now = coordinator.now + case.settings.write_retry;
        self.feed(case, seat, Input::Tick);
    }

    fn load(&mut self, case: &Case, seat: u8, fresh: bool) {
        let asked = self.seat(usize::from(seat)).loading.take();
        let row = if fresh { self.row.clone() } else { asked.flatten() };
        let record = Ok(row.map(|row| Box::new(row.record.clone())));
        self.feed(case, seat, Input::Loaded { tx: case.tx, record, store_now: START });
    }

    fn carry_out(&mut self, case: &Case, index: usize, command: &Command, choice: Choice) {
        let operation = OperationIndex(index as u16);
        let seen = self.participants[index].row.as_ref().map(|row| row.epoch());
        let participant = self.participant(index);
        let Carried { answer, is_new, ran } = participant.carry_out(command, choice, case.bug);
        participant.answer(command, answer.clone());
        participant.seal();
        let (executed, reversed) = (participant.executed, participant.reversed);
        let phase = command.phase;
        if ran && seen.is_some_and(|seen| seen > command.epoch) {
            self.expect(Err("fencing: a participant ran a command of an old epoch"));
        }
        let is_promised = self.view.verdict == Some(Verdict::Commit);
        if is_promised && matches!(answer, Err(NotDone::Refused(Refusal::Expired))) {
            self.expect(Err("agreement: what was promised had ended when it was committed"));
        }
        if is_new && answer.is_ok() && phase != Phase::Status {
            let (pattern, one) = (command.pattern, command.one_phase);
            let allowed = check::carried_out(Some(&self.view), operation, phase, pattern, one);
            self.expect(allowed);
        }
        let undone = self.view.operations.get(&operation).is_some_and(|sight| sight.is_undone());
        if answer.is_ok() && undone && !phase.is_backward() && phase != Phase::Status {
            self.expect(Err("rule 2: a forward repeat was answered done after going back"));
        }
        if executed > 1 || reversed > executed {
            self.expect(Err("effects: executed twice, or reversed without an effect"));
        }
        self.see(operation, phase, &answer, is_new);
        self.judge(case);
    }

    fn see(
        &mut self,
        operation: OperationIndex,
        phase: Phase,
        answer: &dtx_core::answer::PhaseAnswer,
        is_new: bool,
    ) {
        let rejects = matches!(answer, Err(NotDone::Rejected(_))) && !phase.is_backward();
        let expired = matches!(answer, Err(NotDone::Refused(Refusal::Expired)));
        let is_no = rejects || (expired && phase == Phase::Validate);
        let is_done = is_new && answer.is_ok();
        if !is_no && !is_done {
            return;
        }
        let view = Arc::make_mut(&mut self.view);
        let sight = view.operations.entry(operation).or_default();
        let list = if is_no { &mut sight.rejected } else { &mut sight.done };
        if !list.contains(&phase) {
            list.push(phase);
        }
    }

    /// Whether the effects fit the outcome, once there is one.
    fn judge(&mut self, case: &Case) {
        let Some(row) = &self.row else { return };
        let summary = &row.record.summary;
        let Status::Finished(outcome) = summary.status else { return };
        if !summary.exceptions.is_empty() {
            return;
        }
        let effects: TxEffects = self
            .participants
            .iter()
            .enumerate()
            .map(|(index, participant)| {
                let (executed, reversed) = (participant.executed, participant.reversed);
                let effects = Effects { executed: executed.into(), reversed: reversed.into() };
                (OperationIndex(index as u16), effects)
            })
            .collect();
        let read_only = |index: &u16| {
            let row = self.participants[usize::from(*index)].row.as_ref();
            row.and_then(|row| row.forward()).is_some_and(|done| done.read_only)
        };
        let count = self.participants.len() as u16;
        let ended = Ended {
            transaction: &case.transaction,
            outcome,
            effects: &effects,
            dead_letters: summary.dead_letters,
            skipped: (0..count).filter(read_only).map(OperationIndex).collect(),
            is_exact: true,
        };
        if judge(&ended).is_some() {
            self.expect(Err("mixed: the effects do not fit the outcome"));
        }
        let is_held = |p: &Arc<super::participant::Participant>| p.hold == Hold::Pinned;
        if self.participants.iter().any(is_held) {
            self.expect(Err("held: something is pinned by a finished transaction"));
        }
    }

    fn inquire(&mut self, case: &Case, index: usize) {
        let operation = OperationIndex(index as u16);
        let definition = case.transaction.operation(operation);
        let inquiry = Inquiry {
            tx: case.tx,
            pattern: case.transaction.pattern(),
            operation,
            participant: definition.participant().clone(),
            host: HolderId(0),
        };
        let record = self.row.as_ref().map(|row| &row.record);
        let version = record.map_or(0, |record| record.version.0);
        let id = WriteId { writer: HolderId(u128::MAX), number: version };
        // Before the deadline it would be told to wait.
        match answer_inquiry(&inquiry, record, LATE, id) {
            InquiryStep::Answer(verdict) if verdict.is_backward() => self.recall(case, index),
            InquiryStep::Write(_) if case.bug == Some(Bug::PresumedWithoutRecord) => {
                self.recall(case, index);
            }
            InquiryStep::Write(write) => self.add_write(*write),
            InquiryStep::Answer(_) | InquiryStep::Pending(_) => {}
        }
    }

    fn add_write(&mut self, write: TxWrite) {
        if !self.writes.iter().any(|flying| flying.write.id == write.id) {
            self.writes.push(Flying { write: Arc::new(write), from: None, answers: Vec::new() });
        }
    }

    /// A participant carries a going back out that came as the answer to its inquiry.
    fn recall(&mut self, case: &Case, index: usize) {
        let operation = OperationIndex(index as u16);
        let phase = match case.transaction.pattern() {
            Pattern::TwoPhaseCommit => Phase::Abort,
            _ => Phase::Release,
        };
        let name = case.transaction.operation(operation).participant();
        let row = self.participants[index].row.as_ref();
        let command = row.and_then(|row| row.recalled(case.tx, operation, name, phase));
        if let Some(command) = command {
            self.carry_out(case, index, &command, Choice::Yes);
        }
    }

    fn cancel(&mut self, case: &Case) {
        let Some(row) = &self.row else { return };
        let (by, reason) = (Reason::new("caller"), Reason::new(""));
        let entry = SignalEntry { signal: Signal::Cancel, by, reason };
        let id = WriteId { writer: HolderId(u128::MAX - 1), number: row.record.version.0 };
        if let SignalStep::Write(write) =
            signal_write(&row.record, entry, id, START, &case.settings)
        {
            self.add_write(*write);
        }
    }

    /// Leaves out what can never matter again: a write that the row has passed and whose sender
    /// does not wait for it, and answers that nobody waits for.
    fn forget(&mut self, case: &Case) {
        if !case.store_fails && case.bug.is_none() {
            self.forget_messages();
        }
        let version = self.row.as_ref().map_or(0, |row| row.record.version.0);
        let keeps_old = match case.bug {
            Some(Bug::VerdictOverwritten) => true,
            // Writes that take turns would go on for ever.
            Some(Bug::NotCompared) => version < REWRITES_MAX,
            _ => false,
        };
        let mut writes = std::mem::take(&mut self.writes);
        writes.retain_mut(|flying| {
            let id = flying.write.id;
            let waits = flying.from.is_some_and(|from| self.waits(from, id, case));
            if !waits {
                flying.answers.clear();
            }
            waits || keeps_old || flying.may_apply(self.row.as_deref())
        });
        self.writes = writes;
    }

    /// Leaves out what comes too late for ever: commands of an older epoch than their participant
    /// has seen, and replies to an epoch that nobody has any more.
    fn forget_messages(&mut self) {
        let epochs = self.seats.each_ref().map(|seat| seat.engine.as_ref().map(|_| seat.epoch));
        for index in 0..self.participants.len() {
            let participant = &self.participants[index];
            let seen = participant.row.as_ref().map_or(Epoch(0), InboxRow::epoch);
            let is_heard = |reply: &Arc<Reply>| epochs.contains(&Some(reply.epoch));
            let is_taken = |command: &Arc<Command>| command.epoch >= seen;
            let replies = participant.replies.iter().all(is_heard);
            if !replies || !participant.commands.iter().all(is_taken) {
                let participant = self.participant(index);
                participant.replies.retain(is_heard);
                participant.commands.retain(is_taken);
                participant.seal();
            }
        }
    }
}

/// Rules taken out: the engine is told that a write is durable before it is.
fn leaves_early(write: &TxWrite, bug: Option<Bug>) -> bool {
    let is_verdict = write.kind == RecordKind::Verdict;
    let backward = write.verdict.is_some_and(Verdict::is_backward);
    match bug {
        Some(Bug::BackwardBeforeVerdict) => is_verdict && backward,
        Some(Bug::ForwardBeforeVerdict) => is_verdict && !backward,
        Some(Bug::PointBeforeRecord) => {
            matches!(write.kind, RecordKind::PivotSent | RecordKind::Delegated)
        }
        Some(Bug::ResumeUnwritten) => write.kind == RecordKind::Resumed,
        _ => false,
    }
}
