//! What is searched: one transaction, and what may go wrong.

use std::{cmp::Ordering, sync::Arc, time::Duration};

use dtx_core::{
    engine::EngineSettings,
    ids::{ShardCount, ShardId, TxId},
    pattern::{Pattern, Phase},
    time::Timestamp,
    transaction::{
        Consistency, Gate, OperationDraft, RetryPolicy, StepKind, Transaction, TransactionBuilder,
    },
};

use super::{bug::Bug, participant::Choice};

/// Where clocks begin.
pub(super) const START: Timestamp = Timestamp::from_micros(1_000_000);
/// The time of an attempt, of a pause and of a write's repeat.
pub(super) const ATTEMPT: Duration = Duration::from_millis(200);
/// How long a transaction may stay undecided: far longer than any number of attempts.
pub(super) const DEADLINE: Duration = Duration::from_secs(3_600);

/// The store's clock after the deadline.
pub(super) const LATE: Timestamp = Timestamp::from_micros(8_000_000_000);

/// What is searched.
#[derive(Clone, Debug)]
pub struct Case {
    pub(super) name: String,
    pub(super) tx: TxId,
    pub(super) shard: ShardId,
    pub(super) transaction: Arc<Transaction>,
    pub(super) settings: Arc<EngineSettings>,
    /// How many leases there are at the most.
    pub(super) epochs: u64,
    /// How many coordinators crash at the most.
    pub(super) crashes: u8,
    /// The caller may cancel.
    pub(super) cancels: bool,
    /// Coordinators may hear that a write failed.
    pub(super) store_fails: bool,
    /// What is held may end by a clock.
    pub(super) expires: bool,
    /// A vote may be that nothing was changed.
    pub(super) read_only: bool,
    /// All operations are alike.
    pub(super) is_symmetric: bool,
    pub(super) bug: Option<Bug>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    FireAndForget,
    Saga,
    SagaPivot,
    SagaGraph,
    CriticalEventual,
    TwoPhaseSaga,
    TwoPhaseSequence,
    ThreePhaseSaga,
    Independent,
    TwoPhaseCommit,
    ReadOnly,
    OnePhase,
}

const SHAPES: [(Shape, &str); 12] = [
    (Shape::FireAndForget, "0.5ps"),
    (Shape::Saga, "saga"),
    (Shape::SagaPivot, "saga-pivot"),
    (Shape::SagaGraph, "saga-graph"),
    (Shape::CriticalEventual, "1.5ps"),
    (Shape::TwoPhaseSaga, "2ps"),
    (Shape::TwoPhaseSequence, "2ps-sequence"),
    (Shape::ThreePhaseSaga, "3ps"),
    (Shape::Independent, "3ps-independent"),
    (Shape::TwoPhaseCommit, "2pc"),
    (Shape::ReadOnly, "2pc-read-only"),
    (Shape::OnePhase, "2pc-one-phase"),
];

impl Shape {
    fn pattern(self) -> Pattern {
        match self {
            Self::FireAndForget => Pattern::FireAndForget,
            Self::Saga | Self::SagaPivot | Self::SagaGraph => Pattern::Saga,
            Self::CriticalEventual => Pattern::CriticalEventual,
            Self::TwoPhaseSaga | Self::TwoPhaseSequence => Pattern::TwoPhaseSaga,
            Self::ThreePhaseSaga | Self::Independent => Pattern::ThreePhaseSaga,
            Self::TwoPhaseCommit | Self::ReadOnly | Self::OnePhase => Pattern::TwoPhaseCommit,
        }
    }

    fn is_symmetric(self) -> bool {
        !matches!(
            self,
            Self::SagaPivot | Self::SagaGraph | Self::CriticalEventual | Self::TwoPhaseSequence
        )
    }

    fn count(self, operations: usize) -> usize {
        if self == Self::OnePhase { 1 } else { operations }
    }

    /// One of the operations, of `count` in all.
    fn operation(self, index: usize, count: usize) -> OperationDraft {
        let draft = OperationDraft::new(format!("p{index}"), "act").name(format!("o{index}"));
        let last = index + 1 == count;
        let before: Option<String> = index.checked_sub(1).map(|before| format!("o{before}"));
        match self {
            Self::FireAndForget => draft.consistency(Consistency::Eventual),
            Self::CriticalEventual if last => draft.consistency(Consistency::Eventual),
            Self::SagaPivot => {
                // Something stands on either side of the pivot, where there are enough.
                let pivot = count - if count > 2 { 2 } else { 1 };
                let step = match index.cmp(&pivot) {
                    Ordering::Less => StepKind::Compensatable,
                    Ordering::Equal => StepKind::Pivot,
                    Ordering::Greater => StepKind::Retriable,
                };
                draft.step(step).depends_on(before)
            }
            // The first before all others, which are side by side.
            Self::SagaGraph if index > 0 => draft.depends_on(["o0"]),
            Self::TwoPhaseSequence => draft.depends_on(before),
            _ => draft,
        }
    }

    fn transaction(self, operations: usize) -> Option<Transaction> {
        let count = self.count(operations);
        let mut builder: TransactionBuilder = Transaction::builder(self.pattern());
        if self == Self::Independent {
            builder = builder.gate(Gate::Independent);
        }
        let add = |b: TransactionBuilder, index| b.operation(self.operation(index, count));
        (0..count).fold(builder, add).build().ok()
    }
}

fn settings() -> EngineSettings {
    let retry = RetryPolicy { attempts_max: 1, backoff_ms: 100, backoff_ms_max: 100 };
    EngineSettings {
        attempt_timeout_min: ATTEMPT,
        attempt_timeout_max: ATTEMPT,
        write_retry: ATTEMPT,
        retry,
        deadline: DEADLINE,
        backoff_durable: DEADLINE,
        breaker_failures: u32::MAX,
        // What happened is told to people only.
        journal_entries_max: 0,
        ..EngineSettings::default()
    }
}

impl Case {
    /// A case of every pattern and variant that there is with so many participants, and with so
    /// many leases.
    pub fn all(operations: usize, epochs: u64) -> Vec<Self> {
        let new = |(shape, name): &(Shape, &str)| Self::new(*shape, name, operations, epochs);
        SHAPES.iter().filter_map(new).collect()
    }

    fn new(shape: Shape, name: &str, operations: usize, epochs: u64) -> Option<Self> {
        let transaction = Arc::new(shape.transaction(operations)?);
        let tx = TxId::from_bytes([7; 16]);
        let pattern = transaction.pattern();
        Some(Self {
            name: name.to_owned(),
            tx,
            shard: tx.shard(ShardCount::DEFAULT),
            transaction,
            settings: Arc::new(settings()),
            epochs,
            crashes: 1,
            cancels: false,
            store_fails: false,
            expires: matches!(pattern, Pattern::TwoPhaseSaga | Pattern::ThreePhaseSaga),
            read_only: shape == Shape::ReadOnly,
            is_symmetric: shape.is_symmetric(),
            bug: None,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same with a caller who may cancel.
    #[must_use]
    pub fn with_cancel(self) -> Self {
        Self { cancels: true, name: format!("{}+cancel", self.name), ..self }
    }

    /// The same with a store that may fail to answer.
    #[must_use]
    pub fn with_store_faults(self) -> Self {
        Self { store_fails: true, name: format!("{}+store", self.name), ..self }
    }

    /// The same without taking operations that are alike for each other.
    #[must_use]
    pub fn without_symmetry(self) -> Self {
        Self { is_symmetric: false, name: format!("{}+plain", self.name), ..self }
    }

    /// The same with a rule taken out.
    #[doc(hidden)]
    #[must_use]
    pub fn with_bug(self, bug: Bug) -> Self {
        Self { bug: Some(bug), name: format!("{}+{bug:?}", self.name), ..self }
    }

    /// What a handler may say besides yes.
    pub(super) fn choices(&self, operation: usize, phase: Phase) -> &'static [Choice] {
        let pattern = self.transaction.pattern();
        let operation = &self.transaction.operations()[operation];
        let gated =
            pattern == Pattern::ThreePhaseSaga && self.transaction.gate() == Gate::AllValidated;
        match phase {
            Phase::Prepare if self.read_only => &[Choice::No, Choice::ReadOnly],
            Phase::Prepare | Phase::Reserve | Phase::Validate => &[Choice::No],
            Phase::Execute if operation.step() == StepKind::Retriable || gated => &[],
            Phase::Execute => &[Choice::No],
            Phase::Commit if self.transaction.operations().len() == 1 => &[Choice::No],
            _ => &[],
        }
    }

    /// Whether participants ask what was decided.
    pub(super) fn inquires(&self) -> bool {
        matches!(self.transaction.pattern(), Pattern::TwoPhaseCommit | Pattern::ThreePhaseSaga)
    }

    /// Whether something is delivered after the verdict.
    pub(super) fn is_delivered(&self) -> bool {
        matches!(self.transaction.pattern(), Pattern::FireAndForget | Pattern::CriticalEventual)
    }

    pub(super) fn has_deadline(&self) -> bool {
        self.transaction.pattern() != Pattern::FireAndForget
    }
}
