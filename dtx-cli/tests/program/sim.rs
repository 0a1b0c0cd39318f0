//! `dtx sim`.

use crate::support::dtx;

#[test]
fn many_seeds_are_one_object() {
    let ran = dtx(&["sim", "--first-seed", "5", "--seeds", "6", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found = ran.json();
    assert_eq!(found["seeds"], 6);
    assert_eq!((&found["failed"], &found["violations"]), (&0.into(), &0.into()));
    assert_eq!(found["failing_seeds"].as_array().map(Vec::len), Some(0));
    assert!(found["seeds_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{found}");
    assert!(found["events_median"].as_u64().is_some_and(|events| events > 0), "{found}");
    assert!(found["counters"]["committed"].as_u64().is_some(), "{found}");
}

#[test]
fn one_seed_is_the_same_run_again() {
    let [first, second] = [0; 2].map(|_| dtx(&["sim", "--seed", "3", "--json"]));
    assert_eq!((first.code, &first.stdout), (0, &second.stdout));
    assert_eq!(first.json()["seed"], 3);
    let other = dtx(&["sim", "--seed", "4", "--json"]).json();
    assert_ne!(first.json()["trace_hash"], other["trace_hash"]);
}

#[test]
fn a_trace_is_a_diagram() {
    let ran = dtx(&["sim", "--seed", "3", "--trace"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.starts_with("sequenceDiagram\n"), "{}", ran.stdout);
    assert!(ran.stdout.lines().count() > 50);
}

#[test]
fn progress_is_told_on_stderr() {
    let ran = dtx(&["sim", "--seeds", "3", "--progress", "json"]);
    let last = ran.stderr.lines().last().expect("a line of progress");
    assert_eq!((ran.code, last), (0, r#"{"progress":3,"of":3}"#));
}
