//! What each pattern allows (design section 3).

use super::{Result, graph, wrong};
use crate::{
    pattern::Pattern,
    transaction::{Consistency, Gate, Operation, Problem, StepKind, Transaction},
};

pub(super) fn check(transaction: &Transaction) -> Result {
    let pattern = transaction.pattern;
    if transaction.gate != Gate::default() && pattern != Pattern::ThreePhaseSaga {
        return wrong("gate", Problem::GateOutside3ps(pattern));
    }
    for (index, operation) in transaction.operations.iter().enumerate() {
        consistency(transaction, index, operation)?;
        dependencies(transaction, index, operation)?;
        if operation.step() != StepKind::default() && pattern != Pattern::Saga {
            return wrong(format!("operations[{index}].step"), Problem::StepOutsideSaga(pattern));
        }
    }
    match pattern {
        Pattern::Saga => graph::pivot(&transaction.operations),
        Pattern::CriticalEventual
            if !transaction.operations.iter().any(|o| o.consistency().is_critical()) =>
        {
            wrong("operations", Problem::NothingCritical)
        }
        _ => Ok(()),
    }
}

/// Whether something can wait between the last answer and the verdict.
pub(super) fn has_last_gate(transaction: &Transaction) -> bool {
    match transaction.pattern {
        Pattern::TwoPhaseSaga | Pattern::TwoPhaseCommit => true,
        Pattern::ThreePhaseSaga => transaction.gate == Gate::AllValidated,
        Pattern::FireAndForget | Pattern::Saga | Pattern::CriticalEventual => false,
    }
}

fn consistency(transaction: &Transaction, index: usize, operation: &Operation) -> Result {
    let pattern = transaction.pattern;
    let found = operation.consistency();
    let allowed = match pattern {
        Pattern::FireAndForget => !found.is_critical(),
        Pattern::CriticalEventual => found != Consistency::Immediate,
        Pattern::Saga => found == Consistency::Strong,
        Pattern::TwoPhaseSaga | Pattern::ThreePhaseSaga | Pattern::TwoPhaseCommit => {
            found.is_critical()
        }
    };
    let field = || format!("operations[{index}].consistency");
    if !allowed {
        return wrong(field(), Problem::Consistency { pattern, found });
    }
    if found == Consistency::Immediate && !has_last_gate(transaction) {
        return wrong(field(), Problem::ImmediateWithoutGate);
    }
    if found == Consistency::BestEffort && operation.retry().is_some() {
        return wrong(format!("operations[{index}].retry"), Problem::RetryOfBestEffort);
    }
    Ok(())
}

fn dependencies(transaction: &Transaction, index: usize, operation: &Operation) -> Result {
    let field = || format!("operations[{index}].depends_on");
    if operation.depends_on().is_empty() {
        return Ok(());
    }
    match transaction.pattern {
        Pattern::Saga | Pattern::TwoPhaseSaga => Ok(()),
        Pattern::CriticalEventual => {
            let mut others =
                operation.depends_on().iter().map(|&other| transaction.operation(other));
            let loose = others.find(|other| {
                !other.consistency().is_critical() || !operation.consistency().is_critical()
            });
            match loose {
                Some(other) => wrong(field(), Problem::NotBothCritical(other.name().to_string())),
                None => Ok(()),
            }
        }
        pattern @ (Pattern::FireAndForget | Pattern::ThreePhaseSaga | Pattern::TwoPhaseCommit) => {
            wrong(field(), Problem::NoDependencies(pattern))
        }
    }
}
