//! The rules of a definition. Everything that is wrong is found here, whether it came from the
//! builder, from JSON or from a store. Nothing here panics, whatever it is given.

mod graph;
mod modifiers;
mod rules;

use std::time::Duration;

pub(super) use graph::index_names;

use crate::transaction::{DefinitionError, Key, Limits, Problem, Transaction};

type Result = std::result::Result<(), DefinitionError>;

/// Checks everything.
pub(super) fn check(transaction: &Transaction, limits: &Limits) -> Result {
    sizes(transaction, limits)?;
    if let Some(value) = transaction.key() {
        key(value, limits)?;
    }
    metadata(transaction, limits)?;
    if let Some(deadline) = transaction.deadline() {
        duration("deadline_ms", deadline, limits)?;
    }
    retries(transaction, limits)?;
    graph::dependencies(transaction)?;
    rules::check(transaction)?;
    modifiers::check(transaction, limits)
}

fn wrong<T>(field: impl Into<String>, problem: Problem) -> std::result::Result<T, DefinitionError> {
    Err(DefinitionError::new(field, problem))
}

/// Refuses too many entries. The field is named only when it is wrong.
pub(super) fn count<F: Into<String>>(
    field: impl FnOnce() -> F,
    count: usize,
    max: usize,
) -> Result {
    if count > max { wrong(field(), Problem::TooMany { count, max }) } else { Ok(()) }
}

/// Refuses too many bytes. The field is named only when it is wrong.
pub(super) fn bytes<F: Into<String>>(
    field: impl FnOnce() -> F,
    bytes: usize,
    max: usize,
) -> Result {
    if bytes > max { wrong(field(), Problem::TooLarge { bytes, max }) } else { Ok(()) }
}

fn duration(field: impl Into<String>, time: Duration, limits: &Limits) -> Result {
    if time.is_zero() {
        return wrong(field, Problem::ZeroTime);
    }
    if time > limits.duration_max {
        return wrong(field, Problem::TooLong { max: limits.duration_max });
    }
    Ok(())
}

fn range(field: impl Into<String>, value: u64, min: u64, max: u64) -> Result {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        wrong(field, Problem::OutOfRange { value, min, max })
    }
}

fn sizes(transaction: &Transaction, limits: &Limits) -> Result {
    let operations = &transaction.operations;
    if operations.is_empty() {
        return wrong("operations", Problem::Empty("operation"));
    }
    count(|| "operations", operations.len(), limits.operations_max)?;
    let mut total = 0_usize;
    for (index, operation) in operations.iter().enumerate() {
        let field = |name: &str| format!("operations[{index}].{name}");
        count(|| field("depends_on"), operation.depends_on().len(), limits.dependencies_max)?;
        bytes(|| field("payload"), operation.payload.len(), limits.payload_bytes_max)?;
        total = total.saturating_add(operation.payload.len());
    }
    bytes(|| "operations", total, limits.payload_bytes_total_max)
}

fn key(key: &Key, limits: &Limits) -> Result {
    if key.key.is_empty() {
        return wrong("key", Problem::Empty("character"));
    }
    bytes(|| "key", key.key.len(), limits.key_bytes_max)?;
    if key.key.chars().any(char::is_control) {
        return wrong("key", Problem::Character("leave control characters out"));
    }
    Ok(())
}

fn metadata(transaction: &Transaction, limits: &Limits) -> Result {
    let metadata = transaction.all_metadata();
    count(|| "metadata", metadata.len(), limits.metadata_entries_max)?;
    for (name, value) in metadata {
        let field = || format!("metadata.{}", name.chars().take(80).collect::<String>());
        if name.is_empty() {
            return wrong("metadata", Problem::Empty("character as the name of an entry"));
        }
        bytes(field, name.len(), limits.metadata_name_bytes_max)?;
        // Entries travel as headers, where a line break would begin another header.
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            let fix = "a name has only letters, digits, '-', '_' and '.'";
            return wrong(field(), Problem::Character(fix));
        }
        bytes(field, value.len(), limits.metadata_value_bytes_max)?;
        if value.chars().any(char::is_control) {
            return wrong(field(), Problem::Character("leave control characters out"));
        }
    }
    Ok(())
}

fn retries(transaction: &Transaction, limits: &Limits) -> Result {
    for (index, operation) in transaction.operations.iter().enumerate() {
        let Some(retry) = operation.retry() else { continue };
        let field = |name: &str| format!("operations[{index}].retry.{name}");
        let attempts = u64::from(retry.attempts_max);
        range(field("attempts_max"), attempts, 1, u64::from(limits.attempts_max))?;
        duration(field("backoff_ms"), Duration::from_millis(retry.backoff_ms), limits)?;
        duration(field("backoff_ms_max"), Duration::from_millis(retry.backoff_ms_max), limits)?;
        if retry.backoff_ms > retry.backoff_ms_max {
            return wrong(field("backoff_ms"), Problem::BackoffOrder);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
