//! The search.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use dtx_core::store::{Outcome, Status};
use serde::Serialize;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use super::{action::Action, case::Case, state::State};

/// What a search found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Checked {
    /// Of which case.
    pub case: String,
    /// How many states there are that differ.
    pub states: u64,
    /// How many states were generated on the way.
    pub generated: u64,
    /// The longest path.
    pub depth: u64,
    /// Whether all states were reached; else the search stopped at its limit.
    pub complete: bool,
    /// Which rules were broken, with the actions that break them.
    pub violations: BTreeMap<String, Vec<String>>,
    /// What was never reached, though it should be.
    pub missed: Vec<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Checked {
    /// Whether something was searched and nothing was wrong.
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty() && self.missed.is_empty() && self.states > 1
    }
}

/// The rules, by how the text of a violation begins.
const RULES: [(&str, &str); 11] = [
    ("a verdict never changes, and is told only once a record fixes it", "rule 1:"),
    ("going back is durable before it begins, and nothing goes forward after it", "rule 2:"),
    ("the pivot and the one-phase commit wait for their record", "rule 4:"),
    ("a resume is durable before it goes on", "rule 6:"),
    ("what is durable is not overwritten", "rule 8:"),
    ("nothing leaves before what it depends on is durable", "persist before send"),
    ("no write and no command of an old lease takes effect", "fencing:"),
    ("nothing is executed without a commit or taken back without a going back", "agreement:"),
    ("3PS: nothing is executed after a failed validation", "3PS:"),
    ("no effect twice, and none reversed that was not there", "effects:"),
    ("all effects fit the outcome", "mixed:"),
];

/// A long search tells how far it is after so many states.
const STATES_TOLD: u64 = 50_000;

struct Search {
    case: Case,
    limit: u64,
    expanded: AtomicU64,
    tell: fn(u64),
}

impl Search {
    fn is_capped(&self) -> bool {
        self.expanded.load(Ordering::Relaxed) >= self.limit
    }
}

impl Model for Search {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.case)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Every state that differs comes here once. After the limit what waits is let go.
        let before = self.expanded.fetch_add(1, Ordering::Relaxed);
        if before < self.limit {
            state.actions(&self.case, actions);
            if (before + 1).is_multiple_of(STATES_TOLD) {
                (self.tell)(before + 1);
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        state.after(&self.case, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties(&self.case)
    }
}

fn properties(case: &Case) -> Vec<Property<Search>> {
    // A property is a plain function, so each rule has one of its own.
    macro_rules! rule {
        ($index:expr) => {
            Property::always(RULES[$index].0, |_, state: &State| {
                state.broken.is_none_or(|what| !what.starts_with(RULES[$index].1))
            })
        };
    }
    let mut properties = vec![
        rule!(0),
        rule!(1),
        rule!(2),
        rule!(3),
        rule!(4),
        rule!(5),
        rule!(6),
        rule!(7),
        rule!(8),
        rule!(9),
        rule!(10),
        Property::always("nothing else is wrong", |_, state: &State| {
            state.broken.is_none_or(|what| RULES.iter().any(|(_, text)| what.starts_with(text)))
        }),
        Property::eventually(
            "it ends, as long as somebody may drive it",
            |search: &Search, state: &State| state.is_ended(&search.case) || search.is_capped(),
        ),
        Property::sometimes("a coordinator crashes", |search: &Search, state: &State| {
            state.crashes_left < search.case.crashes
        }),
    ];
    if case.epochs > 1 {
        properties.push(Property::sometimes("it ends after a take-over", |_, state: &State| {
            state.newest.0 > 1 && state.outcome().is_some()
        }));
    }
    properties.extend(case.outcomes().iter().map(|outcome| match outcome {
        Outcome::Committed => Property::sometimes("it commits", |_, state: &State| {
            state.outcome() == Some(Outcome::Committed)
        }),
        Outcome::Aborted => Property::sometimes("it aborts", |_, state: &State| {
            state.outcome() == Some(Outcome::Aborted)
        }),
        Outcome::Compensated => Property::sometimes("it is compensated", |_, state: &State| {
            state.outcome() == Some(Outcome::Compensated)
        }),
        _ => Property::sometimes("it is dispatched", |_, state: &State| {
            state.outcome() == Some(Outcome::Dispatched)
        }),
    }));
    properties
}

impl State {
    fn outcome(&self) -> Option<Outcome> {
        match self.row.as_ref()?.record.summary.status {
            Status::Finished(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// It has ended, or waits for an operator, or nobody is left who may drive it.
    fn is_ended(&self, case: &Case) -> bool {
        let status = self.row.as_ref().map(|row| row.record.summary.status);
        let driven = self.seats.iter().any(|c| c.engine.is_some() && c.epoch == self.newest);
        let abandoned = !driven && (self.newest.0 >= case.epochs || self.row.is_none());
        abandoned
            || self.broken.is_some()
            || matches!(status, Some(Status::Finished(_) | Status::NeedsAttention))
    }
}

impl Case {
    fn outcomes(&self) -> &'static [Outcome] {
        use dtx_core::{
            pattern::Pattern,
            transaction::{Gate, StepKind},
        };
        let independent = self.transaction.gate() == Gate::Independent;
        let mut operations = self.transaction.operations().iter();
        let reverses = operations.any(|operation| operation.step() == StepKind::Compensatable);
        match self.transaction.pattern() {
            Pattern::FireAndForget => &[Outcome::Dispatched],
            Pattern::TwoPhaseCommit => &[Outcome::Committed, Outcome::Aborted],
            Pattern::ThreePhaseSaga if !independent => &[Outcome::Committed, Outcome::Aborted],
            // A pivot alone has nothing that could be compensated.
            Pattern::Saga if !reverses => &[Outcome::Committed, Outcome::Aborted],
            _ => &[Outcome::Committed, Outcome::Aborted, Outcome::Compensated],
        }
    }
}

/// Searches the states of a case, up to `limit` of them, on so many threads. `tell` hears now and
/// then how many were looked at.
pub fn check_case(case: &Case, limit: u64, threads: usize, tell: fn(u64)) -> Checked {
    let start = Instant::now();
    let search = Search { case: case.clone(), limit, expanded: AtomicU64::new(0), tell };
    let ends = HasDiscoveries::AnyFailures;
    let checker = search.checker().threads(threads).finish_when(ends).spawn_dfs().join();
    let complete = !checker.model().is_capped();
    // Paths are found again by taking their actions again.
    checker.model().expanded.store(0, Ordering::Relaxed);
    let discoveries = checker.discoveries();
    let mut violations = BTreeMap::new();
    let mut missed = Vec::new();
    for property in checker.model().properties() {
        let found = discoveries.get(property.name);
        match (property.expectation, found) {
            (Expectation::Sometimes, None) => missed.push(property.name.to_owned()),
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                let last = path.last_state().broken.unwrap_or("it does not go on");
                let mut actions: Vec<_> =
                    path.clone().into_actions().iter().map(|a| format!("{a:?}")).collect();
                actions.push(last.to_owned());
                violations.insert(property.name.to_owned(), actions);
            }
            _ => {}
        }
    }
    if !complete {
        // What the limit has cut off may hold what was not reached.
        missed.clear();
    }
    Checked {
        case: case.name.clone(),
        states: (checker.unique_state_count() as u64).min(if complete { u64::MAX } else { limit }),
        generated: checker.state_count() as u64,
        depth: checker.max_depth() as u64,
        complete,
        violations,
        missed,
        seconds: start.elapsed().as_secs_f64(),
    }
}
