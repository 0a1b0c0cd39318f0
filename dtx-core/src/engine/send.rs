//! One transaction's turn: its commands, their attempts, and the answers to them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    answer::{NotDone, PhaseAnswer, Reason, Refusal},
    engine::{
        Notice,
        open::{Flight, Record, Resume, ResumeCount},
        peers::backoff,
        write::Turn,
    },
    ids::{OperationIndex, mix},
    modifier::{Expiry, OnExpiry, PhaseProgress, expiry, extension},
    mutant,
    pattern::{Event, Heard, Phase},
    store::{Answered, JournalEvent, RecordKind, Status},
    time::Timestamp,
    transaction::{Consistency, RetryPolicy},
    transport::{Body, Command, DependencyOutput, Envelope, Reply},
};

impl Turn<'_, '_> {
    /// Takes a stored transaction up, with a durable count of how often that happened, so that a
    /// transaction that kills coordinators is noticed. Nothing is done before that is durable: it
    /// may have been read before its last record landed, and only a write shows that.
    pub(super) fn take_up(&mut self, resume: Resume) {
        let resumes = self.open.state.resumes;
        self.open.resume = Some(resume);
        if resume.count == ResumeCount::Again && resumes >= self.shared.settings.resumes_max {
            // It may be what kills the coordinators: it waits for an operator's `Retry`.
            self.except(Reason::new(format!("it was taken up {resumes} times without an end")));
            return;
        }
        self.open.state.resumes = resume.count.of(resumes);
        if mutant!(ResumeUnwritten) {
            self.start_again();
            return;
        }
        self.record(Record::of(RecordKind::Resumed));
    }

    /// The resume is durable: off it goes.
    pub(super) fn start_again(&mut self) {
        let Some(Resume { verdict, .. }) = self.open.resume.take() else { return };
        let point = self.open.state.point_of_no_return;
        match (verdict, point) {
            (Some(verdict), _) => self.feed(Event::Resume(verdict)),
            (None, Some(kind)) if !mutant!(PivotForgotten) => self.feed(Event::ResumeAfter(kind)),
            // A signal that was durable first stands (rule 8): it is heard before anything is
            // asked for.
            (None, _) if self.wants_back() => self.hear_signals(),
            (None, _) if self.open.deadline_at <= self.cx.now => self.feed(Event::Overdue),
            (None, _) => self.feed(Event::Start),
        }
    }

    /// The first attempt of a phase, at once.
    pub(super) fn begin(&mut self, operation: OperationIndex, phase: Phase, one_phase: bool) {
        self.begin_after(Duration::ZERO, operation, phase, one_phase);
    }

    /// The first attempt of a phase, when `delay` is over. Until then it waits as a repeat does,
    /// and goes with everything else when the transaction goes back.
    pub(super) fn begin_after(
        &mut self,
        delay: Duration,
        operation: OperationIndex,
        phase: Phase,
        one_phase: bool,
    ) {
        if let Some(answer) = self.open.state.answer(operation, phase).cloned() {
            // A participant without an inbox answered this before (rule 13).
            self.open.flights[operation.get()] = self.open.flight(phase, self.cx.now);
            self.take_answer(operation, phase, answer);
            return;
        }
        let attempt = self.open.state.attempts(operation, phase);
        let expires_at = match self.open.machine.is_undecided() {
            true => self.cx.now + delay + self.time_to_live(phase, 0),
            false => Timestamp::MAX,
        };
        let mut flight = self.open.flight(phase, self.cx.now);
        flight.attempt = attempt;
        flight.one_phase = one_phase;
        flight.expires_at = expires_at;
        if delay.is_zero() {
            self.open.flights[operation.get()] = flight;
            self.attempt(operation);
        } else {
            flight.next_at = self.cx.now + delay;
            self.open.flights[operation.get()] = flight;
        }
    }

    fn time_to_live(&self, phase: Phase, extensions: u8) -> Duration {
        self.expiry(phase, extensions).map_or(Duration::MAX, |expiry| expiry.time_to_live)
    }

    /// How long a phase may take and what happens then; `None` where nothing expires.
    fn expiry(&self, phase: Phase, extensions: u8) -> Option<Expiry> {
        let settings = &self.shared.settings;
        let progress = self.phase_progress(phase, extensions);
        expiry(&self.open.transaction, &settings.bounds, &settings.strategies, progress)
    }

    fn phase_progress(&self, phase: Phase, extensions: u8) -> PhaseProgress {
        let decided = !self.open.machine.is_undecided();
        PhaseProgress { phase, decided, extensions, load_percent: self.cx.load_percent }
    }

    /// Sends the command of a flight, unless the participant's breaker holds it back.
    pub(super) fn attempt(&mut self, operation: OperationIndex) {
        let flight = self.open.flights[operation.get()];
        let Some(phase) = flight.phase else { return };
        let definition = self.open.transaction.operation(operation);
        let participant = definition.participant().clone();
        let settings = self.shared.settings.clone();
        if let Some(until) = self.cx.peers.hold(&participant, self.cx.now, &settings) {
            let flight = &mut self.open.flights[operation.get()];
            flight.sent = false;
            flight.next_at = until;
            return;
        }
        let attempt = flight.attempt + 1;
        let placed = self.placed_timeout(operation, phase);
        let timeout = self.cx.peers.attempt_timeout(&participant, attempt, placed, &settings);
        let command = self.command(operation, phase, attempt, flight);
        let body = Body::Command(Arc::new(command));
        self.out.commands.push(Envelope { body, headers: self.open.headers.clone() });
        self.note(JournalEvent::Sent { operation, phase, attempt });
        self.open.sent_now(operation, self.cx.now);
        let flight = &mut self.open.flights[operation.get()];
        flight.attempt = attempt;
        flight.next_at =
            if mutant!(NeverSentAgain) { Timestamp::MAX } else { self.cx.now + timeout };
        if timeout > settings.backoff_durable {
            self.note_attempts(operation, phase, attempt);
        }
    }

    fn command(
        &self,
        operation: OperationIndex,
        phase: Phase,
        attempt: u32,
        flight: Flight,
    ) -> Command {
        let definition = self.open.transaction.operation(operation);
        let undecided = self.open.machine.is_undecided() || mutant!(DeadlineAfterDecision);
        let claims = matches!(phase, Phase::Prepare | Phase::Reserve);
        let deadline =
            undecided.then(|| self.open.deadline_at.min(flight.expires_at).since(self.cx.now));
        Command {
            tx: self.tx,
            operation,
            phase,
            pattern: self.open.transaction.pattern(),
            participant: definition.participant().clone(),
            action: definition.action().clone(),
            action_version: definition.action_version(),
            attempt,
            shard: self.shared.fence.shard,
            epoch: self.shared.fence.epoch,
            sequence: self.open.state.sequence,
            watermark: self.shared.watermark(),
            deadline,
            ttl: claims.then(|| self.time_to_live(phase, flight.extensions)),
            one_phase: flight.one_phase,
            reply: true,
            payload: self.input(operation),
            inputs: self.inputs(operation),
        }
    }

    fn inputs(&self, operation: OperationIndex) -> Vec<DependencyOutput> {
        let transaction = &self.open.transaction;
        let depends_on = transaction.operation(operation).depends_on();
        let outputs = self.open.outputs.iter().filter(|(of, _)| depends_on.contains(of));
        outputs
            .map(|(of, output)| DependencyOutput {
                operation: transaction.operation(*of).name().clone(),
                output: output.clone(),
            })
            .collect()
    }

    fn note_attempts(&mut self, operation: OperationIndex, phase: Phase, attempt: u32) {
        self.open.state.note_attempts(operation, phase, attempt);
        self.record(Record::PROGRESS);
    }

    /// Nothing is waited for from this operation.
    pub(super) fn land(&mut self, operation: OperationIndex) {
        self.open.flights[operation.get()] = Flight::LANDED;
    }

    /// A reply came. Answers to what is not asked any more have no effect.
    pub(super) fn hear(&mut self, reply: Reply) {
        let Some(flight) = self.open.flights.get(reply.operation.get()).copied() else { return };
        let participant = self.open.transaction.operation(reply.operation).participant();
        if *participant != reply.participant || flight.phase != Some(reply.phase) {
            return;
        }
        let current = flight.sent && flight.attempt == reply.attempt;
        let after = self.open.sent_ago(&flight, self.cx.now).filter(|_| current);
        self.cx.peers.answered(&reply.participant, after);
        let (operation, phase) = (reply.operation, reply.phase);
        if let Some(after) = after
            && reply.attempt == 1
            && !matches!(reply.answer, Err(NotDone::Unknown(_)))
        {
            self.placed_answer(operation, phase, after);
        }
        self.note(JournalEvent::Answered {
            operation,
            phase,
            attempt: reply.attempt,
            answer: Answered::from(&reply.answer),
        });
        if self.open.observed {
            let (tx, answer) = (self.tx, reply.answer.clone());
            let participant = reply.participant.clone();
            self.out.notices.push(Notice::Progress { tx, operation, participant, phase, answer });
        }
        self.shared.last_failure = failure(&reply.answer);
        if let Err(NotDone::Unknown(_)) = &reply.answer {
            if mutant!(UnknownIsNo) && !phase.is_backward() {
                let heard = Heard::Rejected { kept: true };
                self.land(operation);
                self.feed(Event::Answer { operation, phase, heard });
            } else if current {
                self.back_off(operation);
            }
            return;
        }
        let foreign = self.shared.settings.without_inbox.contains(&reply.participant)
            && !mutant!(ForeignAnswerUnwritten);
        if foreign
            && phase != Phase::Status
            && let Some(event) = self.event_of(operation, phase, &reply.answer, false)
        {
            // Nobody else keeps this answer (rule 13): durable first, then acted on.
            self.keep_output(operation, &reply.answer);
            self.land(operation);
            self.open.state.answers.push((operation, phase, reply.answer));
            self.open.after_progress.push(event);
            self.record(Record::PROGRESS);
            return;
        }
        self.take_answer(operation, phase, reply.answer);
    }

    fn take_answer(&mut self, operation: OperationIndex, phase: Phase, answer: PhaseAnswer) {
        if phase == Phase::Status {
            self.land(operation);
            self.verified(operation, answer.is_ok());
            return;
        }
        let participant = self.open.transaction.operation(operation).participant();
        let kept = !self.shared.settings.without_inbox.contains(participant);
        let Some(event) = self.event_of(operation, phase, &answer, kept) else {
            // A no to going back or to a delivery settles nothing: it is tried again.
            self.back_off(operation);
            return;
        };
        self.keep_output(operation, &answer);
        self.shared.last_attempts = self.open.flights[operation.get()].attempt;
        self.land(operation);
        self.feed(event);
    }

    /// What an answer means to the machine; `None` if it settles nothing.
    fn event_of(
        &self,
        operation: OperationIndex,
        phase: Phase,
        answer: &PhaseAnswer,
        kept: bool,
    ) -> Option<Event> {
        let retried = phase.is_backward() || phase == Phase::Deliver;
        let heard = match answer {
            Ok(done) => Heard::Done { read_only: done.read_only, reversed: done.reversed },
            Err(NotDone::Refused(Refusal::Executed)) if phase.is_backward() => {
                Heard::Refused(Refusal::Executed)
            }
            Err(_) if retried && mutant!(DeadLetterDelivered) && phase == Phase::Deliver => {
                Heard::Done { read_only: false, reversed: false }
            }
            Err(_) if retried && mutant!(FailedUndoIsDone) && phase.is_backward() => {
                Heard::Done { read_only: false, reversed: true }
            }
            Err(_) if retried => return None,
            Err(NotDone::Rejected(_)) => Heard::Rejected { kept },
            Err(NotDone::Refused(refusal)) => Heard::Refused(*refusal),
            Err(NotDone::Unknown(_)) => return None,
        };
        Some(Event::Answer { operation, phase, heard })
    }

    fn keep_output(&mut self, operation: OperationIndex, answer: &PhaseAnswer) {
        let wanted =
            self.open.transaction.operations().iter().any(|o| o.depends_on().contains(&operation));
        if let Ok(done) = answer
            && wanted
            && !done.output.is_empty()
            && done.output.len() <= self.shared.settings.output_bytes_max
        {
            self.open.outputs.retain(|(of, _)| *of != operation);
            self.open.outputs.push((operation, Bytes::copy_from_slice(&done.output)));
        }
    }

    fn policy(&self, operation: OperationIndex) -> RetryPolicy {
        let own = self.open.transaction.operation(operation).retry();
        own.unwrap_or(&self.shared.settings.retry).clone()
    }

    /// Waits before the next attempt, or gives up.
    fn back_off(&mut self, operation: OperationIndex) {
        let policy = self.policy(operation);
        let flight = self.open.flights[operation.get()];
        let Some(phase) = flight.phase else { return };
        if self.is_spent(operation, &policy) {
            self.give_up(operation, phase);
            return;
        }
        let salt = mix(self.tx.salt() ^ u64::from(operation.0));
        let pause = match mutant!(BackoffUnbounded) {
            true => Duration::from_secs(86_400),
            false => backoff(policy.backoff_ms, policy.backoff_ms_max, flight.attempt, salt),
        };
        let flight = &mut self.open.flights[operation.get()];
        flight.sent = false;
        flight.next_at = self.cx.now + pause;
        if pause > self.shared.settings.backoff_durable {
            let attempt = flight.attempt;
            self.note_attempts(operation, phase, attempt);
        }
    }

    /// Whether an operation has used its attempts up. A verdict is carried out for ever; taking
    /// back stops at its budget and waits for an operator.
    fn is_spent(&self, operation: OperationIndex, policy: &RetryPolicy) -> bool {
        let flight = &self.open.flights[operation.get()];
        let phase = flight.phase.unwrap_or(Phase::Status);
        let level = self.open.transaction.operation(operation).consistency();
        let most = match level {
            Consistency::BestEffort => 1,
            _ => policy.attempts_max,
        };
        let forward_for_ever =
            !self.open.machine.is_undecided() && !phase.is_backward() && phase != Phase::Deliver;
        flight.attempt >= most && !forward_for_ever
    }

    fn give_up(&mut self, operation: OperationIndex, phase: Phase) {
        self.shared.last_attempts = self.open.flights[operation.get()].attempt;
        self.land(operation);
        if phase == Phase::Status {
            self.verified(operation, false);
        } else {
            self.feed(Event::GaveUp { operation, phase });
        }
    }

    /// Looks at every clock of the transaction.
    pub(super) fn time_passed(&mut self) {
        let now = self.cx.now;
        if self.open.write_again_at <= now {
            self.open.write_again_at = Timestamp::MAX;
            if let Some(write) = &self.open.unsettled {
                self.out.writes.push((**write).clone());
            }
        }
        let may_end = self.open.machine.is_undecided()
            && self.open.unsettled.is_none()
            && self.open.resume.is_none();
        if may_end && self.open.deadline_at <= now {
            self.feed(Event::Overdue);
        }
        for index in 0..self.open.flights.len() {
            self.flight_time(OperationIndex(index as u16));
        }
        if self.open.unsettled.is_none() {
            self.check_gate();
        }
    }

    fn flight_time(&mut self, operation: OperationIndex) {
        let flight = self.open.flights[operation.get()];
        let Some(phase) = flight.phase else { return };
        if flight.expires_at <= self.cx.now && self.open.machine.is_undecided() {
            self.expired(operation, phase, flight.extensions);
        } else if flight.next_at <= self.cx.now {
            if flight.sent {
                self.timed_out(operation, phase);
            } else {
                self.attempt(operation);
            }
        }
    }

    /// No answer came in time. That is no answer, and never a no.
    fn timed_out(&mut self, operation: OperationIndex, phase: Phase) {
        let participant = self.open.transaction.operation(operation).participant().clone();
        let settings = self.shared.settings.clone();
        let flight = self.open.flights[operation.get()];
        // What was to be waited: whoever stood still has not listened for longer.
        let waited = self.open.sent_ago(&flight, flight.next_at);
        self.cx.peers.failed(&participant, self.cx.now, waited, &settings);
        self.shared.last_failure = None;
        let attempt = flight.attempt;
        let answer = Answered::TimedOut;
        self.note(JournalEvent::Answered { operation, phase, attempt, answer });
        if mutant!(TimeOutIsNo) && !phase.is_backward() {
            let heard = Heard::Rejected { kept: true };
            self.land(operation);
            self.feed(Event::Answer { operation, phase, heard });
            return;
        }
        if self.is_spent(operation, &self.policy(operation)) {
            self.give_up(operation, phase);
        } else {
            self.attempt(operation);
        }
    }

    /// The time of a phase is over (TBS).
    fn expired(&mut self, operation: OperationIndex, phase: Phase, extensions: u8) {
        let Some(Expiry { on_expiry, .. }) = self.expiry(phase, extensions) else { return };
        match on_expiry {
            OnExpiry::Abort | OnExpiry::Cancel | OnExpiry::Release => {
                self.give_up(operation, phase);
            }
            OnExpiry::Attention => self.wait_for_operator(operation, phase),
            // To send the command again is to ask: the idempotency key makes the participant
            // repeat what it answered, or answer now.
            OnExpiry::Ask | OnExpiry::Retry => self.extend(operation, phase, extensions),
        }
    }

    fn extend(&mut self, operation: OperationIndex, phase: Phase, extensions: u8) {
        let settings = self.shared.settings.clone();
        let progress = self.phase_progress(phase, extensions);
        let begun_at = self.open.begun_at(&self.open.flights[operation.get()]);
        let lived = self.cx.now.since(begun_at);
        let transaction = &self.open.transaction;
        let longer =
            extension(transaction, &settings.bounds, &settings.strategies, progress, lived);
        let Some(longer) = longer else {
            self.give_up(operation, phase);
            return;
        };
        let flight = &mut self.open.flights[operation.get()];
        flight.extensions = extensions + 1;
        flight.expires_at = self.cx.now + longer;
        self.attempt(operation);
    }

    fn wait_for_operator(&mut self, operation: OperationIndex, phase: Phase) {
        self.land(operation);
        self.open.state.stuck.push((operation, phase));
        self.open.status = Status::NeedsAttention;
        self.out.notices.push(Notice::NeedsAttention(self.tx));
        self.record(Record::PROGRESS);
    }
}

/// What an answer says when it is not `Done`.
fn failure(answer: &PhaseAnswer) -> Option<Reason> {
    match answer {
        Ok(_) => None,
        Err(NotDone::Rejected(reason) | NotDone::Unknown(reason)) => Some(reason.clone()),
        Err(NotDone::Refused(refusal)) => Some(Reason::new(format!("refused: {refusal:?}"))),
    }
}
