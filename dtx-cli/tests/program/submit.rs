//! `dtx submit`.

use std::{collections::BTreeSet, fs};

use dtx::{
    RedbStore,
    pattern::Pattern,
    transaction::{DefinitionError, Transaction},
};
use serde_json::{Value, json};

use crate::support::{dtx, example, examples};

/// The examples with their outcomes; one for all transactions of a file.
const EXAMPLES: [(&str, &[&str]); 15] = [
    ("0.5ps", &["dispatched"]),
    ("saga", &["committed"]),
    ("1.5ps", &["committed"]),
    ("2ps", &["committed"]),
    ("3ps", &["committed"]),
    ("2pc", &["committed"]),
    ("verification", &["committed"; 3]),
    ("approval", &["committed"; 3]),
    ("execute-after", &["committed"; 3]),
    ("time-bounds", &["committed"; 4]),
    ("custom", &["committed"]),
    ("selective-consistency", &["committed"; 2]),
    ("independent-gate", &["committed"]),
    ("refused", &["compensated", "compensated", "aborted", "aborted", "aborted"]),
    ("several", &["committed", "committed", "dispatched"]),
];

fn outcomes(found: &Value) -> Vec<&str> {
    let transactions = found["transactions"].as_array().expect("an array");
    transactions.iter().map(|one| one["outcome"].as_str().unwrap_or("none")).collect()
}

#[test]
fn every_shipped_example_ends_as_it_should() {
    let shipped = fs::read_dir(examples()).expect("the folder is there");
    let shipped: BTreeSet<_> = shipped
        .map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_owned())
        .collect();
    let listed: BTreeSet<_> = EXAMPLES.iter().map(|(name, _)| (*name).into()).collect();
    assert_eq!(shipped, listed);
    for (name, expected) in EXAMPLES {
        let ran = dtx(&["submit", &example(name), "--approve", "--json"]);
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        let found = ran.json();
        // Which of two refusals is seen first decides between these two.
        let mut shown = outcomes(&found);
        if name == "refused" {
            for (outcome, expected) in shown.iter_mut().zip(expected) {
                if ["aborted", "compensated"].contains(outcome) {
                    *outcome = expected;
                }
            }
        }
        assert_eq!(shown, expected, "{name}: {found}");
    }
}

/// Every pattern with every modifier, alone and together, as far as it builds.
#[test]
fn every_pattern_runs_with_every_legal_modifier() {
    let modifiers = [
        json!({}),
        json!({"verification": {"when": "always"}}),
        json!({"verification": {"when": {"amount_over": 10}, "amount": 11}}),
        json!({"verification": {"when": {"elapsed_over_ms": 1}}}),
        json!({"verification": {"when": {"recent_failures_over": 0}}}),
        json!({"verification": {"when": {"custom": "round-amount"}}}),
        json!({"approval": {"timeout_ms": 60_000}}),
        json!({"execute_after_ms": 50}),
        json!({"time_bounds": {"strategy": "fixed"}}),
        json!({"time_bounds": {"strategy": "progressive"}}),
        json!({"time_bounds": {"strategy": "adaptive", "extensions_max": 1}}),
        json!({"time_bounds": {"strategy": {"custom": "patient"}, "on_expiry": "retry"}}),
        json!({"verification": {"when": "always"}, "approval": {"timeout_ms": 60_000},
               "execute_after_ms": 50, "time_bounds": {"strategy": "progressive"}}),
    ];
    let mut transactions = Vec::new();
    let mut expected = Vec::new();
    for pattern in Pattern::ALL {
        for modifiers in &modifiers {
            let transaction = json!({"pattern": pattern, "modifiers": modifiers, "operations": [
                {"participant": "payment", "action": "debit",
                 "payload": {"account": "bob", "cents": 100}},
                {"participant": "inventory", "action": "take",
                 "payload": {"item": "cd-1", "units": 1}},
            ]});
            let built: Result<_, DefinitionError> =
                Transaction::from_json(transaction.to_string().as_bytes());
            if built.is_ok() {
                transactions.push(transaction);
                let is_message = pattern == Pattern::FireAndForget;
                expected.push(if is_message { "dispatched" } else { "committed" });
            }
        }
    }
    // Without a gate there is nothing to wait at: five of thirteen stay for three patterns.
    assert_eq!(transactions.len(), 3 * 5 + 3 * 13);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all.json");
    fs::write(&file, Value::from(transactions).to_string()).expect("the file is written");
    let file = file.display().to_string();
    let ran = dtx(&["submit", &file, "--approve", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(outcomes(&ran.json()), expected, "{}", ran.stdout);
}

#[test]
fn a_rejected_approval_goes_back() {
    let ran = dtx(&["submit", &example("approval"), "--reject", "--json"]);
    assert_eq!((ran.code, outcomes(&ran.json())), (0, vec!["aborted"; 3]), "{ran:?}");
}

#[test]
fn what_has_no_outcome_in_time_goes_on_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("redb:{}", folder.path().join("a.redb").display());
    let approval = example("approval");
    let submit = |more: &[&str]| {
        dtx(&[&["submit", &approval, "--store", &store, "--json"][..], more].concat())
    };
    let waiting = submit(&["--wait", "0"]);
    assert_eq!((waiting.code, outcomes(&waiting.json())), (1, vec!["none"; 3]), "{waiting:?}");
    let ended = submit(&["--approve"]);
    assert_eq!((ended.code, outcomes(&ended.json())), (0, vec!["committed"; 3]), "{ended:?}");
    let transactions = ended.json()["transactions"].clone();
    let is_known = |one: &Value| one["new"] == false;
    assert!(transactions.as_array().expect("an array").iter().all(is_known), "{transactions}");
    let tx = |found: &Value| found["transactions"][0]["tx"].clone();
    assert_eq!(tx(&waiting.json()), tx(&ended.json()));
}

#[test]
fn a_mistake_in_a_file_names_the_field_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bad.json");
    let good = fs::read_to_string(example("3ps")).expect("the example is there");
    fs::write(&file, format!("[{good}, {}]", good.replace("cents", "euros"))).expect("written");
    let store = folder.path().join("a.redb");
    let (file, address) = (file.display().to_string(), format!("redb:{}", store.display()));
    let ran = dtx(&["submit", &file, "--store", &address]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    let expected = format!("error: {file}: [1].operations[0].payload: unknown field");
    assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(!store.exists());
}

#[tokio::test]
async fn a_store_that_another_process_owns_is_a_clear_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.redb");
    let _owner = RedbStore::open(&path).await.expect("a new store");
    let address = format!("redb:{}", path.display());
    let ran = dtx(&["submit", &example("3ps"), "--store", &address]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{ran:?}");
    assert!(ran.stderr.contains("owned by another process"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}
