//! `cargo xtask prove mutants`: protocol bugs, switched on one at a time in one build, and which
//! kinds of tests find each of them.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use serde_json::{Value, json};

use crate::{
    crash,
    mutant_list::{Mutant, list},
    process::{cargo, output, program, succeeds},
    steps::Ending,
    workspace::{Facts, Workspace},
};

/// By how many layers each bug must be found; one that only costs liveness by one.
pub(crate) const LAYERS_MIN: usize = 2;

/// Where the simulator begins to look for a bug, and how many seeds it tries from there. Where the
/// first start finds nothing the others are not tried.
const STARTS: [u64; 3] = [0, 1_000_000, 2_000_000];
const CHUNKS: [u64; 4] = [20, 80, 400, 500];

/// How many seeds of the simulator are run again with a crash at every event of every node.
const SEEDS_EVERYWHERE: u64 = 1;

/// A run that takes longer hangs, which is a finding too: in seconds.
const RUN_SECONDS_MAX: &str = "240";

/// How many bugs are looked for at once.
const AT_ONCE: usize = 6;

/// What looks for a bug, in the order in which they are asked. The last one is slow, and not asked
/// once enough others have found the bug.
const LAYERS: [&str; 4] = ["tests", "conformance", "simulation", "crashes"];
const LAYERS_ALWAYS: usize = 3;

/// The bugs that `cargo xtask ci` looks for: of as many kinds as there can be.
const SLICE: [&str; 8] = [
    "BackwardBeforeVerdict",
    "StoredDoneAfterUndone",
    "UnsentNotTakenBack",
    "UnknownIsNo",
    "ToldBeforeDurable",
    "PinnedExpires",
    "PinnedNotCounted",
    "WatermarkTooHigh",
];

/// What one build has made.
struct Build {
    root: PathBuf,
    dtx: PathBuf,
    /// Test programs as (package, target, path).
    tests: Vec<(String, String, PathBuf)>,
}

/// What a layer says of one bug.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Found(Value),
    Missed,
}

impl Build {
    fn make(workspace: &Workspace) -> Result<Self, String> {
        let folder = workspace.target.join("mutants");
        let packages = ["--package", "dtx-cli", "--package", "dtx-core", "--package"];
        let mut build = cargo(&workspace.root, &["test", "--no-run", "--profile", "checked"]);
        build.args(packages).args(["dtx-testkit", "--message-format", "json", "--lib", "--bins"]);
        build.args(["--test", "it", "--test", "store_memory", "--features", "dtx-cli/mutants"]);
        build.args(["--features", "dtx-cli/crash-points", "--target-dir"]).arg(&folder);
        println!("building what the mutants are asked with");
        let tests = output(&mut build)?.lines().filter_map(test_program).collect();
        let dtx = folder.join("checked").join("dtx");
        Ok(Self { root: workspace.root.clone(), dtx, tests })
    }

    /// The program alone, as the campaigns that crash it have built it.
    fn of_crashes(workspace: &Workspace) -> Result<Self, String> {
        if !succeeds(crash::target(workspace, "crash")?.arg("--no-run"))? {
            return Err("the program does not build with the mutants".into());
        }
        let dtx = workspace.target.join("checked").join("dtx");
        Ok(Self { root: workspace.root.clone(), dtx, tests: Vec::new() })
    }

    /// A program that is given up when it takes too long.
    fn run(&self, path: &std::path::Path, mutant: Option<&str>) -> Command {
        let mut command = program(&self.root, "timeout");
        command.args(["--kill-after=5", RUN_SECONDS_MAX]).arg(path);
        command.env("PROPTEST_MAX_SHRINK_ITERS", "0").env_remove("DTX_MUTANT");
        if let Some(mutant) = mutant {
            command.env("DTX_MUTANT", mutant);
        }
        command
    }

    fn ask(&self, layer: &str, mutant: Option<&str>) -> Result<Said, String> {
        match layer {
            "tests" => self.tests(&[("dtx-core", "dtx_core"), ("dtx-core", "it")], mutant),
            "conformance" => self.tests(&[("dtx-testkit", "store_memory")], mutant),
            "simulation" => self.simulation(mutant),
            _ => self.crashes(mutant),
        }
    }

    fn tests(&self, targets: &[(&str, &str)], mutant: Option<&str>) -> Result<Said, String> {
        for (package, target) in targets {
            let is_it =
                |(of, name, _): &&(String, String, PathBuf)| of == package && name == target;
            let found = self.tests.iter().find(is_it);
            let (_, _, path) = found.ok_or_else(|| format!("{package} has no tests {target}"))?;
            let mut command = self.run(path, mutant);
            command.current_dir(self.root.join(package));
            let ran = command.output().map_err(|error| error.to_string())?;
            if ran.status.success() {
                continue;
            }
            let text = String::from_utf8_lossy(&ran.stdout).into_owned();
            let names = text.lines().filter_map(|line| line.strip_prefix("test "));
            let names = names.filter_map(|line| line.strip_suffix(" ... FAILED"));
            let failed: Vec<&str> = names.collect();
            let first = failed.first().copied().unwrap_or("it did not end");
            let what = json!({ "target": target, "failed": failed.len(), "first": first });
            return Ok(Said::Found(what));
        }
        Ok(Said::Missed)
    }

    /// How many seeds it takes from each start; found when it is from the first.
    fn simulation(&self, mutant: Option<&str>) -> Result<Said, String> {
        let mut seeds = Vec::new();
        for start in STARTS {
            seeds.push(self.seeds_to_find(start, mutant)?);
            if seeds[0].is_none() {
                return Ok(Said::Missed);
            }
        }
        let mut sorted: Vec<u64> = seeds.iter().map(|seeds| seeds.unwrap_or(u64::MAX)).collect();
        sorted.sort_unstable();
        let median = Some(sorted[sorted.len() / 2]).filter(|seeds| *seeds != u64::MAX);
        Ok(Said::Found(json!({ "seeds": seeds, "median": median })))
    }

    fn seeds_to_find(&self, start: u64, mutant: Option<&str>) -> Result<Option<u64>, String> {
        let mut done = 0;
        for chunk in CHUNKS {
            if let Some(seed) = self.simulate(start + done, chunk, false, mutant)? {
                return Ok(Some(seed - start + 1));
            }
            done += chunk;
        }
        Ok(None)
    }

    fn crashes(&self, mutant: Option<&str>) -> Result<Said, String> {
        let found = self.simulate(0, SEEDS_EVERYWHERE, true, mutant)?;
        Ok(found.map_or(Said::Missed, |seed| Said::Found(json!({ "seed": seed }))))
    }

    /// The first seed of some that fails. A run that ends without a report counts as its first.
    fn simulate(
        &self,
        first: u64,
        count: u64,
        everywhere: bool,
        mutant: Option<&str>,
    ) -> Result<Option<u64>, String> {
        let mut command = self.run(&self.dtx, mutant);
        command.args(["sim", "--progress", "none", "--json"]);
        command.args(["--seed", &first.to_string(), "--seeds", &count.to_string()]);
        if everywhere {
            command.arg("--crash-everywhere");
        }
        let ran = command.output().map_err(|error| error.to_string())?;
        if ran.status.success() {
            return Ok(None);
        }
        let report: Value = serde_json::from_slice(&ran.stdout).unwrap_or(Value::Null);
        Ok(Some(report["failing_seeds"][0].as_u64().unwrap_or(first)))
    }
}

/// The test program that a message of cargo is about.
fn test_program(line: &str) -> Option<(String, String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message["profile"]["test"] == true;
    let path = message["executable"].as_str().filter(|_| is_test)?;
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    let package = manifest.parent()?.file_name()?.to_string_lossy().into_owned();
    let target = message["target"]["name"].as_str()?.to_owned();
    Some((package, target, PathBuf::from(path)))
}

/// The tier: all bugs, by all layers that they need. What is known of this commit is not asked
/// again; `keep` is given what is known so far.
///
/// # Errors
/// A text when a layer finds something without a bug, or too few find one that is there.
pub(crate) fn prove(
    workspace: &Workspace,
    facts: &Facts,
    mut known: Vec<Value>,
    mut keep: impl FnMut(&[Value]) -> Result<(), String>,
) -> Result<(), String> {
    let build = Build::make(workspace)?;
    let mutants = list(facts)?;
    known.retain(|result| mutants.iter().any(|mutant| result["name"] == *mutant.name));
    if known.is_empty() {
        for layer in LAYERS {
            println!("control: {layer}");
            if let Said::Found(what) = build.ask(layer, None)? {
                return Err(format!("{layer} fails without a mutant: {what}"));
            }
        }
    }
    let is_known = |mutant: &&Mutant| known.iter().any(|result| result["name"] == *mutant.name);
    let open: Vec<&Mutant> = mutants.iter().filter(|mutant| !is_known(mutant)).collect();
    let (next, (results, heard)) = (AtomicUsize::new(0), mpsc::channel());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let (build, open, next, results) = (&build, &open, &next, results.clone());
            scope.spawn(move || {
                while let Some(mutant) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Nobody listens any more once a result could not be kept.
                    if results.send(examine(build, mutant)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for result in heard {
            let result = result?;
            let layers = found_by(&result).join(", ");
            println!("{:28} {layers}", result["name"].as_str().unwrap_or_default());
            known.push(result);
            keep(&known)?;
        }
        Ok::<_, String>(())
    })?;
    let weak: Vec<_> = known.iter().filter(|result| !is_found_enough(result)).collect();
    let weak: Vec<_> = weak.iter().filter_map(|result| result["name"].as_str()).collect();
    if weak.is_empty() {
        return Ok(());
    }
    Err(format!("found by too few layers: {}", weak.join(", ")))
}

fn examine(build: &Build, mutant: &Mutant) -> Result<Value, String> {
    let mut layers = json!({});
    let mut found = 0;
    for (place, layer) in LAYERS.into_iter().enumerate() {
        if place >= LAYERS_ALWAYS && found >= LAYERS_MIN {
            break;
        }
        layers[layer] = match build.ask(layer, Some(&mutant.name))? {
            Said::Found(what) => {
                found += 1;
                what
            }
            Said::Missed => json!(false),
        };
    }
    Ok(json!({ "name": mutant.name, "liveness": mutant.liveness, "layers": layers }))
}

/// The layers that have found a bug.
pub(crate) fn found_by(result: &Value) -> Vec<&'static str> {
    LAYERS.into_iter().filter(|layer| result["layers"][layer].is_object()).collect()
}

/// Whether enough layers have found it.
pub(crate) fn is_found_enough(result: &Value) -> bool {
    let least = if result["liveness"] == true { 1 } else { LAYERS_MIN };
    found_by(result).len() >= least
}

/// The slice: some bugs, by the simulator alone, and none without a bug.
///
/// # Errors
/// A text when it could not be run.
pub(crate) fn slice(workspace: &Workspace) -> Result<Ending, String> {
    let build = Build::of_crashes(workspace)?;
    if build.simulate(0, 500, false, None)?.is_some() {
        return Err("a seed fails without a mutant".into());
    }
    for name in SLICE {
        let Some(seeds) = build.seeds_to_find(0, Some(name))? else {
            return Err(format!("{name} was not found"));
        };
        println!("{name}: found within {seeds} seeds");
    }
    Ok(Ending::of(true))
}

/// Reads what is kept of the tier.
pub(crate) fn results(workspace: &Workspace) -> Vec<Value> {
    let path = workspace.root.join("docs/proof/mutants.json");
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut kept: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    match kept["all"].take() {
        Value::Array(all) => all,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_layer_is_enough_for_what_only_costs_liveness() {
        let result = |liveness: bool, second: Value| {
            json!({ "name": "A", "liveness": liveness,
                "layers": { "tests": { "failed": 1 }, "simulation": second } })
        };
        assert!(is_found_enough(&result(true, json!(false))));
        assert!(!is_found_enough(&result(false, json!(false))));
        assert!(is_found_enough(&result(false, json!({ "median": 3 }))));
        assert_eq!(found_by(&result(true, json!(false))), ["tests"]);
    }

    #[test]
    fn only_messages_about_test_programs_name_one() {
        let message = |test: bool| {
            json!({ "manifest_path": "/a/dtx-core/Cargo.toml", "target": { "name": "it" },
                "profile": { "test": test }, "executable": "/a/it-1" })
        };
        let found = test_program(&message(true).to_string()).expect("a test program");
        assert_eq!(found, ("dtx-core".to_owned(), "it".to_owned(), "/a/it-1".into()));
        assert_eq!(test_program(&message(false).to_string()), None);
        assert_eq!(test_program("no message"), None);
    }
}
