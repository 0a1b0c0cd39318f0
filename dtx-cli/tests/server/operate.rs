//! Looking at a store on a server, healing it, and addresses that lead nowhere.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    address::{NAME, NOBODY, WRONG},
    support::{Shop, dtx, object, report, stderr},
};

/// How long another process may take.
const LONG: Duration = Duration::from_secs(60);

impl Shop {
    fn dtx(&self, arguments: &[&str]) -> Output {
        dtx(&[arguments, &["--store", &self.store]].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        object(&self.dtx(&[arguments, &["--json"]].concat()))
    }

    fn status(&self, transaction: &str) -> String {
        let shown = self.json(&["tx", "show", transaction]);
        let outcome = shown["outcome"].as_str().or_else(|| shown["status"].as_str());
        outcome.unwrap_or_else(|| panic!("{shown}")).to_owned()
    }
}

/// The path of an example transaction.
fn example(name: &str) -> String {
    format!("{}/examples/transactions/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn transactions_are_listed_and_shown() {
    let shop = Shop::new(10);
    report(&mut shop.run("3ps", "0"));
    let list = shop.json(&["tx", "list", "--limit", "3"]);
    let rows = list["transactions"].as_array().unwrap_or_else(|| panic!("{list}"));
    assert_eq!(rows.len(), 3, "{list}");
    let id = rows[0]["tx"].as_str().unwrap_or_else(|| panic!("{list}"));
    let shown = shop.json(&["tx", "show", id]);
    assert!(shown["timeline"].as_array().is_some_and(|moments| moments.len() > 3), "{shown}");
    let healed = shop.json(&["heal"]);
    assert_eq!((&healed["healed"], &healed["left_open"]), (&0.into(), &0.into()), "{healed}");
}

#[test]
fn moves_wait_in_the_store_when_nobody_runs_on_it_and_heal_carries_them_out() {
    let shop = Shop::new(1);
    shop.dtx(&["submit", &example("approval"), "--wait", "1"]);
    shop.json(&["tx", "approve", "examples/approval-2pc", "--by", "ann"]);
    shop.json(&["tx", "reject", "examples/approval-3ps", "--reason", "too dear"]);
    let forced = ["tx", "resolve", "examples/approval-2ps", "force-commit", "--reason", "urgent"];
    shop.json(&forced);
    let healed = shop.json(&["heal"]);
    assert_eq!((&healed["healed"], &healed["left_open"]), (&3.into(), &0.into()), "{healed}");
    assert_eq!(shop.status("examples/approval-2pc"), "committed");
    assert_eq!(shop.status("examples/approval-3ps"), "aborted");
    assert_eq!(shop.status("examples/approval-2ps"), "committed");
}

#[test]
fn moves_reach_the_process_that_runs_on_the_store() {
    let shop = Shop::new(1);
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtx"));
    command.args(["submit", &example("approval"), "--store", &shop.store, "--wait", "60"]);
    let running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut running = running.expect("it starts");
    let keys = ["examples/approval-2ps", "examples/approval-3ps", "examples/approval-2pc"];
    let end = Instant::now() + LONG;
    let accepted = |key: &&str| shop.dtx(&["tx", "show", key]).status.success();
    while !keys.iter().all(accepted) {
        assert!(Instant::now() < end, "they are never accepted");
    }
    let held = shop.json(&["participant", "hold", "shipping", "--reason", "strike"]);
    assert_eq!(held["changed"], true, "{held}");
    shop.json(&["participant", "release", "shipping", "--reason", "it is over"]);
    for key in keys {
        shop.json(&["tx", "approve", key]);
    }
    assert!(running.wait().expect("it is ours").success(), "all have their outcome");
    for key in keys {
        assert_eq!(shop.status(key), "committed");
    }
    let list = shop.json(&["participant", "list"]);
    let shipping = &list["participants"][0];
    assert_eq!(shipping["moves"][0]["reason"], "strike", "{list}");
}

#[test]
fn an_undo_is_started_once_and_reverses_what_was_committed() {
    let shop = Shop::new(1);
    shop.dtx(&["submit", &example("3ps"), "--wait", "60"]);
    assert_eq!(shop.status("examples/3ps"), "committed");
    let undone = shop.json(&["tx", "undo", "examples/3ps", "--reason", "returned"]);
    assert_eq!(undone["new"], true, "{undone}");
    let again = shop.json(&["tx", "undo", "examples/3ps", "--reason", "once more"]);
    assert_eq!((&again["new"], &again["tx"]), (&false.into(), &undone["tx"]));
    assert_eq!(shop.json(&["heal"])["healed"], 1);
    assert_eq!(shop.status(undone["tx"].as_str().unwrap_or_default()), "committed");
}

#[test]
fn a_server_that_is_not_there_is_told_without_the_password() {
    for words in [&["heal"][..], &["tx", "list"], &["participant", "list"], &["doctor"]] {
        let output = dtx(&[words, &["--store", NOBODY]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(NAME), "{}", stderr(&output));
        assert!(!stderr(&output).contains("s3cret"), "{}", stderr(&output));
    }
}

#[test]
fn a_name_that_is_none_is_a_mistake_on_the_command_line() {
    let output = dtx(&["heal", "--store", WRONG]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let wrong = WRONG.rsplit('=').next().unwrap_or_default();
    assert!(stderr(&output).contains(wrong), "{}", stderr(&output));
}
