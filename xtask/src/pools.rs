//! Regional pools under faults: many steps, after each of which the invariants are checked.

use serde_json::Value;

use crate::{
    process::{cargo, lines},
    workspace::Workspace,
};

/// The test that does it.
const TEST: &str = "sim::chaos_tests::no_step_under_faults_breaks_an_invariant";

/// What the line of the result begins with.
const FOUND: &str = "POOLS ";

/// How many seeds stand between the slices of two commits with neighbouring hashes. A slice of two
/// million steps takes fewer.
const SLICE: u64 = 10_000;

/// How many steps the tier has, and the slice of a commit.
pub(crate) const STEPS: u64 = 20_000_000;
const STEPS_SLICE: u64 = 2_000_000;

/// Steps that belong to a commit.
///
/// # Errors
/// A text when an invariant was broken.
pub(crate) fn slice(workspace: &Workspace, commit: u64) -> Result<(), String> {
    run(workspace, (1 + commit) * SLICE, STEPS_SLICE).map(drop)
}

/// Runs steps from a seed, and gives what they have shown.
///
/// # Errors
/// A text when an invariant was broken.
pub(crate) fn run(workspace: &Workspace, first: u64, steps: u64) -> Result<Value, String> {
    let arguments = ["test", "--profile", "checked", "--package", "dtx-geo", "--lib", "--"];
    let mut command = cargo(&workspace.root, &arguments);
    command.args(["--nocapture", "--exact", TEST]);
    command.env("DTX_POOLS_FIRST", first.to_string()).env("DTX_POOLS_STEPS", steps.to_string());
    let mut found = Value::Null;
    let passed = lines(&mut command, |line| {
        // The harness may have begun the line.
        if let Some((_, text)) = line.split_once(FOUND) {
            found = serde_json::from_str(text).unwrap_or_default();
        }
    })?;
    match found["steps"].as_u64() {
        Some(done) if passed && done >= steps => Ok(found),
        _ if passed => Err(format!("the test {TEST} did not say that it did {steps} steps")),
        _ => Err("an invariant of pools is broken".into()),
    }
}
