//! A process that is killed in the middle, and the same command again.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{Folder, PATTERNS, count, report, run};

/// How far a line says that the run is, in percent.
fn percent(line: &str) -> Option<f64> {
    let line: Value = serde_json::from_str(line).ok()?;
    Some(line["progress"].as_f64()? * 100.0 / line["of"].as_f64()?)
}

/// Kills the run once it is so far, and says how far it really was.
fn kill_at(command: &mut Command, wanted: f64) -> f64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (mut reached, mut is_killed) = (0.0, false);
    // What was printed before the kill is read to its end.
    for line in lines {
        reached = percent(&line.unwrap()).unwrap_or(reached);
        if reached >= wanted && !is_killed {
            child.kill().unwrap();
            is_killed = true;
        }
    }
    assert!(!child.wait().unwrap().success(), "it ended before it was killed");
    reached
}

/// Kills one run of a pattern at each of these moments, then lets it end.
fn survive(pattern: &str, fail: &str, orders: usize, concurrency: &str, moments: &[f64]) {
    let folder = Folder::new();
    let file = folder.orders(orders);
    let store = folder.redb("a.redb");
    let args = ["--fail", fail, "--seed", "7", "--concurrency", concurrency, "--progress", "json"];
    for wanted in moments {
        let reached = kill_at(run(&file, pattern, &store).args(args), *wanted);
        assert!((5.0..=95.0).contains(&reached), "{pattern}: killed at {reached} %");
    }
    let found = report(run(&file, pattern, &store).args(args));
    assert_eq!(count(&found, "transactions"), orders as u64, "{found}");
    let went = count(&found, "committed") + count(&found, "dispatched");
    assert!(went > orders as u64 / 3, "{found}");
    if fail == "0" {
        assert_eq!(went, orders as u64, "{found}");
    }
}

#[test]
fn a_run_without_faults_survives_being_killed() {
    for (index, pattern) in PATTERNS.into_iter().enumerate() {
        survive(pattern, "0", 2_000, "32", &[8.0 + 5.0 * index as f64]);
    }
}

#[test]
fn a_run_with_faults_survives_being_killed_again_and_again() {
    for (index, pattern) in PATTERNS.into_iter().enumerate() {
        let shift = 3.0 * index as f64;
        let last: &[f64] = if index < 2 { &[70.0] } else { &[] };
        let moments = [&[10.0 + shift, 45.0 + shift][..], last].concat();
        survive(pattern, "0.2", 500, "128", &moments);
    }
}
