//! From a draft to a transaction: names are parsed, dependencies become indices, times become
//! whole milliseconds. The rules are checked afterwards, on the result.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    ids::OperationIndex,
    modifier::{Modifiers, VerifyWhen, whole_millis},
    name::{ActionName, NAME_BYTES_MAX, NameError, OperationName},
    pattern::Pattern,
    transaction::{
        Consistency, DefinitionError, Key, Limits, Operation, OperationDraft, Problem, Transaction,
        TransactionBuilder, checks,
        definition::{Options, Shape},
    },
};

type Result<T> = std::result::Result<T, DefinitionError>;

/// Everything but the rules. What would cost more than it is worth is refused first.
pub(super) fn resolve(builder: TransactionBuilder, limits: &Limits) -> Result<Transaction> {
    checks::count(|| "operations", builder.operations.len(), limits.operations_max)?;
    for (index, operation) in builder.operations.iter().enumerate() {
        let field = || format!("operations[{index}].depends_on");
        checks::count(field, operation.depends_on.len(), limits.dependencies_max)?;
    }
    let names = names(&builder.operations)?;
    let indices = checks::index_names(&names)?;
    let mut operations = Vec::with_capacity(names.len());
    let mut before: Option<OperationIndex> = None;
    for (index, draft) in builder.operations.into_iter().enumerate() {
        let consistency = draft.consistency.unwrap_or(match builder.pattern {
            Pattern::FireAndForget => Consistency::Eventual,
            _ => Consistency::Strong,
        });
        let in_sequence = builder.in_sequence
            && (builder.pattern != Pattern::CriticalEventual || consistency.is_critical());
        let mut depends_on = dependencies(index, &draft.depends_on, &indices)?;
        if in_sequence {
            if depends_on.is_empty() {
                depends_on.extend(before);
            }
            before = Some(to_index(index));
        }
        operations.push(operation(index, draft, names[index].clone(), consistency, depends_on)?);
    }
    let key = match builder.key {
        Some((namespace, key)) => Some(Key { namespace: name(|| "namespace", &namespace)?, key }),
        None => None,
    };
    let mut modifiers = builder.modifiers;
    round_up(&mut modifiers);
    let options = Options {
        key,
        deadline: builder.deadline.map(rounded_up),
        undo_of: builder.undo_of,
        modifiers: (!modifiers.is_empty()).then_some(modifiers),
        metadata: builder.metadata,
    };
    Ok(Transaction {
        pattern: builder.pattern,
        operations: operations.into(),
        gate: builder.gate,
        options: options.kept(),
    })
}

fn dependencies(
    index: usize,
    names: &[String],
    indices: &BTreeMap<&str, OperationIndex>,
) -> Result<Vec<OperationIndex>> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        found.push(*indices.get(name.as_str()).ok_or_else(|| {
            let shown = name.chars().take(80).collect();
            let field = format!("operations[{index}].depends_on");
            DefinitionError::new(field, Problem::UnknownDependency(shown))
        })?);
    }
    // The order in which dependencies are named means nothing.
    found.sort_unstable();
    Ok(found)
}

fn operation(
    index: usize,
    draft: OperationDraft,
    own_name: OperationName,
    consistency: Consistency,
    depends_on: Vec<OperationIndex>,
) -> Result<Operation> {
    let field = |name: &str| format!("operations[{index}].{name}");
    let payload = draft
        .payload
        .map_err(|reason| DefinitionError::new(field("payload"), Problem::Input(reason)))?;
    let shape = Shape {
        name: own_name,
        participant: name(|| field("participant"), &draft.participant)?,
        action: name(|| field("action"), &draft.action)?,
        action_version: draft.action_version,
        depends_on: depends_on.into(),
        consistency,
        step: draft.step,
        retry: draft.retry.map(Box::new),
        region: match &draft.region {
            Some(region) => Some(name(|| field("region"), region)?),
            None => None,
        },
    };
    Ok(Operation { shape: shape.shared(), payload })
}

fn to_index(index: usize) -> OperationIndex {
    OperationIndex(u16::try_from(index).expect("the ceiling of operations fits 16 bits"))
}

fn name<'a, N: TryFrom<&'a str, Error = NameError>, F: Into<String>>(
    field: impl FnOnce() -> F,
    text: &'a str,
) -> Result<N> {
    N::try_from(text).map_err(|error| DefinitionError::new(field(), error.into()))
}

/// The names of the operations: those that were given, and for the others the action's name,
/// made unique.
fn names(drafts: &[OperationDraft]) -> Result<Vec<OperationName>> {
    let mut taken: BTreeSet<String> =
        drafts.iter().filter_map(|draft| draft.name.clone()).collect();
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.iter().enumerate() {
        let text = match &draft.name {
            Some(name) => name.clone(),
            None => {
                // A wrong action is reported as such and not as the name that it gives.
                name::<ActionName, _>(|| format!("operations[{index}].action"), &draft.action)?;
                let count = next.entry(&draft.action).or_insert(1);
                let free = loop {
                    let candidate = numbered(&draft.action, *count);
                    *count += 1;
                    if !taken.contains(&candidate) {
                        break candidate;
                    }
                };
                taken.insert(free.clone());
                free
            }
        };
        names.push(name(|| format!("operations[{index}].name"), &text)?);
    }
    Ok(names)
}

/// `action`, `action-2`, `action-3`, cut so that the whole is no longer than a name may be.
fn numbered(action: &str, count: usize) -> String {
    if count == 1 {
        return action.to_owned();
    }
    let suffix = format!("-{count}");
    // Names are ASCII, which was checked, so every index is a character boundary.
    let end = action.len().min(NAME_BYTES_MAX - suffix.len());
    format!("{}{suffix}", &action[..end])
}

fn rounded_up(time: Duration) -> Duration {
    Duration::from_millis(whole_millis(time))
}

fn round_up(modifiers: &mut Modifiers) {
    modifiers.execute_after = modifiers.execute_after.map(rounded_up);
    if let Some(approval) = &mut modifiers.approval {
        approval.timeout = rounded_up(approval.timeout);
    }
    if let Some(verification) = &mut modifiers.verification
        && let VerifyWhen::ElapsedOver(time) = &mut verification.when
    {
        *time = rounded_up(*time);
    }
    if let Some(bounds) = &mut modifiers.time_bounds {
        for time in bounds.base.values_mut() {
            *time = rounded_up(*time);
        }
    }
}
