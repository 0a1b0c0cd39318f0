//! `cargo xtask prove`: the long tiers. Each leaves `docs/proof/TIER.json`, which names the code
//! that it is of. A tier that was interrupted goes on where it was, on the same code.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    cargo_mutants, ci, crash, exhaustive, failures, matrix, mutant_list, mutants,
    page::Mode,
    pools,
    process::{cargo, output, program, succeeds},
    server_crashes,
    simulator::{self, Seeds},
    steps::{Ending, Steps},
    subject::Subject,
    workspace::Workspace,
};

/// How many seeds the simulator tier covers, unless asked otherwise.
pub(crate) const SEEDS_DEFAULT: u64 = 10_000_000;

/// The folder of the results.
const FOLDER: &str = "docs/proof";

/// What can change without making a result stale.
const NO_CODE: [&str; 4] = [".", ":!docs", ":!*.md", ":!xtask"];

/// One tier.
struct Tier {
    name: &'static str,
    says: &'static str,
    /// The packages that it runs.
    packages: &'static [&'static str],
    run: fn(&Workspace, &Subject, u64) -> Result<(), String>,
}

const TIERS: [Tier; 10] = [
    Tier {
        name: "sim",
        says: "the simulator over many seeds",
        packages: &["dtx-sim"],
        run: simulate,
    },
    Tier {
        name: "model",
        says: "all states of small transactions",
        packages: &["dtx-sim"],
        run: exhaustive::model,
    },
    Tier {
        name: "faults",
        says: "every pair of faults at every step",
        packages: &["dtx-sim"],
        run: exhaustive::faults,
    },
    Tier {
        name: "crash",
        says: "kill -9 at every crash point and many moments",
        packages: &["dtx-shop"],
        run: crash,
    },
    Tier {
        name: "power",
        says: "loss of power on the embedded store",
        packages: &["dtx-shop"],
        run: power,
    },
    Tier {
        name: "matrix",
        says: "every store, transport and pattern, with kills",
        packages: &[
            "dtx-cli",
            "dtx-store-postgres",
            "dtx-store-redis",
            "dtx-transport-kafka",
            "dtx-transport-nats",
        ],
        run: matrix,
    },
    Tier {
        name: "servers",
        says: "crashes on PostgreSQL and Redis, and of them",
        packages: &["dtx-shop", "dtx-store-postgres", "dtx-store-redis"],
        run: servers,
    },
    Tier { name: "pools", says: "regional pools under faults", packages: &["dtx-geo"], run: pools },
    Tier {
        name: "mutants",
        says: "planted bugs are found",
        packages: &["dtx-sim", "dtx-testkit"],
        run: mutants,
    },
    Tier {
        name: "cargo-mutants",
        says: "small changes to dtx-core are noticed",
        packages: &["dtx-core"],
        run: cargo_mutants,
    },
];

/// Lists the tiers with what was proven and when.
pub(crate) fn list(workspace: &Workspace, steps: &mut Steps) {
    steps.run("tiers", || {
        for tier in &TIERS {
            println!("{:13} {:48} {}", tier.name, tier.says, standing(workspace, tier));
        }
        Ending::of(true)
    });
}

/// Runs one tier.
///
/// # Errors
/// A text when there is no such tier, or when files were changed since the last commit.
pub(crate) fn run(
    workspace: &Workspace,
    steps: &mut Steps,
    name: &str,
    seeds: u64,
) -> Result<(), String> {
    let names: Vec<_> = TIERS.iter().map(|tier| tier.name).collect();
    let tier = TIERS.iter().find(|tier| tier.name == name);
    let tier = tier.ok_or_else(|| format!("tier {name:?} is unknown; give one of {names:?}"))?;
    if changed_since(workspace, "HEAD")? {
        return Err("commit first: a result is the result of a commit".into());
    }
    let subject = Subject::of(workspace, tier.name, tier.packages)?;
    steps.run(&format!("tier {name}"), || {
        (tier.run)(workspace, &subject, seeds).map_or_else(Ending::failed, |()| Ending::of(true))
    });
    // The page of what survives goes with the results that it is made from.
    failures::step(workspace, steps, Mode::Write);
    Ok(())
}

fn changed_since(workspace: &Workspace, commit: &str) -> Result<bool, String> {
    let mut git = program(&workspace.root, "git");
    git.args(["diff", "--name-only", commit, "--"]).args(NO_CODE);
    Ok(!output(&mut git)?.trim().is_empty())
}

fn standing(workspace: &Workspace, tier: &Tier) -> String {
    let Some(result) = read(&workspace.root, tier.name) else { return "never run".into() };
    let commit = result["commit"].as_str().unwrap_or_default();
    let word = describe(&result);
    match Subject::of(workspace, tier.name, tier.packages) {
        Ok(subject) if subject.is_of(&result) => format!("{word} at {commit}"),
        Ok(_) => format!("STALE: {word} at {commit}, and the code has changed"),
        Err(error) => format!("UNKNOWN: {word} at {commit}; {error}"),
    }
}

fn describe(result: &Value) -> &'static str {
    match (result["complete"].as_bool(), result["failure"].as_str()) {
        (_, Some(_)) => "FAILED",
        (Some(true), None) if has_limited(result) => "searched, in part up to a limit,",
        (Some(true), None) => "proven",
        _ => "begun",
    }
}

/// Whether a search has stopped at its limit.
fn has_limited(result: &Value) -> bool {
    result["searches_at_the_limit"].as_array().is_some_and(|searches| !searches.is_empty())
}

fn file(root: &Path, tier: &str) -> PathBuf {
    root.join(FOLDER).join(format!("{tier}.json"))
}

/// The result of a tier, if there is one.
pub(crate) fn read(root: &Path, tier: &str) -> Option<Value> {
    let text = fs::read_to_string(file(root, tier)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Writes the result of a tier.
///
/// # Errors
/// A text when the file cannot be written.
pub(crate) fn write(root: &Path, tier: &str, result: &Value) -> Result<(), String> {
    let path = file(root, tier);
    fs::create_dir_all(root.join(FOLDER)).map_err(|error| format!("{FOLDER}: {error}"))?;
    fs::write(&path, format!("{result:#}\n")).map_err(|error| format!("{FOLDER}/{tier}: {error}"))
}

/// How many seeds are done already: those of a sound result of the same code.
fn seeds_done(result: Option<&Value>, subject: &Subject) -> u64 {
    let same = |result: &&Value| subject.is_of(result) && result["failure"].is_null();
    result.filter(same).and_then(|result| result["seeds"].as_u64()).unwrap_or(0)
}

fn simulate(workspace: &Workspace, subject: &Subject, seeds: u64) -> Result<(), String> {
    // The program alone: all that is tested takes longer to build than many seeds do.
    let build = ["build", "--locked", "--profile", "checked", "--package", "dtx-cli"];
    if !succeeds(&mut cargo(&workspace.root, &build))? {
        return Err("the program does not build".into());
    }
    let earlier = read(&workspace.root, "sim");
    let mut done = seeds_done(earlier.as_ref(), subject);
    let mut seconds = match (done, &earlier) {
        (1.., Some(result)) => result["seconds"].as_f64().unwrap_or(0.0),
        _ => 0.0,
    };
    while done < seeds {
        let start = Instant::now();
        let batch = Seeds { first: done, count: ci::BATCH.min(seeds - done) };
        let outcome = simulator::simulate(workspace, batch);
        seconds += start.elapsed().as_secs_f64();
        if outcome.is_ok() {
            done += batch.count;
        }
        let complete = done >= seeds;
        let failure = outcome.as_ref().err();
        let found = json!({ "complete": complete, "failure": failure, "first_seed": 0,
            "seeds": done, "seconds": seconds });
        write(&workspace.root, "sim", &joined(subject.head(), found))?;
        outcome?;
    }
    Ok(())
}

fn crash(workspace: &Workspace, subject: &Subject, _seeds: u64) -> Result<(), String> {
    let start = Instant::now();
    let earlier = read(&workspace.root, "crash").filter(|result| subject.is_of(result));
    let before = earlier.and_then(|result| result["seconds"].as_f64()).unwrap_or(0.0);
    let mut known = json!({});
    let keep = |found: &Value, complete: bool, failure: Option<&str>| {
        let seconds = before + start.elapsed().as_secs_f64();
        let head = json!({ "complete": complete, "failure": failure, "seconds": seconds });
        write(&workspace.root, "crash", &joined(subject.head(), joined(head, found.clone())))
    };
    let outcome = crash::prove_points(workspace, subject, |found| {
        keep(&found, false, None)?;
        known = found;
        Ok(())
    });
    keep(&known, outcome.is_ok(), outcome.as_ref().err().map(String::as_str))?;
    outcome
}

/// What an earlier run of the same code has found without a failure, and how long it took.
fn earlier(workspace: &Workspace, subject: &Subject) -> (Vec<Value>, f64) {
    let sound = |all: &Value| subject.is_of(all) && all["failure"].is_null();
    let earlier = read(&workspace.root, subject.tier()).filter(sound);
    let seconds = earlier.as_ref().and_then(|all| all["seconds"].as_f64()).unwrap_or(0.0);
    let found = earlier.map_or_else(Vec::new, |mut all| match all["all"].take() {
        Value::Array(found) => found,
        _ => Vec::new(),
    });
    (found, seconds)
}

fn power(workspace: &Workspace, subject: &Subject, _seeds: u64) -> Result<(), String> {
    let start = Instant::now();
    let (mut cycles, before) = earlier(workspace, subject);
    let done = cycles.iter().filter(|cycle| cycle["honest_disk"] == true).count() as u64;
    let keep = |cycles: &[Value], complete: bool, failure: Option<&str>| {
        let seconds = before + start.elapsed().as_secs_f64();
        let head = json!({ "complete": complete, "failure": failure, "seconds": seconds });
        let found = joined(crash::sum_of_cycles(cycles), json!({ "all": cycles }));
        write(&workspace.root, "power", &joined(subject.head(), joined(head, found)))
    };
    let outcome = crash::prove_power(workspace, done, |cycle| {
        cycles.push(cycle);
        keep(&cycles, false, None)
    });
    keep(&cycles, outcome.is_ok(), outcome.as_ref().err().map(String::as_str))?;
    outcome
}

/// Goes on with the cells that are sound already.
fn matrix(workspace: &Workspace, subject: &Subject, _seeds: u64) -> Result<(), String> {
    let start = Instant::now();
    let earlier = read(&workspace.root, "matrix").filter(|result| subject.is_of(result));
    let before = earlier.as_ref().and_then(|result| result["seconds"].as_f64()).unwrap_or(0.0);
    let mut cells = earlier.map_or_else(Vec::new, |mut result| match result["cells"].take() {
        Value::Array(cells) => cells,
        _ => Vec::new(),
    });
    let is_sound = |cell: &Value| cell["failures"].as_array().is_some_and(Vec::is_empty);
    cells.retain(is_sound);
    let keep = |cells: &[Value], complete: bool, failure: Option<&str>| {
        let seconds = before + start.elapsed().as_secs_f64();
        let failed = cells.iter().filter(|cell| !is_sound(cell)).count();
        let found = json!({ "complete": complete, "failure": failure, "seconds": seconds,
            "failed": failed, "cells": cells });
        write(&workspace.root, "matrix", &joined(subject.head(), found))
    };
    let known = cells.clone();
    let outcome = matrix::prove(workspace, &known, |cell| {
        cells.push(cell);
        keep(&cells, false, None)
    });
    keep(&cells, outcome.is_ok(), outcome.as_ref().err().map(String::as_str))?;
    outcome
}

fn servers(workspace: &Workspace, subject: &Subject, _seeds: u64) -> Result<(), String> {
    let start = Instant::now();
    let (mut known, before) = earlier(workspace, subject);
    let keep = |known: &[Value], complete: bool, failure: Option<&str>| {
        let seconds = before + start.elapsed().as_secs_f64();
        let head = json!({ "complete": complete, "failure": failure, "seconds": seconds });
        let found = joined(server_crashes::sum(known), json!({ "all": known }));
        write(&workspace.root, "servers", &joined(subject.head(), joined(head, found)))
    };
    let outcome = server_crashes::prove(workspace, subject, known.clone(), |found| {
        known = found.to_vec();
        keep(found, false, None)
    });
    keep(&known, outcome.is_ok(), outcome.as_ref().err().map(String::as_str))?;
    outcome
}

fn pools(workspace: &Workspace, subject: &Subject, _seeds: u64) -> Result<(), String> {
    let start = Instant::now();
    let outcome = pools::run(workspace, 0, pools::STEPS);
    let head = json!({ "complete": outcome.is_ok(), "failure": outcome.as_ref().err(),
        "seconds": start.elapsed().as_secs_f64() });
    let found = outcome.as_ref().ok().cloned().unwrap_or_else(|| json!({}));
    write(&workspace.root, "pools", &joined(subject.head(), joined(head, found)))?;
    outcome.map(drop)
}

/// Goes on with what another run has found on the same code. Its page is written with it.
fn mutants(workspace: &Workspace, subject: &Subject, _seeds: u64) -> Result<(), String> {
    let start = Instant::now();
    let earlier = read(&workspace.root, "mutants").filter(|result| subject.is_of(result));
    let before = earlier.as_ref().and_then(|result| result["seconds"].as_f64()).unwrap_or(0.0);
    let mut known = if earlier.is_some() { mutants::results(workspace) } else { Vec::new() };
    let facts = workspace.facts()?;
    let keep = |known: &[Value], complete: bool, failure: Option<&str>| {
        let seconds = before + start.elapsed().as_secs_f64();
        let enough = known.iter().filter(|result| mutants::is_found_enough(result)).count();
        let found = json!({ "complete": complete, "failure": failure, "seconds": seconds,
            "mutants": known.len(), "found": enough, "all": known });
        write(&workspace.root, "mutants", &joined(subject.head(), found))
    };
    let outcome = mutants::prove(workspace, &facts, known.clone(), |found| {
        known = found.to_vec();
        keep(found, false, None)
    });
    keep(&known, outcome.is_ok(), outcome.as_ref().err().map(String::as_str))?;
    let mut steps = Steps::new();
    mutant_list::step(workspace, &facts, &mut steps, Mode::Write);
    outcome
}

/// Goes on with what is known of the files that are as they were.
fn cargo_mutants(workspace: &Workspace, subject: &Subject, _seeds: u64) -> Result<(), String> {
    let start = Instant::now();
    let earlier = read(&workspace.root, "cargo-mutants").unwrap_or(Value::Null);
    let before = earlier["seconds"].as_f64().unwrap_or(0.0);
    let mut known = joined(json!({}), earlier.clone());
    let mut is_all = false;
    let keep = |found: &Value, complete: bool, failure: Option<&str>| {
        let seconds = before + start.elapsed().as_secs_f64();
        let head = json!({ "complete": complete, "failure": failure, "seconds": seconds });
        let result = joined(joined(subject.head(), found.clone()), head);
        write(&workspace.root, "cargo-mutants", &result)
    };
    let outcome = cargo_mutants::prove(workspace, &earlier["files"], |found, complete| {
        (known, is_all) = (found.clone(), complete);
        keep(found, complete, None)
    });
    keep(&known, is_all, outcome.as_ref().err().map(String::as_str))?;
    outcome
}

/// One object with the fields of both.
pub(crate) fn joined(mut first: Value, second: Value) -> Value {
    if let (Some(all), Value::Object(more)) = (first.as_object_mut(), second) {
        all.extend(more);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_goes_on_only_from_a_sound_result_of_the_same_code() {
        let subject = |code: &str| Subject::for_tests("sim", "a", code);
        let result = joined(subject("1").head(), json!({ "seeds": 7, "failure": null }));
        assert_eq!(seeds_done(Some(&result), &subject("1")), 7);
        assert_eq!(seeds_done(Some(&result), &subject("2")), 0);
        let failed = joined(result, json!({ "failure": "1 seed has failed" }));
        assert_eq!(seeds_done(Some(&failed), &subject("1")), 0);
        assert_eq!(seeds_done(None, &subject("1")), 0);
    }

    #[test]
    fn objects_are_joined() {
        assert_eq!(joined(json!({ "a": 1 }), json!({ "b": 2 })), json!({ "a": 1, "b": 2 }));
    }

    #[test]
    fn a_result_is_described_by_what_came_of_it() {
        let with = |complete: bool, failure: Option<&str>| {
            describe(&json!({ "complete": complete, "failure": failure }))
        };
        assert_eq!(with(true, None), "proven");
        assert_eq!(with(false, None), "begun");
        assert_eq!(with(true, Some("x")), "FAILED");
        let limited = json!({ "complete": true, "searches_at_the_limit": ["3ps"] });
        assert_eq!(describe(&limited), "searched, in part up to a limit,");
    }
}
