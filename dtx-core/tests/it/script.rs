//! Scripts: a transaction, the events that its machine gets, and what follows from each. The
//! text before `----` is written by people, the text after it by the runner.
//!
//! ```text
//! saga
//! op a
//! op b after a
//! start
//! a execute done
//! ----
//! > start
//! Executing
//!   send a execute
//! ```

use std::{fmt::Write as _, str::FromStr, time::Duration};

use dtx_core::{
    answer::Refusal,
    ids::OperationIndex,
    pattern::{
        Effect, Event, Fired, Heard, Machine, Pattern, Phase, step,
        table::{State, Table},
        tables,
    },
    store::{RecordKind, Verdict},
    transaction::{Consistency, Gate, OperationDraft, StepKind, Transaction},
};

/// The line between what is given and what is expected.
pub(crate) const RULE: &str = "----\n";

/// A script that was read.
pub(crate) struct Script {
    pub(crate) transaction: Transaction,
    /// Each event with the line that it was read from.
    pub(crate) events: Vec<(String, Event)>,
}

/// What a run of a script showed.
pub(crate) struct Run {
    pub(crate) text: String,
    pub(crate) fired: Vec<Fired>,
}

impl Script {
    /// Reads the part of a script before the rule.
    pub(crate) fn parse(text: &str) -> Self {
        let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let head: Vec<&str> = lines.next().expect("a first line").split(' ').collect();
        let mut builder = match head[0] {
            "3ps-independent" => {
                Transaction::builder(Pattern::ThreePhaseSaga).gate(Gate::Independent)
            }
            name => Transaction::builder(name.parse().unwrap()),
        };
        match head[1..] {
            [] => {}
            ["approval"] => builder = builder.approval(Duration::from_secs(60)),
            _ => panic!("{head:?} is no first line"),
        }
        let mut names: Vec<String> = Vec::new();
        let mut rest = Vec::new();
        for line in lines {
            match line.strip_prefix("op ") {
                Some(operation) => {
                    let draft = operation_draft(operation);
                    names.push(operation.split(' ').next().unwrap().to_owned());
                    builder = builder.operation(draft);
                }
                None => rest.push(line),
            }
        }
        let events = rest.iter().map(|line| ((*line).to_owned(), event(line, &names))).collect();
        Self { transaction: builder.build().unwrap(), events }
    }

    pub(crate) fn table(&self) -> &'static Table<'static> {
        tables::of(&self.transaction)
    }

    /// Runs the script by a table, which may be another one than the transaction's own.
    pub(crate) fn run(&self, table: &Table<'_>) -> Run {
        let mut machine = Machine::new(&self.transaction);
        let mut run = Run { text: String::new(), fired: Vec::new() };
        for (line, event) in &self.events {
            let before = machine.clone();
            let mut effects = Vec::new();
            let mut fired = Vec::new();
            let result =
                machine.advance_by(table, &self.transaction, *event, &mut effects, &mut |row| {
                    fired.push(row);
                });
            only_by_rows(table, before.state(), machine.state(), &fired, &effects);
            writeln!(run.text, "> {line}\n{}", machine.state()).unwrap();
            for effect in &effects {
                writeln!(run.text, "  {}", self.effect(effect)).unwrap();
            }
            if let Err(undefined) = &result {
                assert_eq!(machine, before, "an undefined transition leaves nothing behind");
                writeln!(run.text, "  ! {undefined}").unwrap();
            }
            if std::ptr::eq(table.rows, self.table().rows) {
                let stepped = step(&self.transaction, &before, *event);
                let in_place = result.map(|()| (machine.clone(), effects));
                assert_eq!(stepped.map(|step| (step.next, step.effects)), in_place, "{line}");
            }
            run.fired.extend(fired);
        }
        run
    }

    fn effect(&self, effect: &Effect) -> String {
        let name = |operation: OperationIndex| self.transaction.operation(operation).name();
        match *effect {
            Effect::Send { operation, phase, one_phase } => {
                let one_phase = if one_phase { " in one phase" } else { "" };
                format!("send {} {phase}{one_phase}", name(operation))
            }
            Effect::Record { kind, verdict, lazy, last } => {
                let verdict = verdict.map_or_else(String::new, |v| format!(" {v:?}"));
                let lazy = if lazy { ", lazily" } else { "" };
                let last = last.map_or_else(String::new, |last| format!(", the last: {last}"));
                format!("record {kind:?}{verdict}{lazy}{last}")
            }
            Effect::OpenGate => "open the gate".to_owned(),
            Effect::Tell(outcome) => format!("tell {outcome}"),
            Effect::DeadLetter(operation) => format!("dead letter {}", name(operation)),
            Effect::Attention { operation, phase, exception } => {
                let exception = if exception { ", an exception" } else { "" };
                format!("attention {} {phase}{exception}", name(operation))
            }
            Effect::Close => "close".to_owned(),
        }
    }
}

/// No code path outside the table: the rows that fired lead from the state before to the state
/// after, and without one nothing is done.
pub(crate) fn only_by_rows(
    table: &Table<'_>,
    before: State,
    after: State,
    fired: &[Fired],
    effects: &[Effect],
) {
    let mut state = before;
    for row in fired {
        assert_eq!(row.from, state, "the row {row:?} fired in another state");
        assert!(table.rows[row.row].cells().any(|cell| cell == (row.from, row.on)), "{row:?}");
        state = table.rows[row.row].to.unwrap_or(state);
    }
    assert_eq!(state, after, "the state changed without a row: {fired:?}");
    let acts = fired.iter().any(|row| !table.rows[row.row].acts.is_empty());
    assert!(acts || effects.is_empty(), "{effects:?} came from no row");
}

fn operation_draft(text: &str) -> OperationDraft {
    let mut words = text.split(' ');
    let mut draft = OperationDraft::new("someone", "do").name(words.next().unwrap());
    while let Some(word) = words.next() {
        draft = match word {
            "after" => draft.depends_on(words.next().unwrap().split(',')),
            "pivot" => draft.step(StepKind::Pivot),
            "retriable" => draft.step(StepKind::Retriable),
            "eventual" => draft.consistency(Consistency::Eventual),
            "best-effort" => draft.consistency(Consistency::BestEffort),
            "immediate" => draft.consistency(Consistency::Immediate),
            _ => panic!("{word:?} is nothing that an operation can be"),
        };
    }
    draft
}

fn event(line: &str, names: &[String]) -> Event {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["start"] => Event::Start,
        ["resume", word] => Event::Resume(verdict(word)),
        ["resume", "after", word] => Event::ResumeAfter(kind(word)),
        ["recorded", word] => Event::Recorded(kind(word)),
        ["decided", word] => Event::Decided(verdict(word)),
        ["overdue"] => Event::Overdue,
        ["cancelled"] => Event::Cancelled,
        ["gate", "opened"] => Event::GateOpened,
        ["gate", "refused"] => Event::GateRefused,
        [name, phase, ref said @ ..] => {
            let index = names.iter().position(|known| known == name);
            let index = index.unwrap_or_else(|| panic!("{name:?} is no operation")) as u16;
            let (operation, phase) = (OperationIndex(index), Phase::from_str(phase).unwrap());
            match heard(said) {
                Some(heard) => Event::Answer { operation, phase, heard },
                None => Event::GaveUp { operation, phase },
            }
        }
        _ => panic!("{line:?} is no event"),
    }
}

fn heard(words: &[&str]) -> Option<Heard> {
    let heard = match words {
        ["lost"] => return None,
        ["done"] => Heard::Done { read_only: false, reversed: false },
        ["done", "read-only"] => Heard::Done { read_only: true, reversed: false },
        ["done", "reversed"] => Heard::Done { read_only: false, reversed: true },
        ["rejected"] => Heard::Rejected { kept: true },
        ["rejected", "without", "inbox"] => Heard::Rejected { kept: false },
        ["refused", "undone"] => Heard::Refused(Refusal::Undone),
        ["refused", "executed"] => Heard::Refused(Refusal::Executed),
        ["refused", "expired"] => Heard::Refused(Refusal::Expired),
        _ => panic!("{words:?} is no answer"),
    };
    Some(heard)
}

fn verdict(word: &str) -> Verdict {
    match word {
        "completed" => Verdict::Completed,
        "turned" => Verdict::Turned,
        "commit" => Verdict::Commit,
        "abort" => Verdict::Abort,
        _ => panic!("{word:?} is no verdict"),
    }
}

fn kind(word: &str) -> RecordKind {
    match word {
        "pivot-sent" => RecordKind::PivotSent,
        "delegated" => RecordKind::Delegated,
        "finished" => RecordKind::Finished,
        _ => panic!("{word:?} is no record"),
    }
}
