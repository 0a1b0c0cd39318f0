//! What can be wrong with a definition.

use std::time::Duration;

use thiserror::Error;

use crate::{
    modifier::OnExpiry,
    name::NameError,
    pattern::{Pattern, Phase},
    transaction::Consistency,
};

/// A definition that is wrong, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct DefinitionError {
    /// The field as it is written in JSON, such as `operations[2].depends_on`.
    pub field: String,
    /// What is wrong.
    pub problem: Problem,
}

impl DefinitionError {
    pub(super) fn new(field: impl Into<String>, problem: Problem) -> Self {
        Self { field: field.into(), problem }
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The JSON text has another form.
    #[error("{0}")]
    Form(String),
    /// It is no valid name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It has too many bytes.
    #[error("{bytes} bytes are too many; {max} are the most")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// How many are allowed.
        max: usize,
    },
    /// It has too many entries.
    #[error("{count} entries are too many; {max} are the most")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// It has nothing in it.
    #[error("it is empty; give at least one {0}")]
    Empty(&'static str),
    /// It has characters that a store or a broker treats as special.
    #[error("it has a character that is not allowed; {0}")]
    Character(&'static str),
    /// It takes no time at all.
    #[error("it is zero; give at least one millisecond, or leave it out")]
    ZeroTime,
    /// It takes too long.
    #[error("it is too long; {max:?} is the most")]
    TooLong {
        /// The longest time.
        max: Duration,
    },
    /// A number is out of its range.
    #[error("{value} is out of range; give {min} to {max}")]
    OutOfRange {
        /// The number.
        value: u64,
        /// The smallest that is allowed.
        min: u64,
        /// The largest that is allowed.
        max: u64,
    },
    /// The input could not be written as JSON.
    #[error("the input cannot be written as JSON: {0}")]
    Input(String),
    /// More than one form of the payload is given.
    #[error("give one of payload, payload_text and payload_base64, not several")]
    SeveralPayloads,
    /// Two operations have the same name.
    #[error("{name:?} is also the name of operations[{first}]; give each operation its own name")]
    DuplicateName {
        /// The name.
        name: String,
        /// The first operation that has it.
        first: usize,
    },
    /// A namespace without a key.
    #[error("a namespace without a key; give a key too, or leave the namespace out")]
    NamespaceWithoutKey,
    /// No operation has this name.
    #[error("no operation is named {0:?}; give the names of other operations")]
    UnknownDependency(String),
    /// The same dependency is named twice.
    #[error("{0:?} is named twice; name each operation once")]
    DuplicateDependency(String),
    /// Operations wait for each other.
    #[error("a cycle: {}; leave one of these dependencies out", .0.join(" needs "))]
    Cycle(Vec<String>),
    /// The pattern has no order of operations.
    #[error(
        "{0} has no dependencies between operations; use saga, 1.5ps or 2ps, or leave them out"
    )]
    NoDependencies(Pattern),
    /// In 1.5PS only critical operations wait for each other.
    #[error(
        "{0:?} is not in the critical part together with this operation; in 1.5ps only critical \
         operations depend on critical ones, eventual ones all follow them"
    )]
    NotBothCritical(String),
    /// The pattern does not know this consistency.
    #[error("{pattern} has no {} operation; {}", level(*.found), advice(*.pattern, *.found))]
    Consistency {
        /// The pattern.
        pattern: Pattern,
        /// The consistency that was asked for.
        found: Consistency,
    },
    /// An independent 3PS has no gate at which an operation could be verified.
    #[error(
        "an immediate operation is verified at the gate, and gate independent has none; use \
         all_validated, or strong"
    )]
    ImmediateWithoutGate,
    /// A 1.5PS without a critical part.
    #[error("1.5ps needs a critical operation; make one strong, or use 0.5ps")]
    NothingCritical,
    /// A best-effort operation is tried once.
    #[error("a best_effort operation is tried once; leave retry out, or use eventual")]
    RetryOfBestEffort,
    /// The first pause is longer than the longest.
    #[error("the first pause is longer than backoff_ms_max; lower it")]
    BackoffOrder,
    /// Only a Saga has other steps than compensatable ones.
    #[error("{0} has no pivot and no retriable steps; use saga, or leave step out")]
    StepOutsideSaga(Pattern),
    /// There is more than one pivot.
    #[error("operations[{first}] is a pivot already; a saga has at most one")]
    SecondPivot {
        /// The first pivot.
        first: usize,
    },
    /// A retriable step without a pivot.
    #[error("a retriable step follows a pivot, and there is none; make one step the pivot")]
    RetriableWithoutPivot,
    /// A compensatable step that may run after the pivot.
    #[error(
        "a compensatable step must come before the pivot {pivot:?}; make the pivot depend on it, \
         or make it retriable and let it depend on the pivot"
    )]
    CompensatableAfterPivot {
        /// The name of the pivot.
        pivot: String,
    },
    /// A retriable step that may run before the pivot.
    #[error("a retriable step must come after the pivot {pivot:?}; let it depend on the pivot")]
    RetriableBeforePivot {
        /// The name of the pivot.
        pivot: String,
    },
    /// Only 3PS has a gate to choose.
    #[error("only 3ps has a gate to choose; leave it out in {0}")]
    GateOutside3ps(Pattern),
    /// The modifier needs a gate before the verdict.
    #[error(
        "{pattern} has no last gate before its verdict; use 2ps, 2pc or 3ps with gate \
         all_validated, or leave it out"
    )]
    NoLastGate {
        /// The pattern.
        pattern: Pattern,
    },
    /// The pattern has no such phase.
    #[error("{pattern} has no such phase to bound as {phase}; leave it out")]
    NoSuchPhase {
        /// The pattern.
        pattern: Pattern,
        /// The phase.
        phase: Phase,
    },
    /// The pattern cannot do this when a phase expires.
    #[error("{pattern} cannot {found:?} when a phase expires; leave it out, or use retry")]
    OnExpiry {
        /// The pattern.
        pattern: Pattern,
        /// What was asked for.
        found: OnExpiry,
    },
    /// The deadline ends before the waits that the modifiers ask for.
    #[error("it is not longer than modifiers.{wait}; the deadline includes all waits, so raise it")]
    DeadlineBeforeWait {
        /// The field of the wait.
        wait: &'static str,
    },
}

fn level(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Immediate => "immediate",
        Consistency::Strong => "strong",
        Consistency::Eventual => "eventual",
        Consistency::BestEffort => "best_effort",
    }
}

fn advice(pattern: Pattern, found: Consistency) -> &'static str {
    match (pattern, found) {
        (Pattern::FireAndForget, _) => "nothing waits for it; use eventual or best_effort",
        (_, Consistency::Immediate) => {
            "it is verified at the last gate before the verdict, which only 2ps, 3ps and 2pc \
             have; use strong"
        }
        _ => "use 1.5ps for a transaction with an eventual part, or strong",
    }
}
