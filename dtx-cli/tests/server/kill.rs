//! A process that is killed in the middle, and the same command again: it waits for the leases of
//! the dead one to end and goes on.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    thread,
};

use serde_json::Value;

use crate::support::{PATTERNS, Shop, count, report};

/// How far a line says that the run is, in percent.
fn percent(line: &str) -> Option<f64> {
    let line: Value = serde_json::from_str(line).ok()?;
    Some(line["progress"].as_f64()? * 100.0 / line["of"].as_f64()?)
}

/// Kills a run once it is so far, then lets it end.
fn survive(pattern: &str, fail: &str, wanted: f64) {
    let shop = Shop::new(600);
    let args = ["--concurrency", "32", "--progress", "json"];
    let mut command = shop.run(pattern, fail);
    command.args(args).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut is_killed = false;
    for line in lines {
        let reached = percent(&line.expect("it is text")).unwrap_or_default();
        if reached >= wanted && !is_killed {
            child.kill().expect("it is ours");
            is_killed = true;
        }
    }
    assert!(!child.wait().expect("it is ours").success(), "it ended before it was killed");
    let found = report(shop.run(pattern, fail).args(args));
    assert_eq!(count(&found, "transactions"), 600, "{found}");
    if fail == "0" {
        assert_eq!(count(&found, "committed") + count(&found, "dispatched"), 600, "{found}");
    }
}

/// Every pattern at once: most of the time is spent waiting for leases to end.
fn survive_all(fail: &str, first: f64) {
    thread::scope(|scope| {
        for (index, pattern) in PATTERNS.into_iter().enumerate() {
            scope.spawn(move || survive(pattern, fail, first + 10.0 * index as f64));
        }
    });
}

#[test]
fn a_run_without_faults_survives_being_killed() {
    survive_all("0", 10.0);
}

#[test]
fn a_run_with_faults_survives_being_killed() {
    survive_all("0.2", 15.0);
}
