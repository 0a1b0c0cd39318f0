//! Operators at a store, with and without a process that runs on it.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Ran, dtx, example};

const LONG: Duration = Duration::from_secs(60);

struct Store {
    _folder: tempfile::TempDir,
    path: String,
    address: String,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.redb").display().to_string();
        let address = format!("redb:{path}");
        Self { _folder: folder, path, address }
    }

    fn dtx(&self, arguments: &[&str]) -> Ran {
        dtx(&[arguments, &["--store", &self.address]].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.dtx(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    }

    fn submit(&self, name: &str, wait: &str) {
        self.dtx(&["submit", &example(name), "--wait", wait]);
    }

    fn status(&self, key: &str) -> String {
        let shown = self.json(&["tx", "show", key]);
        let outcome = shown["outcome"].as_str().or_else(|| shown["status"].as_str());
        outcome.expect("a status").to_owned()
    }

    /// A process that runs on the store and waits for a person.
    fn owner(&self) -> Owner {
        let child = Command::new(env!("CARGO_BIN_EXE_dtx"))
            .args(["submit", &example("approval"), "--store", &self.address, "--wait", "60"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        Owner(child)
    }
}

struct Owner(Child);

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Asks again and again until it holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
    }
}

#[test]
fn a_move_waits_in_the_store_when_nobody_runs_on_it_and_heal_carries_it_out() {
    let store = Store::new();
    store.submit("approval", "1");
    let looked = store.dtx(&["heal", "--look", "--json"]).json();
    assert_eq!((&looked["looked_only"], &looked["owner"]), (&true.into(), &Value::Null));
    let approved = store.json(&["tx", "approve", "examples/approval-2pc", "--by", "ann"]);
    assert_eq!((&approved["owner"], &approved["move"]), (&Value::Null, &"approve".into()));
    let rejected = store.json(&["tx", "reject", "examples/approval-3ps", "--reason", "too dear"]);
    assert_eq!(rejected["reason"], "too dear");
    let forced = ["tx", "resolve", "examples/approval-2ps", "force-commit", "--reason", "urgent"];
    store.json(&forced);
    let healed = store.dtx(&["heal", "--json"]);
    assert_eq!(healed.code, 0, "{healed:?}");
    let healed = healed.json();
    assert_eq!((&healed["healed"], &healed["left_open"]), (&3.into(), &0.into()), "{healed}");
    assert_eq!(healed["found"]["orphans"]["count"], 3, "{healed}");
    assert_eq!(store.status("examples/approval-2pc"), "committed");
    assert_eq!(store.status("examples/approval-3ps"), "aborted");
    assert_eq!(store.status("examples/approval-2ps"), "committed");
    let shown = store.dtx(&["tx", "show", "examples/approval-2ps"]).stdout;
    assert!(shown.contains("force-commit by") && shown.contains("urgent"), "{shown}");
    let again = store.json(&["heal"]);
    assert_eq!((&again["healed"], &again["found"]["examined"]), (&0.into(), &0.into()));
}

#[cfg(unix)]
#[test]
fn where_a_process_runs_on_the_store_a_move_goes_through_it() {
    let store = Store::new();
    let mut owner = store.owner();
    let key = "examples/approval-2ps";
    // The file, then the transaction, then its socket.
    eventually("it waits", || {
        std::path::Path::new(&store.path).is_file()
            && store.dtx(&["tx", "show", key, "--json"]).code == 0
    });
    let busy = store.dtx(&["submit", &example("saga")]);
    assert_eq!(busy.code, 4, "it has an owner: {busy:?}");
    let looked = store.dtx(&["heal", "--json"]).json();
    assert_eq!(looked["owner"]["pid"], owner.0.id());
    assert_eq!(looked["looked_only"], true);
    let held = store.json(&["participant", "hold", "shipping", "--reason", "strike"]);
    assert_eq!((&held["changed"], &held["owner"]["pid"]), (&true.into(), &owner.0.id().into()));
    store.json(&["participant", "release", "shipping", "--reason", "it is over"]);
    for key in ["examples/approval-2ps", "examples/approval-3ps", "examples/approval-2pc"] {
        let approved = store.json(&["tx", "approve", key]);
        assert_eq!(approved["owner"]["pid"], owner.0.id());
    }
    let ended = owner.0.wait().expect("it ends");
    assert!(ended.success(), "every transaction has its outcome: {ended:?}");
    assert_eq!(store.status(key), "committed");
    let participants = store.json(&["participant", "list"]);
    let shipping = &participants["participants"][0];
    assert_eq!(
        (&shipping["held"], &shipping["moves"][0]["reason"]),
        (&false.into(), &"strike".into())
    );
}

#[test]
fn only_legal_moves_are_offered_and_taken() {
    let store = Store::new();
    store.submit("approval", "1");
    let key = "examples/approval-2pc";
    let offered = store.json(&["tx", "resolve", key]);
    let moves = offered["moves"].as_array().expect("moves");
    let verbs: Vec<_> = moves.iter().map(|offer| offer["move"].as_str().expect("a word")).collect();
    assert_eq!(verbs, ["approve", "reject", "cancel", "force-commit", "force-abort", "abandon"]);
    assert!(moves.iter().all(|offer| !offer["effect"].as_str().unwrap_or_default().is_empty()));
    assert_eq!(store.json(&["tx", "show", key])["moves"], offered["moves"]);
    for (arguments, says) in [
        (&["retry", "--reason", "x"][..], "it takes approve"),
        (&["skip", "--reason", "x"], "one operation"),
        (&["skip", "slot", "--reason", "x"], "not stuck"),
        (&["skip", "nothing", "--reason", "x"], "no operation"),
        (&["abandon"], "--reason"),
        (&["abandon", "slot", "--reason", "x"], "not about one"),
        (&["edit-input", "slot", "--reason", "x"], "--input"),
        (&["dance", "--reason", "x"], "no move"),
    ] {
        let ran = store.dtx(&[&["tx", "resolve", key], arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(says), "{arguments:?}: {}", ran.stderr);
    }
    let unknown = store.dtx(&["tx", "resolve", "examples/nobody", "abandon", "--reason", "x"]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
}

#[test]
fn an_undo_is_started_once_and_reverses_what_was_committed() {
    let store = Store::new();
    store.submit("3ps", "60");
    assert_eq!(store.status("examples/3ps"), "committed");
    let undone = store.json(&["tx", "undo", "examples/3ps", "--reason", "returned"]);
    assert_eq!(undone["new"], true);
    let again = store.json(&["tx", "undo", "examples/3ps", "--reason", "once more"]);
    assert_eq!((&again["new"], &again["tx"]), (&false.into(), &undone["tx"]));
    let healed = store.json(&["heal"]);
    assert_eq!(healed["healed"], 1, "{healed}");
    let tx = undone["tx"].as_str().expect("an id");
    assert_eq!(store.status(tx), "committed");
    let shown = store.json(&["tx", "show", tx]);
    assert_eq!(shown["definition"]["undo_of"], undone["undo_of"]);
    assert_eq!(shown["key"], undone["undo_of"]);
    let dangling = store.dtx(&["tx", "undo", "examples/3ps"]);
    assert_eq!(dangling.code, 2, "a reason is wanted: {dangling:?}");
    let missing = store.dtx(&["tx", "undo", "examples/none", "--reason", "x"]);
    assert_eq!(missing.code, 3, "{missing:?}");
}
