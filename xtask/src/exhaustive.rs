//! The exhaustive tiers: the model check of all states, and the schedules with every fault and
//! every pair of faults. Both are examples of dtx-sim that print one JSON object per result.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use crate::{
    ci,
    process::{cargo, lines, output, succeeds},
    prove,
    steps::Ending,
    subject::Subject,
    workspace::Workspace,
};

/// The most states of one search of a pattern with [`PARTICIPANTS`].
const STATES_MAX: u64 = 10_000_000;

/// The most states of any other search.
const STATES_MAX_OTHER: u64 = 2_000_000;

/// How many states are searched side by side.
const THREADS: u64 = 2;

/// How many participants the largest searches have.
const PARTICIPANTS: u64 = 3;

/// Participants of the searches, the small ones first.
const SIZES: [u64; 3] = [1, 2, PARTICIPANTS];

/// How many leases there are: two coordinators, one of which takes over from the other.
const LEASES: u64 = 2;

/// The cases that are a pattern as it is; the others are variants of one.
const PATTERNS: [&str; 6] = ["0.5ps", "saga", "1.5ps", "2ps", "3ps", "2pc"];

/// How long the pairs of faults may take in `cargo xtask ci`, in seconds.
const PAIRS_BOX: u64 = 60;

fn example<'a>(name: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    let mut all =
        vec!["run", "--quiet", "--locked", "--profile", "checked", "--package", "dtx-sim"];
    if name == "model" {
        all.extend(["--features", "model"]);
    }
    all.extend(["--example", name, "--"]);
    all.extend(arguments);
    all
}

/// What is known already of this code, by its name.
fn known(root: &Path, tier: &str, subject: &Subject) -> BTreeMap<String, Value> {
    let Some(result) = prove::read(root, tier) else { return BTreeMap::new() };
    if !subject.is_of(&result) || !result["failure"].is_null() {
        return BTreeMap::new();
    }
    let results = result["results"].as_object().cloned().unwrap_or_default();
    results.into_iter().collect()
}

/// Runs an example and takes every line that is a result.
fn collect(
    root: &Path,
    name: &str,
    arguments: &[&str],
    mut take: impl FnMut(Value) -> Result<(), String>,
) -> Result<(), String> {
    let mut problem = None;
    let sound = lines(&mut cargo(root, &example(name, arguments)), |line| {
        let taken = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"));
        if let Err(error) = taken.and_then(&mut take) {
            problem.get_or_insert(error);
        }
    })?;
    match problem {
        Some(problem) => Err(problem),
        None if sound => Ok(()),
        None => Err(format!("`{name}` has failed")),
    }
}

/// How many states of a case are looked at.
fn states_max(case: &str, participants: u64) -> u64 {
    let is_large = participants == PARTICIPANTS && PATTERNS.contains(&case);
    if is_large { STATES_MAX } else { STATES_MAX_OTHER }
}

/// The model check, up to [`states_max`] states for each case.
///
/// # Errors
/// A text when a rule is broken, or when a search could not be run.
pub(crate) fn model(workspace: &Workspace, subject: &Subject, _seeds: u64) -> Result<(), String> {
    let root = &workspace.root;
    let mut results = known(root, "model", subject);
    let mut searches = Vec::new();
    for participants in SIZES {
        let arguments = ["list", &participants.to_string()];
        let listed = output(&mut cargo(root, &example("model", &arguments)))?;
        searches.extend(listed.lines().map(|case| (case.to_owned(), participants)));
    }
    for (case, participants) in &searches {
        let name = format!("{case} participants={participants} leases={LEASES}");
        if results.contains_key(&name) {
            continue;
        }
        let limit = states_max(case, *participants);
        let numbers = [*participants, LEASES, limit, THREADS].map(|n| n.to_string());
        let mut arguments: Vec<&str> = numbers.iter().map(String::as_str).collect();
        arguments.push(case);
        let outcome = collect(root, "model", &arguments, |mut result| {
            // A sign of life.
            if result.get("searched").is_some() {
                return Ok(());
            }
            println!("{}", summary(&name, &result));
            result["states_max"] = limit.into();
            results.insert(name.clone(), result);
            Ok(())
        });
        write_model(root, subject, &results, searches.len(), outcome.as_ref().err())?;
        outcome?;
    }
    Ok(())
}

fn write_model(
    root: &Path,
    subject: &Subject,
    results: &BTreeMap<String, Value>,
    all: usize,
    failure: Option<&String>,
) -> Result<(), String> {
    let sum = |field: &str| results.values().filter_map(|r| r[field].as_u64()).sum::<u64>();
    let seconds: f64 = results.values().filter_map(|r| r["seconds"].as_f64()).sum();
    let limited = limited(results);
    let found = json!({ "complete": results.len() == all, "failure": failure, "states": sum("states"), "generated": sum("generated"),
        "seconds": seconds, "searches": results.len(), "searches_in_all": all,
        "searches_to_the_end": results.len() - limited.len(), "searches_at_the_limit": limited,
        "results": results });
    prove::write(root, "model", &prove::joined(subject.head(), found))
}

/// The searches that have stopped at their limit: there are states that they have not seen.
fn limited(results: &BTreeMap<String, Value>) -> Vec<&String> {
    results.iter().filter(|(_, result)| result["complete"] != true).map(|(name, _)| name).collect()
}

/// What a search came to, for people.
fn summary(name: &str, result: &Value) -> String {
    let what = match (&result["violations"], result["complete"].as_bool()) {
        (Value::Object(broken), _) if !broken.is_empty() => "BROKEN",
        (_, Some(true)) => "searched to the end",
        _ => "stopped at the limit",
    };
    let seconds = result["seconds"].as_f64().unwrap_or_default();
    format!("{name}: {what}, {} states, {seconds:.0} s", result["states"])
}

/// Every pair of faults of every scenario.
///
/// # Errors
/// A text when a run has failed, or when the scenarios could not be run.
pub(crate) fn faults(workspace: &Workspace, subject: &Subject, _seeds: u64) -> Result<(), String> {
    let root = &workspace.root;
    let names = scenarios(root)?;
    let mut results = known(root, "faults", subject);
    // They are explored in the order of the list, so the first one that is missing is the next.
    let from = names.iter().position(|name| !results.contains_key(name)).unwrap_or(names.len());
    let (from, count) = (from.to_string(), names.len().to_string());
    let all = names.len();
    let arguments = ["explore", "2", &from, &count, "1000000"];
    let outcome = collect(root, "faults", &arguments, |result| {
        let failed = judge(&result)?;
        results.insert(name_of(&result)?, brief(&result));
        write_faults(root, subject, &results, all, failed.as_ref())?;
        failed.map_or(Ok(()), Err)
    });
    outcome?;
    if results.len() < all {
        return Err(format!("{} scenarios were explored of {all}", results.len()));
    }
    Ok(())
}

fn scenarios(root: &Path) -> Result<Vec<String>, String> {
    let listed = output(&mut cargo(root, &example("faults", &["list"])))?;
    let names: Vec<String> = listed.lines().map(str::to_owned).collect();
    if names.is_empty() {
        return Err("there are no scenarios".into());
    }
    Ok(names)
}

fn name_of(result: &Value) -> Result<String, String> {
    let name = result["scenario"].as_str().ok_or("a result without a scenario")?;
    Ok(name.to_owned())
}

/// What is kept of a scenario that was sound.
fn brief(result: &Value) -> Value {
    json!({ "steps": result["steps"], "schedules": result["schedules"] })
}

/// What is wrong with a result, if anything: also that nothing was explored.
fn judge(result: &Value) -> Result<Option<String>, String> {
    let number = |name: &str| result[name].as_u64().ok_or_else(|| format!("no number `{name}`"));
    let (steps, schedules, failed) = (number("steps")?, number("schedules")?, number("failed")?);
    let name = name_of(result)?;
    if failed > 0 {
        return Ok(Some(format!("{name}: {failed} of {schedules}: {}", result["violations"])));
    }
    if steps == 0 || schedules <= steps {
        return Ok(Some(format!("{name}: {schedules} runs of {steps} steps are no exploration")));
    }
    Ok(None)
}

fn write_faults(
    root: &Path,
    subject: &Subject,
    results: &BTreeMap<String, Value>,
    all: usize,
    failure: Option<&String>,
) -> Result<(), String> {
    let schedules: u64 = results.values().filter_map(|r| r["schedules"].as_u64()).sum();
    let found = json!({ "complete": results.len() == all, "failure": failure, "faults": 2, "scenarios": results.len(), "scenarios_in_all": all,
        "schedules": schedules, "results": results });
    prove::write(root, "faults", &prove::joined(subject.head(), found))
}

/// For `cargo xtask ci`: the small cases of the model check, with pinned numbers of states.
pub(crate) fn small_models(workspace: &Workspace) -> Ending {
    let arguments = [
        "test",
        "--locked",
        "--profile",
        "checked",
        "--package",
        "dtx-sim",
        "--features",
        "model",
        "--test",
        "model",
    ];
    succeeds(&mut cargo(&workspace.root, &arguments)).map_or_else(Ending::failed, Ending::of)
}

/// For `cargo xtask ci`: every single fault of every scenario, and the pairs of as many scenarios
/// as fit into the time, from one on that the commit chooses.
///
/// # Errors
/// A text when a run has failed.
pub(crate) fn faults_slice(workspace: &Workspace) -> Result<(), String> {
    let root = &workspace.root;
    let names = scenarios(root)?;
    let all = names.len().to_string();
    let mut singles = (0, 0);
    run_slice(root, ["explore", "1", "0", &all, "600"], &mut singles)?;
    if singles.0 != names.len() {
        return Err(format!("{} scenarios were explored of {all}", singles.0));
    }
    let from = first_scenario(&ci::head(workspace)?, names.len())?.to_string();
    let mut pairs = (0, 0);
    run_slice(root, ["explore", "2", &from, &all, &PAIRS_BOX.to_string()], &mut pairs)?;
    println!("{} runs with one fault, {} runs with two", singles.1, pairs.1);
    if pairs.0 == 0 { Err("no pair of faults was explored".into()) } else { Ok(()) }
}

fn run_slice(root: &Path, arguments: [&str; 5], sums: &mut (usize, u64)) -> Result<(), String> {
    let start = std::time::Instant::now();
    let before = sums.1;
    collect(root, "faults", &arguments, |result| {
        sums.0 += 1;
        sums.1 += result["schedules"].as_u64().unwrap_or_default();
        judge(&result)?.map_or(Ok(()), Err)
    })?;
    let rate = (sums.1 - before) as f64 / start.elapsed().as_secs_f64();
    println!("{rate:.0} schedules/s");
    Ok(())
}

/// Where the slice of a commit begins, so that slices of many commits cover all scenarios.
fn first_scenario(commit: &str, scenarios: usize) -> Result<usize, String> {
    let number = commit.get(..8).and_then(|digits| usize::from_str_radix(digits, 16).ok());
    number.map(|number| number % scenarios).ok_or_else(|| format!("{commit:?} is no commit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(steps: u64, schedules: u64, failed: u64) -> Value {
        json!({ "scenario": "s", "steps": steps, "schedules": schedules, "failed": failed,
            "violations": ["what"] })
    }

    #[test]
    fn an_empty_exploration_and_a_failed_one_are_wrong() {
        assert_eq!(judge(&result(10, 11, 0)), Ok(None));
        for bad in [result(10, 10, 0), result(0, 1, 0), result(10, 11, 1)] {
            assert!(matches!(judge(&bad), Ok(Some(_))), "{bad}");
        }
        assert!(judge(&json!({ "scenario": "s" })).is_err());
    }

    #[test]
    fn a_search_that_stopped_at_its_limit_is_not_called_searched_to_the_end() {
        let of = |complete: bool, violations: Value| json!({ "complete": complete, "violations": violations, "states": 7, "seconds": 1.0 });
        let (whole, cut) = (of(true, json!({})), of(false, json!({})));
        let broken = of(true, json!({ "mixed": [] }));
        assert_eq!(summary("a", &whole), "a: searched to the end, 7 states, 1 s");
        assert_eq!(summary("a", &cut), "a: stopped at the limit, 7 states, 1 s");
        assert_eq!(summary("a", &broken), "a: BROKEN, 7 states, 1 s");
        let results = [("a", whole), ("b", cut), ("c", json!({}))];
        let results = results.map(|(name, result)| (name.to_owned(), result)).into();
        assert_eq!(limited(&results), ["b", "c"]);
    }

    #[test]
    fn a_commit_chooses_a_scenario_that_there_is() {
        assert_eq!(first_scenario("0000000aff", 8), Ok(2));
        assert_eq!(first_scenario("00000007", 8), Ok(7));
        assert!(first_scenario("nonsense", 8).is_err());
    }
}
