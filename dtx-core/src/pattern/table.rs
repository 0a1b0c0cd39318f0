//! Transition tables as data: the words in which they are written, and their rows.
//!
//! A machine moves only by finding a row here. Diagrams and coverage come from the same rows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    pattern::Phase,
    store::{Outcome, RecordKind, Verdict},
};

/// The states of all patterns. Each pattern uses some of them (source text 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// Nothing was sent.
    Initial,
    /// Prepares are on their way.
    Preparing,
    /// All are prepared.
    Prepared,
    /// Reservations are on their way.
    Reserving,
    /// All are reserved.
    Reserved,
    /// All are reserved, and validations are on their way.
    Validating,
    /// All are validated.
    Validated,
    /// A validation failed; the abort is being recorded.
    Invalid,
    /// Executions are on their way.
    Executing,
    /// The critical part is executed; that is being recorded.
    Executed,
    /// Messages are on their way.
    Delivering,
    /// The only participant is to decide (one-phase 2PC).
    Delegating,
    /// Commits are on their way.
    Committing,
    /// All forward work is done.
    Completed,
    /// The abort is being recorded, or aborts are on their way.
    Aborting,
    /// Releases are on their way.
    Releasing,
    /// The turn is being recorded, or cancels and compensations are on their way.
    Compensating,
    /// It went back, completely.
    Failed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What makes a machine move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// The accept is durable, or an undecided transaction is taken up again.
    Start,
    /// A transaction is taken up whose forward verdict is durable.
    ResumedForward,
    /// A transaction is taken up whose backward verdict is durable.
    ResumedBackward,
    /// A transaction is taken up whose pivot may have left.
    ResumedPivot,
    /// A transaction is taken up whose one-phase commit may have left.
    ResumedDelegated,
    /// The state was entered by the row before this one.
    Entered,
    /// An operation did what it was asked for.
    Done,
    /// An operation will never do what it was asked for.
    No,
    /// What an operation was asked for stays unknown after all retries.
    Lost,
    /// The transaction's deadline has passed.
    Overdue,
    /// A caller wants it to go back.
    Cancelled,
    /// What the last gate waits for is there.
    GateOpened,
    /// What the last gate waits for will not come.
    GateRefused,
    /// A record that is not a verdict is durable.
    Recorded(RecordKind),
    /// A verdict is durable, asked for by this machine or found in the store.
    Decided(Verdict),
    /// An operation is taken back.
    Undone,
    /// An operation that was to be dropped had been executed.
    WasExecuted,
    /// An operation could not be taken back after all retries.
    CannotUndo,
}

/// What must hold for a row to apply. Rows are tried from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// Nothing.
    Always,
    /// Every operation that has the phase did it.
    All(Phase),
    /// Every operation that must be taken back is.
    AllUndone,
    /// The last gate is shut.
    GateShut,
    /// The next operation is the pivot, and its record is not there yet.
    PivotNext,
    /// Neither a verdict nor the record of the pivot is there.
    Undecided,
    /// The no came from the pivot itself.
    PivotSaidNo,
    /// The no came from a validation.
    ValidationSaidNo,
    /// There is one operation, and no gate.
    Alone,
}

/// What a row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Send the phase to every operation that is ready for it.
    Ask(Phase),
    /// Send the phase that was lost once more.
    AskAgain,
    /// Record the verdict, and wait for it.
    Decide(Verdict),
    /// Make another record, and wait for it.
    Record(RecordKind),
    /// Take back what is next in the reverse order.
    Undo,
    /// Find out whether the last gate opens.
    OpenGate,
    /// Tell the outcome.
    Tell(Outcome),
    /// Tell `Compensated` if an effect was reversed, else `Aborted`.
    TellReversed,
    /// Record the end and wait for it.
    FinishAwaited,
    /// Record the end; nobody waits for it.
    FinishLazily,
    /// Put the operation into the dead letters.
    DeadLetter,
    /// Stop the chain until an operator moves it.
    Attention,
    /// Note an exception to the verdict, and stop until an operator moves it.
    Except,
    /// The transaction leaves the memory.
    Close,
}

/// One row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// In one of these states,
    pub from: &'static [State],
    /// on one of these,
    pub on: &'static [On],
    /// when this holds,
    pub when: When,
    /// go to this state (`None`: stay)
    pub to: Option<State>,
    /// and do this.
    pub acts: &'static [Act],
}

impl Row {
    /// Every (state, trigger) pair that the row covers.
    pub fn cells(&self) -> impl Iterator<Item = (State, On)> {
        self.from.iter().flat_map(|from| self.on.iter().map(|on| (*from, *on)))
    }
}

/// The table of a pattern.
#[derive(Clone, Copy, Debug)]
pub struct Table<'r> {
    /// What the table is of, such as `2ps`.
    pub name: &'static str,
    /// The forward phases, in order.
    pub phases: &'static [Phase],
    /// The phase that drops what was not executed; `None` where everything is executed at once.
    pub drop: Option<Phase>,
    /// The phase that reverses what was executed; `None` where nothing is executed before the
    /// verdict.
    pub reverse: Option<Phase>,
    /// The rows.
    pub rows: &'r [Row],
}

impl Table<'_> {
    /// The phase that an operation must have done before it is asked for `phase`.
    pub fn before(&self, phase: Phase) -> Option<Phase> {
        let at = self.phases.iter().position(|p| *p == phase)?;
        at.checked_sub(1).map(|before| self.phases[before])
    }

    /// The first forward phase.
    pub fn first(&self) -> Phase {
        self.phases[0]
    }

    /// The states of the table, in the order in which they appear.
    pub fn states(&self) -> Vec<State> {
        let mut states = Vec::new();
        for row in self.rows {
            for state in row.from.iter().copied().chain(row.to) {
                if !states.contains(&state) {
                    states.push(state);
                }
            }
        }
        states
    }

    /// The table as a Mermaid state diagram: one arrow for all rows that lead from one state to
    /// another. Rows that stay in their state are left out.
    pub fn to_mermaid(&self) -> String {
        let mut moves: Vec<(State, State, Vec<String>)> = Vec::new();
        for row in self.rows {
            let Some(to) = row.to else { continue };
            for from in row.from {
                let known = moves.iter_mut().find(|known| (known.0, known.1) == (*from, to));
                match known {
                    Some((_, _, labels)) => labels.push(row.label()),
                    None => moves.push((*from, to, vec![row.label()])),
                }
            }
        }
        let mut lines: Vec<String> = vec!["stateDiagram-v2".into(), "    [*] --> Initial".into()];
        for (from, to, labels) in moves {
            lines.push(format!("    {from} --> {to}: {}", labels.join("<br/>")));
        }
        for end in [State::Completed, State::Failed] {
            if self.states().contains(&end) {
                lines.push(format!("    {end} --> [*]"));
            }
        }
        lines.join("\n")
    }

    /// The table as a Markdown table, one line for each row.
    pub fn to_markdown(&self) -> String {
        let mut lines: Vec<String> =
            vec!["| from | on | when | to | do |".into(), "|---|---|---|---|---|".into()];
        for row in self.rows {
            let from = list(row.from);
            let to = row.to.map_or_else(|| "stays".into(), |to| to.to_string());
            let (on, acts) = (list(row.on), list(row.acts));
            lines.push(format!("| {from} | {on} | {} | {to} | {acts} |", row.when()));
        }
        lines.join("\n")
    }
}

impl Row {
    fn when(&self) -> String {
        if self.when == When::Always { String::new() } else { format!("{:?}", self.when) }
    }

    /// The label of an arrow. It has no colon, semicolon or line break, which end a label.
    fn label(&self) -> String {
        let mut label = list(self.on);
        if self.when != When::Always {
            label += &format!(" [{:?}]", self.when);
        }
        if !self.acts.is_empty() {
            label += &format!(" / {}", list(self.acts));
        }
        label
    }
}

fn list(items: &[impl fmt::Debug]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
    items.join(", ")
}

/// Writes a table: `From From, On On, if When => To, [Act Act];`, with `_` for "stays".
macro_rules! rows {
    ($($from:ident)|+ , $($on:ident $(($onarg:ident))?)|+ , $when:ident $(($whenarg:ident))?
        => $to:tt , [$($act:ident $(($actarg:ident))?),*] ; $($rest:tt)*) => {
        rows!(@ [] $($from)|+ , $($on $(($onarg))?)|+ , $when $(($whenarg))?
            => $to , [$($act $(($actarg))?),*] ; $($rest)*)
    };
    (@ [$($done:expr,)*] $($from:ident)|+ , $($on:ident $(($onarg:ident))?)|+ ,
        $when:ident $(($whenarg:ident))? => $to:tt , [$($act:ident $(($actarg:ident))?),*] ;
        $($rest:tt)*) => {
        rows!(@ [$($done,)* $crate::pattern::table::Row {
            from: &[$($crate::pattern::table::State::$from),+],
            on: &[$(rows!(@on $on $($onarg)?)),+],
            when: rows!(@when $when $($whenarg)?),
            to: rows!(@to $to),
            acts: &[$(rows!(@act $act $($actarg)?)),*],
        },] $($rest)*)
    };
    (@ [$($done:expr,)*]) => { &[$($done),*] };
    (@to _) => { None };
    (@to $to:ident) => { Some($crate::pattern::table::State::$to) };
    (@on Decided $v:ident) => {
        $crate::pattern::table::On::Decided($crate::store::Verdict::$v)
    };
    (@on Recorded $k:ident) => {
        $crate::pattern::table::On::Recorded($crate::store::RecordKind::$k)
    };
    (@on $on:ident) => { $crate::pattern::table::On::$on };
    (@when All $p:ident) => { $crate::pattern::table::When::All($crate::pattern::Phase::$p) };
    (@when $when:ident) => { $crate::pattern::table::When::$when };
    (@act Ask $p:ident) => { $crate::pattern::table::Act::Ask($crate::pattern::Phase::$p) };
    (@act Decide $v:ident) => { $crate::pattern::table::Act::Decide($crate::store::Verdict::$v) };
    (@act Record $k:ident) => {
        $crate::pattern::table::Act::Record($crate::store::RecordKind::$k)
    };
    (@act Tell $o:ident) => { $crate::pattern::table::Act::Tell($crate::store::Outcome::$o) };
    (@act $act:ident) => { $crate::pattern::table::Act::$act };
}
pub(crate) use rows;
