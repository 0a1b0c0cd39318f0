//! Names and dependencies.

use std::collections::BTreeMap;

use super::{Result, wrong};
use crate::{
    ids::OperationIndex,
    name::OperationName,
    transaction::{DefinitionError, Operation, Problem, StepKind, Transaction},
};

/// A cycle is shown up to this many operations.
const CYCLE_SHOWN_MAX: usize = 8;

/// Where each name is; no name is used twice.
pub(in crate::transaction) fn index_names(
    names: &[OperationName],
) -> std::result::Result<BTreeMap<&str, OperationIndex>, DefinitionError> {
    let mut indices = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        let Ok(number) = u16::try_from(index) else {
            let max = usize::from(u16::MAX);
            return wrong("operations", Problem::TooMany { count: names.len(), max });
        };
        if let Some(first) = indices.insert(name.as_str(), OperationIndex(number)) {
            let problem = Problem::DuplicateName { name: name.to_string(), first: first.get() };
            return wrong(format!("operations[{index}].name"), problem);
        }
    }
    Ok(indices)
}

/// Dependencies exist, are named once, and make no cycle.
pub(super) fn dependencies(transaction: &Transaction) -> Result {
    let operations = &transaction.operations;
    for (index, operation) in operations.iter().enumerate() {
        let field = || format!("operations[{index}].depends_on");
        let depends_on = operation.depends_on();
        for (place, dependency) in depends_on.iter().enumerate() {
            let Some(found) = operations.get(dependency.get()) else {
                return wrong(field(), Problem::UnknownDependency(dependency.to_string()));
            };
            if depends_on[..place].contains(dependency) {
                let name = found.name().to_string();
                return wrong(field(), Problem::DuplicateDependency(name));
            }
        }
    }
    cycle(operations)
}

/// Takes away whatever waits for nothing until nothing is left or only cycles are.
fn cycle(operations: &[Operation]) -> Result {
    if operations.iter().all(|operation| operation.depends_on().is_empty()) {
        return Ok(());
    }
    let dependents = dependents(operations);
    let mut waits: Vec<usize> = operations.iter().map(|o| o.depends_on().len()).collect();
    let mut ready: Vec<usize> = (0..operations.len()).filter(|&i| waits[i] == 0).collect();
    while let Some(index) = ready.pop() {
        for &dependent in &dependents[index] {
            waits[dependent] -= 1;
            if waits[dependent] == 0 {
                ready.push(dependent);
            }
        }
    }
    let Some(start) = waits.iter().position(|&count| count > 0) else { return Ok(()) };
    // Each of those that are left waits for another one of them: going on leads into a cycle.
    let stuck = |index: usize| {
        let mut others = operations[index].depends_on().iter().map(|other| other.get());
        others.find(|&other| waits[other] > 0).unwrap_or(index)
    };
    let on_cycle = (0..operations.len()).fold(start, |index, _| stuck(index));
    let mut names = vec![operations[on_cycle].name().to_string()];
    let mut index = stuck(on_cycle);
    while index != on_cycle {
        if names.len() == CYCLE_SHOWN_MAX {
            names.push("...".to_owned());
            break;
        }
        names.push(operations[index].name().to_string());
        index = stuck(index);
    }
    names.push(operations[on_cycle].name().to_string());
    wrong(format!("operations[{on_cycle}].depends_on"), Problem::Cycle(names))
}

fn dependents(operations: &[Operation]) -> Vec<Vec<usize>> {
    let mut dependents = vec![Vec::new(); operations.len()];
    for (index, operation) in operations.iter().enumerate() {
        for dependency in operation.depends_on() {
            dependents[dependency.get()].push(index);
        }
    }
    dependents
}

/// Rule 4: at most one pivot; every compensatable step is its ancestor and every retriable one
/// its descendant.
pub(super) fn pivot(operations: &[Operation]) -> Result {
    let field = |index: usize| format!("operations[{index}].step");
    let mut found = None;
    for (index, operation) in operations.iter().enumerate() {
        match (operation.step(), found) {
            (StepKind::Pivot, Some(first)) => {
                return wrong(field(index), Problem::SecondPivot { first });
            }
            (StepKind::Pivot, None) => found = Some(index),
            _ => {}
        }
    }
    let Some(pivot) = found else {
        return match operations.iter().position(|o| o.step() == StepKind::Retriable) {
            Some(index) => wrong(field(index), Problem::RetriableWithoutPivot),
            None => Ok(()),
        };
    };
    let name = || operations[pivot].name().to_string();
    let ancestors = reach(operations.len(), pivot, |index| {
        operations[index].depends_on().iter().map(|other| other.get()).collect()
    });
    let dependents = dependents(operations);
    let descendants = reach(operations.len(), pivot, |index| dependents[index].clone());
    for (index, operation) in operations.iter().enumerate() {
        match operation.step() {
            StepKind::Compensatable if !ancestors[index] => {
                return wrong(field(index), Problem::CompensatableAfterPivot { pivot: name() });
            }
            StepKind::Retriable if !descendants[index] => {
                return wrong(field(index), Problem::RetriableBeforePivot { pivot: name() });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Which operations are reached from one by one or more steps.
fn reach(count: usize, from: usize, next: impl Fn(usize) -> Vec<usize>) -> Vec<bool> {
    let mut reached = vec![false; count];
    let mut todo = next(from);
    while let Some(index) = todo.pop() {
        if !std::mem::replace(&mut reached[index], true) {
            todo.extend(next(index));
        }
    }
    reached
}
