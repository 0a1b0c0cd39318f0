//! One transaction's turn: its records and what follows once they are durable.

use std::time::Duration;

use thin_vec::ThinVec;

use crate::{
    answer::Reason,
    engine::{
        Context, Notice, Outputs, Refused, Signal, StoredState,
        open::{End, OpenTx, Record},
        operate,
        shard::Shared,
    },
    error::Retry,
    ids::{AcceptSequence, OperationIndex, TxId, WriteId},
    mutant,
    pattern::{Effect, Event, Pattern, Phase},
    store::{
        CommitResult, Expect, JournalEntry, JournalEvent, Outcome, RecordKind, Status, Summary,
        TxRecord, TxWrite, Verdict,
    },
    time::Timestamp,
    transaction::codec,
};

/// One transaction, while something happens to it.
pub(super) struct Turn<'a, 'c> {
    pub(super) tx: TxId,
    pub(super) open: &'a mut OpenTx,
    pub(super) shared: &'a mut Shared,
    pub(super) cx: &'a mut Context<'c>,
    pub(super) out: &'a mut Outputs,
}

impl Turn<'_, '_> {
    /// Hands an event to the machine and carries its effects out.
    pub(super) fn feed(&mut self, event: Event) {
        if self.open.abandoned {
            return;
        }
        let mut effects = std::mem::take(&mut self.shared.effects);
        let transaction = self.open.transaction.clone();
        match self.open.machine.advance(&transaction, event, &mut effects) {
            Ok(()) => {
                let mut delays = self.delays(&effects).into_iter();
                effects.drain(..).for_each(|effect| self.carry_out(effect, &mut delays));
                self.shared.effects = effects;
            }
            // The tables are complete for what this engine feeds; if they are not after all, the
            // transaction stops where it is and an operator sees why.
            Err(undefined) => self.except(Reason::new(undefined.to_string())),
        }
    }

    fn carry_out(&mut self, effect: Effect, delays: &mut impl Iterator<Item = Duration>) {
        match effect {
            Effect::Send { operation, phase, one_phase } => {
                let delay = delays.next().unwrap_or_default();
                self.begin_after(delay, operation, phase, one_phase);
            }
            Effect::Record { kind, verdict, lazy, last } => {
                if verdict.is_some_and(Verdict::is_backward) && kind == RecordKind::Verdict {
                    self.ground();
                }
                let foreign = self.open.has_foreign(&self.shared.settings.without_inbox);
                self.record(Record { kind, verdict, lazy: lazy && !foreign, last });
            }
            Effect::OpenGate => self.open_gate(),
            Effect::Tell(outcome) => self.tell(outcome),
            Effect::DeadLetter(operation) => {
                self.open.dead_letters += 1;
                self.land(operation);
                self.out.notices.push(Notice::DeadLetter(self.tx, operation));
            }
            Effect::Attention { operation, phase, exception } => {
                self.attention(operation, phase, exception);
            }
            // With a last record that is still queued the close waits for it; whatever else is
            // queued has nothing to add to a transaction that is over.
            Effect::Close if self.open.queue.iter().any(|record| record.last.is_some()) => {}
            Effect::Close => self.open.end = Some(End::Closed),
        }
    }

    /// Nothing forward is waited for any more.
    pub(super) fn ground(&mut self) {
        self.withdraw();
        for operation in 0..self.open.flights.len() {
            self.land(OperationIndex(operation as u16));
        }
        self.open.gate = None;
        // What was stuck on the way forward is not asked for any more.
        self.open.state.stuck.clear();
        self.open.status = Status::Open;
    }

    fn attention(&mut self, operation: OperationIndex, phase: Phase, exception: bool) {
        let name = self.open.transaction.operation(operation).name().clone();
        let attempts = self.shared.last_attempts;
        let why = self.shared.last_failure.take();
        let why = why.map_or_else(|| "no answer came in time".to_owned(), |why| why.to_string());
        self.land(operation);
        self.open.state.stuck.push((operation, phase));
        self.open.status = Status::NeedsAttention;
        if exception {
            self.except(Reason::new(format!("{name} refused {phase} after the decision: {why}")));
        } else {
            let text = format!("{name} could not {phase} in {attempts} attempts: {why}");
            self.except(Reason::new(text));
        }
    }

    pub(super) fn except(&mut self, reason: Reason) {
        self.note(JournalEvent::Exception(reason.clone()));
        self.open.exceptions.push(reason);
        self.open.status = Status::NeedsAttention;
        self.out.notices.push(Notice::NeedsAttention(self.tx));
        self.record(Record::PROGRESS);
    }

    /// Adds to the timeline, which rides in the next write.
    pub(super) fn note(&mut self, event: JournalEvent) {
        if self.open.journal.len() >= self.shared.settings.journal_entries_max {
            self.open.journal.leave_out();
            return;
        }
        let (at, epoch) = (self.cx.store_now, self.shared.fence.epoch);
        self.open.journal.push(JournalEntry { at, epoch, event });
    }

    /// Writes a record, now or once the unsettled one is settled.
    pub(super) fn record(&mut self, record: Record) {
        let known = record.kind == RecordKind::Progress && self.open.queue.contains(&record);
        if self.open.unsettled.is_none() && self.open.queue.is_empty() {
            self.write(record);
        } else if !known {
            self.open.queue.push(record);
            self.write_next();
        }
    }

    fn write_next(&mut self) {
        if self.open.unsettled.is_some() || self.open.queue.is_empty() {
            return;
        }
        let record = self.open.queue.remove(0);
        if self.open.queue.is_empty() {
            self.open.queue = ThinVec::new();
        }
        self.write(record);
    }

    fn write(&mut self, record: Record) {
        if self.overtakes(record) {
            // The signal was durable first, so it stands (rule 8): it is heard at the end of this
            // turn, or once what is written instead is durable.
            self.open.state.point_of_no_return = None;
            self.write_next();
            return;
        }
        let write = self.build(record);
        self.out.writes.push(write.clone());
        self.open.unsettled = Some(Box::new(write));
        self.open.write_again_at = Timestamp::MAX;
    }

    fn build(&mut self, record: Record) -> TxWrite {
        if matches!(record.kind, RecordKind::PivotSent | RecordKind::Delegated) {
            self.open.state.point_of_no_return = Some(record.kind);
        }
        self.note(match record.verdict {
            Some(verdict) if record.kind == RecordKind::Verdict => JournalEvent::Decided(verdict),
            _ => JournalEvent::Recorded(record.kind),
        });
        if let Some(outcome) = record.last {
            self.note(JournalEvent::Told(outcome));
        }
        let heard = self.open.signals_seen.max(self.open.moves_made);
        self.open.state.signals_heard = heard.max(self.open.state.signals_heard);
        let accept = record.kind == RecordKind::Accepted;
        let transaction = &self.open.transaction;
        let fire = transaction.pattern() == Pattern::FireAndForget;
        TxWrite {
            id: self.shared.write_id(),
            tx: self.tx,
            kind: record.kind,
            expect: if accept { Expect::Absent } else { Expect::Version(self.open.version) },
            fence: Some(self.shared.fence),
            key: if accept { transaction.key().cloned() } else { None },
            definition: accept.then(|| codec::encode(transaction)),
            // The accept of a 0.5PS is its verdict.
            verdict: if accept && fire { Some(Verdict::Completed) } else { record.verdict },
            state: self.open.state.encode(),
            due: self.due(record),
            summary: self.summary(record.last),
            journal: self.open.journal.take(self.cx.store_now, self.shared.fence.epoch),
            lazy: record.lazy,
        }
    }

    /// When somebody else should look at the row. A row in an owner's memory is found by whoever
    /// takes the shard over, and is due to nobody before.
    fn due(&self, record: Record) -> Option<Timestamp> {
        if record.last.is_some() {
            return None;
        }
        match (&self.open.gate, self.open.status) {
            (Some(gate), Status::Parked) => {
                let pause = gate.wake_at.since(self.cx.now);
                let due = self.cx.store_now + pause;
                Some(if mutant!(ParkedForgotten) { Timestamp::MAX } else { due })
            }
            _ => Some(Timestamp::MAX),
        }
    }

    fn summary(&self, last: Option<Outcome>) -> Summary {
        let status = match (last, self.open.status) {
            (Some(outcome), _) => Status::Finished(outcome),
            (None, status) => status,
        };
        Summary {
            pattern: self.open.transaction.pattern(),
            status,
            operations: self.open.transaction.operations().len() as u16,
            dead_letters: self.open.dead_letters,
            resumes: self.open.state.resumes,
            exceptions: self.open.exceptions.to_vec(),
        }
    }

    /// The store answered a write.
    pub(super) fn written(&mut self, id: WriteId, result: CommitResult) {
        if self.open.unsettled.as_ref().is_none_or(|write| write.id != id) {
            return;
        }
        match result {
            CommitResult::Committed(version) => {
                self.open.version = version;
                if let Some(write) = self.open.unsettled.take() {
                    let last = match write.summary.status {
                        Status::Finished(outcome) => Some(outcome),
                        _ => None,
                    };
                    self.durable(write.kind, write.verdict, last);
                }
                self.write_next();
            }
            CommitResult::Conflict { found: Some(found), verdict: Some(_) }
                if mutant!(VerdictConflictIgnored) =>
            {
                self.written(id, CommitResult::Committed(found));
            }
            CommitResult::Conflict { found: None, .. } => self.set_aside("its record is gone"),
            // Somebody wrote in between (rule 8): see what, then go on from there.
            CommitResult::Conflict { found: Some(_), .. } => self.out.loads.push(self.tx),
            CommitResult::DuplicateKey { tx } => self.not_accepted(Refused::DuplicateKey(tx)),
            CommitResult::Fenced => {
                self.out.notices.push(Notice::LeaseLost(self.shared.fence.shard));
            }
            CommitResult::Failed(error) => {
                if self.is_accept()
                    && (error.retry() == Retry::Never || mutant!(UnknownWriteIsFailed))
                {
                    self.not_accepted(Refused::Store(error));
                } else {
                    // Whether it landed or not, the same write id settles it (rule 9).
                    self.open.write_again_at = self.cx.now + self.shared.settings.write_retry;
                }
            }
        }
    }

    /// Leaves a record alone that only an operator can make sense of.
    fn set_aside(&mut self, why: &str) {
        self.out.notices.push(Notice::Quarantined(self.tx, why.to_owned()));
        self.open.end = Some(End::SetAside);
    }

    fn is_accept(&self) -> bool {
        self.open.unsettled.as_ref().is_some_and(|write| write.kind == RecordKind::Accepted)
    }

    fn not_accepted(&mut self, refused: Refused) {
        self.open.unsettled = None;
        self.out.notices.push(Notice::NotAccepted(self.tx, refused));
        self.open.end = Some(End::NotAccepted);
    }

    /// A record is durable: what waited for it may go on.
    fn durable(&mut self, kind: RecordKind, verdict: Option<Verdict>, last: Option<Outcome>) {
        if last.is_some() {
            // Whatever is queued behind it has nothing to add to a transaction that is over, and
            // would open it again.
            self.open.queue.clear();
        }
        match kind {
            RecordKind::Accepted => {
                self.out.notices.push(Notice::Accepted(self.tx));
                match verdict {
                    Some(verdict) => self.feed(Event::Decided(verdict)),
                    None => self.feed(Event::Start),
                }
            }
            RecordKind::Resumed => self.start_again(),
            RecordKind::Verdict => {
                if let Some(verdict) = verdict {
                    self.feed(Event::Decided(verdict));
                }
            }
            RecordKind::PivotSent | RecordKind::Delegated => self.feed(Event::Recorded(kind)),
            RecordKind::Finished => {
                if self.open.told.is_none() {
                    self.feed(Event::Recorded(kind));
                }
                self.open.end = Some(End::Closed);
            }
            RecordKind::Progress if self.open.status == Status::Parked => self.park(),
            RecordKind::Progress if let Some(outcome) = last => {
                self.tell(outcome);
                self.open.end = Some(End::Closed);
            }
            // A later progress record waits with what was found since this one was made: only
            // once that is durable too is any of it acted on.
            RecordKind::Progress if self.open.queue.contains(&Record::PROGRESS) => {}
            RecordKind::Progress => {
                for event in std::mem::take(&mut self.open.after_progress) {
                    self.feed(event);
                }
                self.check_gate();
            }
            RecordKind::Signal => {}
        }
    }

    /// Leaves the memory until the gate's time, unless there is something to be heard or written
    /// first: nobody else would look before that time.
    fn park(&mut self) {
        let unheard = usize::from(self.open.signals_seen) < self.open.state.signals.len();
        if unheard || !self.open.queue.is_empty() || self.open.gate.is_none() {
            self.open.status = Status::Open;
        } else {
            self.open.end = Some(End::Parked);
        }
    }

    /// Takes over what another writer left: a verdict stands, signals are heard, and what was to
    /// be written is written on top of it.
    pub(super) fn adopt(&mut self, record: TxRecord) {
        if let Some(write) = &self.open.unsettled
            && record.last_write == write.id
        {
            // Our own write had landed after all.
            let id = write.id;
            self.written(id, CommitResult::Committed(record.version));
            return;
        }
        if self.is_accept() {
            self.adopt_accept(record);
            return;
        }
        if record.version <= self.open.version {
            // A read that shows nothing new settles nothing (rule 9): the same write again.
            self.open.write_again_at = self.cx.now + self.shared.settings.write_retry;
            return;
        }
        let Ok(state) = StoredState::decode(&record.state) else {
            self.set_aside("what another wrote into its record cannot be read");
            return;
        };
        self.open.version = record.version;
        if record.due.is_none() {
            self.over(record.summary.status);
            return;
        }
        let point = state.point_of_no_return;
        if self.open.resume.is_some() {
            self.read_anew(state, &record);
        } else {
            self.open.state.signals = state.signals;
        }
        let Some(write) = self.open.unsettled.take() else {
            self.after_adopting(record.verdict, None);
            return;
        };
        if matches!(write.kind, RecordKind::PivotSent | RecordKind::Delegated)
            && point == Some(write.kind)
        {
            // It had landed before the other one came, which therefore came too late.
            self.durable(write.kind, None, None);
            self.write_next();
            self.hear_signals();
            return;
        }
        self.open.journal.put_back(&write.journal);
        if self.open.abandoned {
            // Whoever wrote in between may have decided.
            self.abandon_with(record.verdict);
            return;
        }
        let verdict = write.verdict.filter(|_| write.kind == RecordKind::Verdict);
        let last = match write.summary.status {
            Status::Finished(outcome) => Some(outcome),
            _ => None,
        };
        let again = Record { kind: write.kind, verdict: write.verdict, lazy: write.lazy, last };
        if verdict.is_some() && record.verdict == verdict {
            // One's own verdict, or another's that says the same.
            self.after_adopting(record.verdict, None);
        } else {
            self.after_adopting(record.verdict, Some(again));
        }
    }

    /// It was read before its owner, which may have been this one, wrote more to it. Nothing was
    /// done yet by what was read then, so all of it is as it is found now.
    fn read_anew(&mut self, mut state: StoredState, record: &TxRecord) {
        let own = std::mem::take(&mut self.open.state);
        if state.sequence == AcceptSequence::default() {
            state.sequence = own.sequence;
        } else if state.sequence != own.sequence {
            self.shared.resequence(own.sequence, state.sequence);
        }
        let is_taken_up =
            self.open.unsettled.as_ref().is_some_and(|w| w.kind == RecordKind::Resumed);
        if let Some(resume) = &mut self.open.resume {
            resume.verdict = record.verdict;
            if is_taken_up {
                state.resumes = resume.count.of(state.resumes);
                self.open.exceptions = record.summary.exceptions.iter().cloned().collect();
            }
        }
        self.open.moves_made = self.open.moves_made.max(state.signals_heard);
        operate::moves_without_owner(&mut state);
        self.open.state = state;
    }

    /// The accept met a row. With the same definition it is its own, which has landed and was
    /// signalled to since, or has even ended under another owner; else the id is taken, by the
    /// abort of an inquiry or by another.
    fn adopt_accept(&mut self, record: TxRecord) {
        let definition = self.open.unsettled.as_ref().and_then(|write| write.definition.clone());
        let state = StoredState::decode(&record.state);
        match (state, definition) {
            (Ok(state), Some(definition)) if definition == record.definition => {
                self.open.version = record.version;
                if record.due.is_none() {
                    // Its verdict may be younger than its end: an inquiry about an abandoned one.
                    self.out.notices.push(Notice::Accepted(self.tx));
                    self.over(record.summary.status);
                    return;
                }
                self.open.state.signals = state.signals;
                self.open.unsettled = None;
                self.durable(RecordKind::Accepted, record.verdict, None);
                self.write_next();
            }
            _ => self.not_accepted(Refused::Store(id_taken())),
        }
    }

    /// It has ended already: what was taken up was read before its last record landed.
    fn over(&mut self, status: Status) {
        self.open.unsettled = None;
        self.open.queue.clear();
        self.ground();
        if let Status::Finished(outcome) = status {
            self.tell(outcome);
        }
        self.open.end = Some(End::Closed);
    }

    /// The outcome, once.
    pub(super) fn tell(&mut self, outcome: Outcome) {
        if self.open.told.is_none() {
            self.open.told = Some(outcome);
            self.cx.peers.ended(outcome);
            self.out.notices.push(Notice::Told(self.tx, outcome));
        }
    }

    /// The record could not be read: the unsettled write asks again.
    pub(super) fn not_loaded(&mut self) {
        if self.open.unsettled.is_some() {
            self.open.write_again_at = self.cx.now + self.shared.settings.write_retry;
        }
    }

    fn after_adopting(&mut self, verdict: Option<Verdict>, again: Option<Record>) {
        let undecided = self.open.machine.verdict().is_none();
        if let Some(verdict) = verdict
            && undecided
            && self.open.resume.is_none()
        {
            // A verdict never changes (rule 1): whatever else was to be written is dropped.
            self.open.queue.clear();
            self.ground();
            self.feed(Event::Decided(verdict));
            self.write_next();
            return;
        }
        if let Some(record) = again {
            self.open.queue.insert(0, record);
        }
        self.write_next();
        self.hear_signals();
    }

    /// Whether a record would decide forward against a signal that is durable already.
    fn overtakes(&self, record: Record) -> bool {
        let decides = match record.kind {
            RecordKind::Verdict => record.verdict.is_some_and(|v| !v.is_backward()),
            RecordKind::PivotSent | RecordKind::Delegated => true,
            _ => false,
        };
        let is_undecided = self.open.machine.is_undecided();
        decides && is_undecided && self.wants_back() && !mutant!(SignalOvertaken)
    }

    pub(super) fn wants_back(&self) -> bool {
        let seen = usize::from(self.open.signals_seen).min(self.open.state.signals.len());
        self.open.state.signals[seen..].iter().any(|entry| entry.signal.wants_back())
    }

    /// Acts on the signals that were not acted on yet. While a write is unsettled they wait.
    pub(super) fn hear_signals(&mut self) {
        self.hear_operator();
        while self.open.unsettled.is_none()
            && self.open.resume.is_none()
            && usize::from(self.open.signals_seen) < self.open.state.signals.len()
        {
            let entry = self.open.state.signals[usize::from(self.open.signals_seen)].clone();
            let is_made = self.open.signals_seen < self.open.moves_made;
            self.open.signals_seen += 1;
            if is_made && entry.signal.is_made_once() {
                continue;
            }
            match entry.signal {
                Signal::Approve => self.check_gate(),
                Signal::Reject | Signal::Cancel => self.feed(Event::Cancelled),
                Signal::Retry => self.retry_stuck(),
                Signal::Skip(operation) => self.skip(operation),
                Signal::Abandon => self.abandon(),
                Signal::ClearExceptions => self.open.exceptions.clear(),
                Signal::EditInput { operation, .. } => self.retry_edited(operation),
                Signal::ForceCommit => self.force_commit(),
                Signal::ForceAbort => self.force_abort(),
            }
        }
    }

    /// What waits for an operator before it is taken up hears nobody else: what a caller wants is
    /// acted on once it is taken up.
    fn hear_operator(&mut self) {
        while self.open.unsettled.is_none()
            && self.open.resume.is_some()
            && self.open.status == Status::NeedsAttention
            && usize::from(self.open.moves_made) < self.open.state.signals.len()
        {
            let entry = self.open.state.signals[usize::from(self.open.moves_made)].clone();
            self.open.moves_made += 1;
            match entry.signal {
                Signal::Retry => self.retry_stuck(),
                Signal::Abandon => self.abandon(),
                Signal::ClearExceptions => self.open.exceptions.clear(),
                // Taken up, it goes back first of all.
                Signal::ForceAbort => self.retry_stuck(),
                Signal::Approve
                | Signal::Reject
                | Signal::Cancel
                | Signal::Skip(_)
                | Signal::EditInput { .. }
                | Signal::ForceCommit => {}
            }
        }
    }

    /// After everything else in a turn: what is due next.
    pub(super) fn settle(&mut self) {
        // What is over hears nobody: a move that came too late would open it again.
        if self.open.end.is_none() {
            self.hear_signals();
        }
        if self.open.end.is_some() {
            return;
        }
        let due = self.open.next_due();
        if due < self.open.timer_at {
            self.open.timer_at = due;
            self.shared.set_timer(due, self.tx);
        }
    }
}

fn id_taken() -> crate::error::StoreError {
    crate::error::StoreError::new(crate::error::ErrorKind::Invalid, "dtx", "accept")
        .with_context("a transaction with this id exists already")
}
