//! Drives a machine as the engine does, against participants with an inbox, a network that
//! repeats, loses and delays, a store that other writers share, and crashes. After every step the
//! rules of the patterns are checked.

mod participant;
mod rules;

use dtx_core::{
    ids::OperationIndex,
    pattern::{Effect, Event, Heard, Machine, Phase, table::Table},
    store::{Outcome, RecordKind, Verdict},
};

use self::participant::Participant;
use crate::{script::only_by_rows, transactions::Case};

/// More steps than any run needs: past it the run is stuck.
const STEPS_MAX: usize = 5_000;

const DONE: Heard = Heard::Done { read_only: false, reversed: false };

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
        Self {
            case,
            table,
            machine: Machine::new(&case.transaction),
            memory: Memory::default(),
            participants: case.fates.iter().map(|fate| Participant::new(*fate)).collect(),
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
                let found = match self.gate_found {
                    Some(found) => vec![found],
                    None => vec![true, true, false],
                };
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
            Heard::Rejected { .. }
                if waited && phase == self.table.first() && self.machine.is_undecided() =>
            {
                self.memory.rejected.push(operation);
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
                let decided = match self.verdict {
                    Some(verdict) => !verdict.is_backward(),
                    None => self.point.is_some(),
                };
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
