//! `dtx sim`.

use crate::support::dtx;

#[test]
fn many_seeds_are_one_object() {
    let ran = dtx(&["sim", "--seed", "5", "--seeds", "6", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found = ran.json();
    assert_eq!(found["seeds"], 6);
    assert_eq!((&found["failed"], &found["violations"]), (&0.into(), &0.into()));
    assert_eq!(found["failing_seeds"].as_array().map(Vec::len), Some(0));
    assert!(found["seeds_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{found}");
    assert!(found["median_events"].as_u64().is_some_and(|events| events > 0), "{found}");
    assert!(found["counters"]["committed"].as_u64().is_some(), "{found}");
    assert_eq!(found["sometimes"]["events"], 6, "{found}");
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
    let ran = dtx(&["sim", "--seed", "3"]);
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

#[test]
fn a_run_is_kept_to_its_pattern_and_its_faults() {
    let kept = ["sim", "--seed", "3", "--json", "--pattern", "2pc", "--faults", "loss,stall"];
    let found = dtx(&kept).json();
    assert_eq!((&found["pattern"], &found["faults"]), (&"2pc".into(), &"loss,stall".into()));
    assert_eq!(found["counters"]["crashes"], 0, "{found}");
    assert_eq!(found["counters"]["dispatched"], 0, "{found}");
    let wrong = dtx(&["sim", "--seed", "3", "--faults", "loss,nonsense"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("nonsense"), "{}", wrong.stderr);
}

#[cfg(feature = "geo")]
#[test]
fn runs_are_laid_out_over_the_regions_of_a_provider() {
    for provider in ["aws", "azure", "gcp", "ibm"] {
        let found = dtx(&["sim", "--seeds", "60", "--regions", provider, "--json"]).json();
        assert_eq!((&found["regions"], &found["failed"]), (&provider.into(), &0.into()));
        assert!(found["counters"]["region_losses"].as_u64() > Some(0), "{found}");
    }
    let [first, second] =
        [0; 2].map(|_| dtx(&["sim", "--seed", "3", "--regions", "aws", "--json"]).json());
    assert_eq!(first["trace_hash"], second["trace_hash"]);
    let without = dtx(&["sim", "--seed", "3", "--json"]).json();
    assert_ne!(first["trace_hash"], without["trace_hash"]);
    assert_eq!(without["regions"], serde_json::Value::Null);
    let wrong = dtx(&["sim", "--seed", "3", "--regions", "moon"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("moon"), "{}", wrong.stderr);
}

#[test]
fn a_history_is_a_line_for_each_happening_and_is_judged() {
    let directory = tempfile::tempdir().expect("a file");
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (whole, cut) = (file("whole.jsonl"), file("cut.jsonl"));
    assert_eq!(dtx(&["sim", "--seed", "3", "--history", &whole]).code, 0);
    let text = std::fs::read_to_string(&whole).expect("a file");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.len() > 50);
    for what in ["submitted", "command", "reply", "kept", "landed", "told", "leased"] {
        assert!(lines.iter().any(|line| line["what"] == what), "{what}");
    }
    let judged = dtx(&["check-history", &whole, "--json"]);
    assert_eq!((judged.code, &judged.json()["finding"]), (0, &"valid".into()));
    // Without its end nobody can say.
    std::fs::write(&cut, text.lines().take(30).collect::<Vec<_>>().join("\n") + "\n")
        .expect("a file");
    let judged = dtx(&["check-history", &cut, "--json"]);
    assert_eq!((judged.code, &judged.json()["finding"]), (3, &"unknown".into()));
}

#[test]
fn the_page_about_the_program_names_every_fault() {
    let page = include_str!("../../../docs/cli.md");
    for fault in dtx_sim::Fault::ALL {
        assert!(page.contains(&format!("`{}`", fault.name())), "{}", fault.name());
    }
}
