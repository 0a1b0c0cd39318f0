//! The demo.

use serde_json::Value;

use crate::support::{PATTERNS, assert_sound, count, dtx};

#[test]
fn the_demo_runs_every_pattern_without_and_with_faults() {
    let output = dtx(&["demo", "--orders", "25", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let demo: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((count(&demo, "orders"), &demo["sound"]), (25, &true.into()));
    let runs = demo["runs"].as_array().unwrap();
    let names: Vec<_> = runs.iter().map(|run| run["pattern"].as_str().unwrap()).collect();
    assert_eq!(names, [PATTERNS, PATTERNS].concat());
    for (index, run) in runs.iter().enumerate() {
        assert_sound(run);
        assert_eq!(run["fail"], if index < 6 { 0.0 } else { 0.2 });
        assert_eq!((count(run, "transactions"), &run["store"]), (25, &"redb".into()));
    }
}

#[test]
fn the_demo_ends_with_one_table() {
    let output = dtx(&["demo", "--orders", "5"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(text.matches("awaited").count(), 1, "{text}");
    assert_eq!(text.matches(" yes").count(), 12, "{text}");
}
