//! Random transactions of every table, and what their participants will answer.

use std::time::Duration;

use dtx_core::{
    pattern::{Pattern, table::Table, tables},
    transaction::{Consistency, Gate, OperationDraft, StepKind, Transaction},
};
use proptest::{collection::vec, prelude::*};

/// What is drawn for an operation; which of it is used depends on the pattern.
#[derive(Clone, Debug)]
struct Drawn {
    depends_on: u8,
    loose: bool,
}

/// What a participant will say to the phases of one operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// The number of the forward phase that it says no to; past the last one it says no to none.
    pub(crate) no_at: usize,
    /// Whether that no is the barrier's.
    pub(crate) refuses: bool,
    pub(crate) read_only: bool,
}

/// Everything that a run is drawn from.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) transaction: Transaction,
    pub(crate) fates: Vec<Fate>,
    /// Which of the possible moves comes next; when they are used up, what must happen happens.
    pub(crate) choices: Vec<u16>,
}

impl Case {
    pub(crate) fn table(&self) -> &'static Table<'static> {
        tables::of(&self.transaction)
    }
}

const OPERATIONS_MAX: usize = 5;

fn drawn() -> impl Strategy<Value = Drawn> {
    (any::<u8>(), any::<bool>()).prop_map(|(depends_on, loose)| Drawn { depends_on, loose })
}

fn fate() -> impl Strategy<Value = Fate> {
    (prop_oneof![4 => Just(9_usize), 1 => 0..3_usize], any::<bool>(), any::<bool>())
        .prop_map(|(no_at, refuses, read_only)| Fate { no_at, refuses, read_only })
}

fn draft(index: usize) -> OperationDraft {
    OperationDraft::new("someone", "do").name(format!("o{index}"))
}

/// The operations before `index` that its bits name.
fn earlier(bits: u8, index: usize) -> impl Iterator<Item = String> {
    (0..index).filter(move |other| bits & (1 << other) != 0).map(|other| format!("o{other}"))
}

fn build(table: &str, drawn: &[Drawn], pivot: Option<usize>, approval: bool) -> Transaction {
    let (pattern, gate) = match table {
        "3ps-independent" => (Pattern::ThreePhaseSaga, Gate::Independent),
        name => (name.parse().unwrap(), Gate::AllValidated),
    };
    let pivot = pivot.map(|pivot| pivot % drawn.len());
    let mut builder = Transaction::builder(pattern).gate(gate);
    if approval && matches!(table, "2ps" | "3ps" | "2pc") {
        builder = builder.approval(Duration::from_secs(60));
    }
    for (index, operation) in drawn.iter().enumerate() {
        let mut draft = draft(index);
        match (pattern, pivot) {
            (Pattern::FireAndForget, _) if operation.loose => {
                draft = draft.consistency(Consistency::BestEffort);
            }
            (Pattern::CriticalEventual, _) if operation.loose && index > 0 => {
                draft = draft.consistency(Consistency::Eventual);
            }
            (Pattern::CriticalEventual, _) => {
                let critical = |name: &String| name == "o0" || !drawn[number(name)].loose;
                draft = draft.depends_on(earlier(operation.depends_on, index).filter(critical));
            }
            (Pattern::Saga, Some(pivot)) => {
                // Every step before the pivot is its ancestor and every one after it a descendant.
                let (bits, kind) = match index.cmp(&pivot) {
                    std::cmp::Ordering::Less => (operation.depends_on, StepKind::Compensatable),
                    std::cmp::Ordering::Equal => (u8::MAX, StepKind::Pivot),
                    std::cmp::Ordering::Greater => {
                        (operation.depends_on | (1 << pivot), StepKind::Retriable)
                    }
                };
                draft = draft.step(kind).depends_on(earlier(bits, index));
            }
            (Pattern::Saga | Pattern::TwoPhaseSaga, _) => {
                draft = draft.depends_on(earlier(operation.depends_on, index));
            }
            _ => {}
        }
        builder = builder.operation(draft);
    }
    builder.build().unwrap()
}

fn number(name: &str) -> usize {
    name[1..].parse().unwrap()
}

/// A transaction of the table, its participants' answers and a schedule.
pub(crate) fn case(table: &'static str) -> impl Strategy<Value = Case> {
    (
        vec((drawn(), fate()), 1..=OPERATIONS_MAX),
        proptest::option::of(0..OPERATIONS_MAX),
        any::<bool>(),
        vec(any::<u16>(), 0..80),
    )
        .prop_map(move |(operations, pivot, approval, choices)| {
            let (drawn, fates): (Vec<_>, Vec<_>) = operations.into_iter().unzip();
            let transaction = build(table, &drawn, pivot, approval);
            Case { transaction, fates, choices }
        })
}
