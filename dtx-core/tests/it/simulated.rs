//! Drives a machine as the engine does, against participants with an inbox, a network that
//! repeats, loses and delays, a store that other writers share, and crashes. After every step the
//! rules of the patterns are checked.

use std::collections::BTreeMap;

use dtx_core::{
    answer::Refusal,
    ids::OperationIndex,
    pattern::{
        Effect, Event, Heard, Machine, Phase,
        table::{State, Table},
    },
    store::{Outcome, RecordKind, Verdict},
    transaction::{Operation, StepKind},
};

use crate::{
    script::only_by_rows,
    transactions::{Case, Fate},
};

/// More steps than any run needs: past it the run is stuck.
const STEPS_MAX: usize = 5_000;

const DONE: Heard = Heard::Done { read_only: false, reversed: false };

/// A participant's row of one operation.
#[derive(Clone, Debug)]
struct Participant {
    fate: Fate,
    answers: BTreeMap<Phase, Heard>,
    undone: bool,
    executed: bool,
    reversed: bool,
    /// An operator counted what it said no to as done.
    skipped: bool,
}

impl Participant {
    fn said_done(&self, phase: Phase) -> bool {
        matches!(self.answers.get(&phase), Some(Heard::Done { .. }))
    }

    fn take(&mut self, table: &Table<'_>, phase: Phase, one_phase: bool) -> Heard {
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

#[derive(Clone, Copy, Debug)]
struct Record {
    kind: RecordKind,
    verdict: Option<Verdict>,
}

#[derive(Clone, Copy, Debug)]
struct Command {
    operation: OperationIndex,
    phase: Phase,
    one_phase: bool,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Move {
    Deliver {
        command: usize,
        again: bool,
    },
    Hear {
        reply: usize,
        again: bool,
    },
    GiveUp(usize),
    Durable,
    /// A durable signal to go back met the record that is awaited, and stands.
    SignalFirst,
    Signal(Event),
    Gate(bool),
    /// An inquiry writes that it goes back.
    Inquiry,
    Crash {
        landed: bool,
    },
    Operator(usize),
}

/// What the machine of the moment has heard; lost with it.
#[derive(Debug, Default)]
struct Memory {
    waits_for: Vec<Command>,
    /// All that was ever sent.
    asked: Vec<Command>,
    stuck: Vec<(Command, bool)>,
    replies: Vec<(OperationIndex, Phase, Heard)>,
    awaited: Option<Record>,
    lazy: Option<Record>,
    gate: bool,
    told: bool,
    closed: bool,
    undone: Vec<OperationIndex>,
    rejected: Vec<OperationIndex>,
    read_only: Vec<OperationIndex>,
}

pub(crate) struct World<'a> {
    case: &'a Case,
    table: &'a Table<'a>,
    machine: Machine,
    memory: Memory,
    participants: Vec<Participant>,
    network: Vec<Command>,
    // What is durable.
    verdict: Option<Verdict>,
    point: Option<RecordKind>,
    finished: bool,
    gate_found: Option<bool>,
    wants_back: bool,
    overdue: bool,
    dead: Vec<OperationIndex>,
    told: Option<Outcome>,
    pub(crate) trace: Vec<String>,
}

type Checked<T = ()> = Result<T, String>;

fn must(holds: bool, rule: &str) -> Checked {
    if holds { Ok(()) } else { Err(rule.to_owned()) }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) trace: Vec<String>,
}

/// Runs a case to its end by a table.
pub(crate) fn run(case: &Case, table: &Table<'_>) -> Result<End, (String, Vec<String>)> {
    let mut world = World::new(case, table);
    match world.run() {
        Ok(outcome) => Ok(End { outcome, trace: world.trace }),
        Err(rule) => Err((rule, world.trace)),
    }
}

impl<'a> World<'a> {
    fn new(case: &'a Case, table: &'a Table<'a>) -> Self {
        let participant = |fate: &Fate| Participant {
            fate: *fate,
            answers: BTreeMap::new(),
            undone: false,
            executed: false,
            reversed: false,
            skipped: false,
        };
        Self {
            case,
            table,
            machine: Machine::new(&case.transaction),
            memory: Memory::default(),
            participants: case.fates.iter().map(participant).collect(),
            network: Vec::new(),
            verdict: None,
            point: None,
            finished: false,
            gate_found: None,
            wants_back: false,
            overdue: false,
            dead: Vec::new(),
            told: None,
            trace: Vec::new(),
        }
    }

    fn begin(&mut self) -> Checked {
        if self.table.first() == Phase::Deliver {
            self.verdict = Some(Verdict::Completed);
            self.feed(Event::Decided(Verdict::Completed))
        } else {
            self.feed(Event::Start)
        }
    }

    fn run(&mut self) -> Checked<Outcome> {
        self.begin()?;
        let case = self.case;
        for choice in case.choices.iter().map(|choice| usize::from(*choice)) {
            let moves = self.moves();
            if moves.is_empty() {
                break;
            }
            self.make(moves[choice % moves.len()])?;
        }
        self.finish()
    }

    fn finish(&mut self) -> Checked<Outcome> {
        for _ in 0..STEPS_MAX {
            if self.memory.closed {
                return self.end();
            }
            let next = self.fair_move().ok_or("it waits for nothing and has not ended")?;
            self.make(next)?;
        }
        Err("it does not end".to_owned())
    }

    /// What must happen at last: nothing is lost any more, and nothing is in its way.
    fn fair_move(&self) -> Option<Move> {
        let memory = &self.memory;
        if memory.awaited.is_some() {
            Some(Move::Durable)
        } else if !memory.replies.is_empty() {
            Some(Move::Hear { reply: 0, again: false })
        } else if !self.network.is_empty() {
            Some(Move::Deliver { command: 0, again: false })
        } else if memory.gate {
            Some(Move::Gate(self.gate_found.unwrap_or(true)))
        } else if !memory.stuck.is_empty() {
            Some(Move::Operator(0))
        } else {
            (!memory.waits_for.is_empty()).then_some(Move::GiveUp(0))
        }
    }

    fn moves(&self) -> Vec<Move> {
        let memory = &self.memory;
        if memory.closed {
            // The last record is lazy: a crash may lose it, and the end is reached once more.
            let crash = [Move::Crash { landed: true }, Move::Crash { landed: false }];
            return if memory.lazy.is_some() { crash.into() } else { Vec::new() };
        }
        let mut moves = Vec::new();
        for again in [false, false, true] {
            moves.extend((0..self.network.len()).map(|command| Move::Deliver { command, again }));
            moves.extend((0..memory.replies.len()).map(|reply| Move::Hear { reply, again }));
        }
        moves.extend((0..memory.waits_for.len()).map(Move::GiveUp));
        moves.push(Move::Crash { landed: false });
        if let Some(record) = memory.awaited {
            moves.extend([Move::Durable, Move::Durable, Move::Crash { landed: true }]);
            let decides = !record.verdict.is_some_and(Verdict::is_backward);
            if decides && self.point.is_none() && record.kind != RecordKind::Finished {
                moves.push(Move::SignalFirst);
            }
        } else {
            moves.extend([Move::Signal(Event::Overdue), Move::Signal(Event::Cancelled)]);
            moves.extend((0..memory.stuck.len()).map(Move::Operator));
            if memory.gate {
                let found = self.gate_found.map_or(vec![true, true, false], |found| vec![found]);
                moves.extend(found.into_iter().map(Move::Gate));
            }
        }
        if self.inquiry().is_some() {
            moves.push(Move::Inquiry);
        }
        moves
    }

    /// The verdict by which an inquiry would take it back.
    fn inquiry(&self) -> Option<Verdict> {
        let verdict = match self.table.name {
            "2pc" | "3ps" => Verdict::Abort,
            "3ps-independent" => Verdict::Turned,
            _ => return None,
        };
        (self.verdict.is_none() && self.point.is_none()).then_some(verdict)
    }

    fn make(&mut self, next: Move) -> Checked {
        self.trace.push(format!("{next:?}"));
        match next {
            Move::Deliver { command, again } => {
                let sent = self.network[command];
                if !again {
                    self.network.remove(command);
                }
                let participant = &mut self.participants[sent.operation.get()];
                let heard = participant.take(self.table, sent.phase, sent.one_phase);
                self.memory.replies.push((sent.operation, sent.phase, heard));
                Ok(())
            }
            Move::Hear { reply, again } => {
                let (operation, phase, heard) = self.memory.replies[reply];
                if !again {
                    self.memory.replies.remove(reply);
                }
                self.hear(operation, phase, heard)
            }
            Move::GiveUp(command) => {
                let Command { operation, phase, .. } = self.memory.waits_for[command];
                let effects = self.feed_and_see(Event::GaveUp { operation, phase })?;
                let counted = effects.contains(&Effect::DeadLetter(operation));
                must(counted || phase != Phase::Deliver, "a loss was not counted")
            }
            Move::Durable => self.durable(),
            Move::SignalFirst => {
                self.wants_back = true;
                self.memory.awaited = None;
                self.feed(Event::Cancelled)
            }
            Move::Signal(event) => {
                self.overdue |= event == Event::Overdue;
                self.feed(event)
            }
            Move::Gate(opens) => {
                self.gate_found = Some(opens);
                self.memory.gate = false;
                self.feed(if opens { Event::GateOpened } else { Event::GateRefused })
            }
            Move::Inquiry => {
                let verdict = self.inquiry().expect("the move is possible");
                (self.overdue, self.verdict, self.memory.awaited) = (true, Some(verdict), None);
                self.memory.gate = false;
                self.feed(Event::Decided(verdict))
            }
            Move::Crash { landed } => self.crash(landed),
            Move::Operator(stuck) => self.operator(stuck),
        }
    }

    fn durable(&mut self) -> Checked {
        let Some(record) = self.memory.awaited.take() else { return Ok(()) };
        self.land(record)?;
        self.feed(match (record.kind, record.verdict) {
            (RecordKind::Verdict, Some(verdict)) => Event::Decided(verdict),
            (kind, _) => Event::Recorded(kind),
        })
    }

    fn land(&mut self, record: Record) -> Checked {
        match record.kind {
            RecordKind::Verdict => {
                must(self.verdict.is_none(), "rule 1: a second verdict")?;
                self.verdict = record.verdict;
            }
            RecordKind::Finished => self.finished = true,
            kind => self.point = Some(kind),
        }
        Ok(())
    }

    /// The memory is lost; what is durable and what is on the network stay.
    fn crash(&mut self, landed: bool) -> Checked {
        let memory = std::mem::take(&mut self.memory);
        if landed && let Some(record) = memory.awaited.or(memory.lazy) {
            self.land(record)?;
        }
        self.machine = Machine::new(&self.case.transaction);
        // The verdict of what has no second part is its end; the outcome is read from the record.
        let ended = self.verdict == Some(Verdict::Completed)
            && !matches!(self.table.name, "0.5ps" | "1.5ps");
        if self.finished || ended {
            self.memory.closed = true;
            let reversed = self.participants.iter().any(|p| p.reversed);
            let outcome = match self.verdict {
                Some(Verdict::Completed) if self.table.name == "0.5ps" => Outcome::Dispatched,
                Some(Verdict::Completed | Verdict::Commit) => Outcome::Committed,
                Some(Verdict::Turned) if reversed => Outcome::Compensated,
                Some(_) => Outcome::Aborted,
                None if self.participants[0].said_done(Phase::Commit) => Outcome::Committed,
                None => Outcome::Aborted,
            };
            return self.tell(outcome);
        }
        match (self.verdict, self.point) {
            (Some(verdict), _) => self.feed(Event::Resume(verdict)),
            (None, Some(kind)) => self.feed(Event::ResumeAfter(kind)),
            (None, None) if self.overdue => self.feed(Event::Overdue),
            (None, None) => {
                self.feed(Event::Start)?;
                match self.wants_back && self.memory.awaited.is_none() {
                    true => self.feed(Event::Cancelled),
                    false => Ok(()),
                }
            }
        }
    }

    fn operator(&mut self, stuck: usize) -> Checked {
        let (command, exception) = self.memory.stuck.remove(stuck);
        if !exception {
            self.network.push(command);
            return Ok(());
        }
        self.participants[command.operation.get()].skipped = true;
        self.hear(command.operation, command.phase, DONE)
    }

    /// Feeds an answer, and then the same one again, which must have no effect.
    fn hear(&mut self, operation: OperationIndex, phase: Phase, heard: Heard) -> Checked {
        let event = Event::Answer { operation, phase, heard };
        let mut asked = self.memory.asked.iter();
        let waited = asked.any(|c| c.operation == operation && c.phase == phase);
        match heard {
            Heard::Done { .. } if waited && phase.is_backward() => {
                self.memory.undone.push(operation);
            }
            Heard::Done { read_only: true, .. } if waited => self.memory.read_only.push(operation),
            Heard::Rejected { .. } if waited && phase == self.table.first() => {
                if self.machine.is_undecided() {
                    self.memory.rejected.push(operation);
                }
            }
            _ => {}
        }
        // What waits for an operator is still asked for, so that a second no is a new one.
        let effects = self.feed_and_see(event)?;
        if effects.iter().any(|effect| matches!(effect, Effect::Attention { .. })) {
            return Ok(());
        }
        let machine = self.machine.clone();
        let effects = self.feed_and_see(event)?;
        must(effects.is_empty() && machine == self.machine, "a duplicate has effects")
    }

    fn feed(&mut self, event: Event) -> Checked {
        self.feed_and_see(event).map(drop)
    }

    fn feed_and_see(&mut self, event: Event) -> Checked<Vec<Effect>> {
        if self.memory.closed {
            return Ok(Vec::new());
        }
        let before = self.machine.clone();
        let (mut effects, mut fired) = (Vec::new(), Vec::new());
        let transaction = &self.case.transaction;
        self.machine
            .advance_by(self.table, transaction, event, &mut effects, &mut |row| fired.push(row))
            .map_err(|undefined| undefined.to_string())?;
        only_by_rows(self.table, before.state(), self.machine.state(), &fired, &effects);
        let (mut again, mut same) = (before.clone(), Vec::new());
        again
            .advance_by(self.table, transaction, event, &mut same, &mut |_| ())
            .map_err(|undefined| undefined.to_string())?;
        must(again == self.machine && same == effects, "the same input gave something else")?;
        let kept = before.verdict().is_none_or(|verdict| self.machine.verdict() == Some(verdict));
        must(kept, "rule 1: the verdict changed")?;
        let known = self.machine.verdict().is_none_or(|verdict| self.verdict == Some(verdict));
        must(known, "the machine has a verdict that is not durable")?;
        self.trace.push(format!("  {event:?} -> {} {effects:?}", self.machine.state()));
        if let Event::Answer { operation, phase, .. } | Event::GaveUp { operation, phase } = event {
            let same = |c: &Command| c.operation == operation && c.phase == phase;
            self.memory.waits_for.retain(|command| !same(command));
        }
        for effect in &effects {
            self.carry_out(*effect)?;
        }
        Ok(effects)
    }

    fn carry_out(&mut self, effect: Effect) -> Checked {
        must(!self.memory.closed, "an effect after the close")?;
        match effect {
            Effect::Send { operation, phase, one_phase } => {
                let command = Command { operation, phase, one_phase };
                if phase.is_backward() { self.may_go_back(command) } else { self.may_go(command) }?;
                self.memory.waits_for.push(command);
                self.memory.asked.push(command);
                self.network.push(command);
                Ok(())
            }
            Effect::Record { kind, verdict, lazy, last: _ } => {
                let record = Record { kind, verdict };
                let fits =
                    kind == RecordKind::Verdict || self.verdict.is_none_or(|v| verdict == Some(v));
                must(fits, "rule 1: a record with another verdict")?;
                must(self.memory.awaited.is_none(), "a record while another one is awaited")?;
                if verdict.is_some_and(Verdict::is_backward) {
                    self.memory.gate = false;
                    self.memory.waits_for.retain(|command| command.phase.is_backward());
                }
                let place = if lazy { &mut self.memory.lazy } else { &mut self.memory.awaited };
                *place = Some(record);
                Ok(())
            }
            Effect::OpenGate => {
                self.memory.gate = true;
                Ok(())
            }
            Effect::Tell(outcome) => {
                must(!std::mem::replace(&mut self.memory.told, true), "told twice")?;
                self.tell(outcome)
            }
            Effect::DeadLetter(operation) => {
                self.dead.push(operation);
                Ok(())
            }
            Effect::Attention { operation, phase, exception } => {
                let decided = self.verdict.map_or(self.point.is_some(), |v| !v.is_backward());
                must(decided == exception, "rule 11: an exception is a no after the decision")?;
                let command = Command { operation, phase, one_phase: false };
                self.memory.stuck.push((command, exception));
                Ok(())
            }
            Effect::Close => {
                self.memory.closed = true;
                must(self.memory.told, "closed before the outcome was told")
            }
        }
    }

    fn operation(&self, index: OperationIndex) -> &Operation {
        self.case.transaction.operation(index)
    }

    fn operations(&self) -> impl Iterator<Item = (OperationIndex, &Operation, &Participant)> {
        let operations = self.case.transaction.operations().iter();
        operations
            .zip(&self.participants)
            .enumerate()
            .map(|(index, (operation, row))| (OperationIndex(index as u16), operation, row))
    }

    fn may_go(&self, command: Command) -> Checked {
        let Command { operation, phase, one_phase } = command;
        let back = |verdict: Option<Verdict>| verdict.is_some_and(Verdict::is_backward);
        let turning = back(self.verdict) || self.memory.awaited.is_some_and(|r| back(r.verdict));
        must(!turning, "it goes forward after it turned")?;
        let all_said = |phase| self.participants.iter().all(|p| p.said_done(phase));
        match (self.table.name, phase) {
            ("3ps", Phase::Execute) => {
                must(self.verdict == Some(Verdict::Commit), "executed before Commit")?;
                must(all_said(Phase::Validate), "executed although not all are validated")?;
            }
            ("2ps", Phase::Execute) => must(all_said(Phase::Prepare), "not all are prepared")?,
            ("2pc", Phase::Commit) if one_phase => {
                must(self.point == Some(RecordKind::Delegated), "rule 4: before Delegated")?;
            }
            ("2pc", Phase::Commit) => {
                must(self.verdict == Some(Verdict::Commit), "committed before Commit")?;
                must(!self.memory.read_only.contains(&operation), "a read-only one commits")?;
                must(all_said(Phase::Prepare), "committed although not all are prepared")?;
            }
            (_, Phase::Deliver) => {
                must(self.verdict == Some(Verdict::Completed), "delivered before Completed")?;
            }
            _ => {}
        }
        if phase == Phase::Execute {
            let done = |on: &OperationIndex| {
                self.participants[on.get()].said_done(phase) || self.participants[on.get()].skipped
            };
            let ready = self.operation(operation).depends_on().iter().all(done);
            must(ready, "executed before what it depends on")?;
            let is_pivot = self.operation(operation).step() == StepKind::Pivot;
            let sent = self.point == Some(RecordKind::PivotSent);
            must(!is_pivot || sent, "rule 4: the pivot left before PivotSent")?;
        }
        Ok(())
    }

    fn is_reversible(operation: &Operation) -> bool {
        operation.step() == StepKind::Compensatable && operation.consistency().is_critical()
    }

    fn may_go_back(&self, command: Command) -> Checked {
        let durable = self.verdict.is_some_and(Verdict::is_backward);
        must(durable, "rule 2: it goes back before the verdict is durable")?;
        let index = command.operation;
        let reversible = Self::is_reversible(self.operation(index));
        must(reversible, "rule 4: what cannot be compensated goes back")?;
        must(!self.memory.rejected.contains(&index), "rule 3: a rejected one is addressed")?;
        let later = self.operations().filter(|(_, o, _)| o.depends_on().contains(&index));
        for (dependent, operation, _) in later {
            let over = !Self::is_reversible(operation)
                || self.memory.rejected.contains(&dependent)
                || self.memory.undone.contains(&dependent);
            must(over, "rule 3: it goes back before what depends on it")?;
        }
        let pivot = self.operations().find(|(_, o, _)| o.step() == StepKind::Pivot);
        let pivot_done = pivot.is_some_and(|(_, _, row)| row.said_done(Phase::Execute));
        must(!pivot_done, "rule 4: it goes back after its pivot")
    }

    fn tell(&mut self, outcome: Outcome) -> Checked {
        let told = *self.told.get_or_insert(outcome);
        must(told == outcome, "another outcome than was told before")?;
        let delegated = self.verdict.is_none() && self.point == Some(RecordKind::Delegated);
        let done = self.participants[0].said_done(Phase::Commit);
        let reversed = self.participants.iter().any(|p| p.reversed);
        let fixed = match (outcome, self.verdict) {
            (Outcome::Dispatched, Some(Verdict::Completed)) => self.table.name == "0.5ps",
            (Outcome::Committed, Some(Verdict::Completed)) => self.table.name != "0.5ps",
            (Outcome::Committed, Some(Verdict::Commit)) => true,
            (Outcome::Committed, None) => delegated && done,
            (Outcome::Aborted, Some(Verdict::Abort)) => true,
            (Outcome::Aborted, Some(Verdict::Turned)) => self.finished && !reversed,
            (Outcome::Aborted, None) => {
                delegated && !done && self.participants[0].answers.contains_key(&Phase::Commit)
            }
            (Outcome::Compensated, Some(Verdict::Turned)) => self.finished && reversed,
            _ => false,
        };
        must(fixed, "rule 1: told before a record fixes it")
    }

    /// It has ended. What is still on the network arrives, and nothing must come of it.
    fn end(&mut self) -> Checked<Outcome> {
        for late in std::mem::take(&mut self.network) {
            let row = &mut self.participants[late.operation.get()];
            row.take(self.table, late.phase, late.one_phase);
        }
        let outcome = self.told.ok_or("it ended without an outcome")?;
        let committed = matches!(outcome, Outcome::Committed | Outcome::Dispatched);
        let state = self.machine.state();
        let expected = if committed { State::Completed } else { State::Failed };
        must(state == expected || state == State::Initial, "it ended in another state")?;
        let delegated = self.point == Some(RecordKind::Delegated);
        for (index, operation, row) in self.operations() {
            let rejected =
                matches!(row.answers.get(&self.table.first()), Some(Heard::Rejected { .. }));
            if committed {
                let left_out = self.table.name == "2pc" && row.fate.read_only;
                let excused = row.skipped || left_out || self.dead.contains(&index);
                must(row.executed || excused, "committed, and one has not happened")?;
            } else {
                must(!row.executed, "not committed, and one has happened")?;
                let addressed = row.undone || rejected || delegated;
                let must_be = Self::is_reversible(operation);
                must(addressed || !must_be, "rule 3: one was not addressed")?;
            }
        }
        Ok(outcome)
    }
}

/// Runs a case in which crashes, and nothing else, disturb the calm order of things.
pub(crate) fn run_with_crashes(
    case: &Case,
    table: &Table<'_>,
) -> Result<End, (String, Vec<String>)> {
    let mut world = World::new(case, table);
    match world.run_with_crashes() {
        Ok(outcome) => Ok(End { outcome, trace: world.trace }),
        Err(rule) => Err((rule, world.trace)),
    }
}

impl World<'_> {
    fn run_with_crashes(&mut self) -> Checked<Outcome> {
        self.begin()?;
        let case = self.case;
        for choice in &case.choices {
            let crash = Move::Crash { landed: choice & 1 == 0 };
            let calm = if self.memory.closed { None } else { self.fair_move() };
            match calm {
                Some(next) if choice % 4 != 0 => self.make(next)?,
                None if self.memory.lazy.is_none() => break,
                _ => self.make(crash)?,
            }
        }
        self.finish()
    }
}
