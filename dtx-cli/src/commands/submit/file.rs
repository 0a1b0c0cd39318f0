//! The file: one transaction or an array of them. Everything is checked before anything is done.

use std::path::Path;

use dtx::{
    modifier::{Conditions, Strategies, unregistered},
    resource::{Amount, Credit, Debit, Take, Units},
    transaction::{Action, Operation, Transaction},
};
use dtx_shop::{Analyse, Message, Notify, PARTICIPANTS};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::exit::Failure;

/// The most transactions in one file.
pub(super) const TRANSACTIONS_MAX: usize = 10_000;

/// The largest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a file.
///
/// # Errors
/// A mistake in the file, with the file and the field.
pub(super) fn read(
    path: &Path,
    strategies: &Strategies,
    conditions: &Conditions,
) -> Result<Vec<Transaction>, Failure> {
    let file = path.display();
    let cannot = |error: std::io::Error| Failure::usage(format!("{file} cannot be read: {error}"));
    let bytes = std::fs::metadata(path).map_err(cannot)?.len();
    if bytes > FILE_BYTES_MAX {
        let text = format!("{file} has {bytes} bytes; {FILE_BYTES_MAX} are the most");
        return Err(Failure::usage(text));
    }
    let text = std::fs::read(path).map_err(cannot)?;
    let parsed = parse(&text).and_then(|transactions| {
        for (place, transaction) in &transactions {
            check(transaction, strategies, conditions)
                .map_err(|wrong| format!("{place}{wrong}"))?;
        }
        Ok(transactions)
    });
    let transactions = parsed.map_err(|wrong| Failure::usage(format!("{file}: {wrong}")))?;
    Ok(transactions.into_iter().map(|(_, transaction)| transaction).collect())
}

/// The transactions with where they stand: nothing for a single one, `[2].` in an array.
fn parse(text: &[u8]) -> Result<Vec<(String, Transaction)>, String> {
    let is_array = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if !is_array {
        let transaction = Transaction::from_json(text).map_err(|error| error.to_string())?;
        return Ok(vec![(String::new(), transaction)]);
    }
    let parts: Vec<&RawValue> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    match parts.len() {
        0 => return Err("there is no transaction in it; give at least one".to_owned()),
        count if count > TRANSACTIONS_MAX => {
            let text =
                format!("{count} transactions are too many; {TRANSACTIONS_MAX} are the most");
            return Err(text);
        }
        _ => {}
    }
    let parse = |(index, part): (usize, &&RawValue)| {
        let place = format!("[{index}].");
        match Transaction::from_json(part.get().as_bytes()) {
            Ok(transaction) => Ok((place, transaction)),
            Err(error) => Err(format!("{place}{error}")),
        }
    };
    parts.iter().enumerate().map(parse).collect()
}

/// What the shop cannot carry out is found here, and not half-way.
fn check(
    transaction: &Transaction,
    strategies: &Strategies,
    conditions: &Conditions,
) -> Result<(), String> {
    for (index, operation) in transaction.operations().iter().enumerate() {
        let wrong = |(field, text): (&str, String)| format!("operations[{index}].{field}: {text}");
        check_operation(operation).map_err(wrong)?;
    }
    let modifiers = transaction.modifiers();
    match modifiers.and_then(|modifiers| unregistered(modifiers, strategies, conditions)) {
        None => Ok(()),
        Some(name) => {
            let known: Vec<_> = strategies.keys().chain(conditions.keys()).collect();
            Err(format!("modifiers: {name:?} is not registered; this program has {known:?}"))
        }
    }
}

fn check_operation(operation: &Operation) -> Result<(), (&'static str, String)> {
    let action = (operation.action().as_str(), operation.action_version());
    let none = |offered: &str| {
        let text = format!("{} v{} is not offered; give {offered}", action.0, action.1);
        Err(("action", text))
    };
    match operation.participant().as_str() {
        "payment" if is::<Debit>(action) || is::<Credit>(action) => payload::<Amount>(operation),
        "payment" => none("debit or credit"),
        "inventory" | "shipping" if is::<Take>(action) => payload::<Units>(operation),
        "inventory" | "shipping" => none("take"),
        "notification" if is::<Notify>(action) => message(operation),
        "notification" => none("notify"),
        "analytics" if is::<Analyse>(action) => message(operation),
        "analytics" => none("analyse"),
        other => {
            let text = format!("{other:?} is no service of the shop; give one of {PARTICIPANTS:?}");
            Err(("participant", text))
        }
    }
}

fn is<A: Action>(action: (&str, u32)) -> bool {
    action == (A::NAME, A::VERSION)
}

fn payload<T: DeserializeOwned>(operation: &Operation) -> Result<(), (&'static str, String)> {
    match serde_json::from_slice::<T>(operation.payload()) {
        Ok(_) => Ok(()),
        Err(error) => Err(("payload", error.to_string())),
    }
}

fn message(operation: &Operation) -> Result<(), (&'static str, String)> {
    if operation.consistency().is_critical() {
        let text = "this service only takes messages; make it eventual or best_effort";
        return Err(("consistency", text.to_owned()));
    }
    payload::<Message>(operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"pattern": "saga", "operations": [
        {"participant": "payment", "action": "debit", "payload": {"account": "a", "cents": 1}}]}"#;

    fn wrong(text: &str) -> String {
        let parsed = parse(text.as_bytes()).and_then(|all| {
            for (place, transaction) in &all {
                check(transaction, &Strategies::new(), &Conditions::new())
                    .map_err(|wrong| format!("{place}{wrong}"))?;
            }
            Ok(all)
        });
        parsed.expect_err("it is wrong")
    }

    #[test]
    fn one_transaction_and_an_array_are_read() {
        assert_eq!(parse(GOOD.as_bytes()).expect("one").len(), 1);
        assert_eq!(parse(format!(" [{GOOD}, {GOOD}]").as_bytes()).expect("two").len(), 2);
    }

    #[test]
    fn as_many_transactions_as_allowed_are_read_and_one_more_is_not() {
        let many = |count| format!("[{}]", vec![GOOD; count].join(","));
        let at_limit = parse(many(TRANSACTIONS_MAX).as_bytes()).expect("the limit");
        assert_eq!(at_limit.len(), TRANSACTIONS_MAX);
        assert!(wrong(&many(TRANSACTIONS_MAX + 1)).contains("are the most"));
    }

    #[test]
    fn a_mistake_is_named_with_its_field() {
        let bad = |from: &str, to: &str| format!("[{GOOD}, {}]", GOOD.replace(from, to));
        for (text, expected) in [
            (GOOD.replace("payment", "bank"), "operations[0].participant: \"bank\" is no service"),
            (bad("debit", "take"), "[1].operations[0].action: take v1 is not offered"),
            (bad("cents", "euros"), "[1].operations[0].payload: unknown field `euros`"),
            (bad("saga", "sage"), "[1].pattern: "),
            (bad("payment", "pay ment"), "[1].operations[0].participant: "),
            ("[]".to_owned(), "there is no transaction"),
            ("[1".to_owned(), "EOF"),
            ("7".to_owned(), "transaction: invalid type"),
        ] {
            let found = wrong(&text);
            assert!(found.starts_with(expected), "{found}");
        }
        let message = GOOD.replace("payment", "notification").replace("debit", "notify");
        assert!(wrong(&message).starts_with("operations[0].consistency: "));
    }
}
