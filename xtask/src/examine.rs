//! `cargo xtask test`: everything that needs no server and no root, in ten minutes, and the tests
//! of the servers that are here.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    process::{cargo, lines, succeeds},
    services::Servers,
    simulator::{self, Seeds},
    steps::{Counts, Ending, Steps},
    workspace::{Package, Workspace},
};

/// What the tests may take on two cores, once everything is built.
const BUDGET: Duration = Duration::from_secs(600);

/// The seeds that every run covers. The longer tiers begin after them.
pub(crate) const SEEDS: Seeds = Seeds { first: 0, count: 100_000 };

/// Features of the library that the program `dtx` is built with: a build of the workspace has their
/// examples.
const PROGRAM: [&str; 1] = ["geo"];

/// Builds and runs all tests, doc tests, examples and the simulator. With `None` instead of the
/// servers that must be here, no server is looked for.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, require: Option<&[String]>) {
    let root = &workspace.root;
    let servers = match require {
        Some(require) => Servers::find(workspace, steps, require),
        None => {
            let reason = "LEFT TO `cargo xtask ci`; no test that needs one was run";
            steps.run("servers", || Ending::skipped(reason));
            Servers::none(workspace)
        }
    };
    steps.run("build", || {
        let arguments = ["test", "--workspace", "--profile", "checked", "--no-run"];
        let mut command = cargo(root, &arguments);
        servers.give(&mut command);
        succeeds(&mut command).map_or_else(Ending::failed, Ending::of)
    });
    let start = Instant::now();
    steps.run("tests and doc tests", || {
        let arguments = ["test", "--workspace", "--profile", "checked", "--no-fail-fast"];
        let mut command = cargo(root, &arguments);
        servers.give(&mut command);
        count(&mut command)
    });
    examples_on_servers(workspace, steps, &servers);
    drop(servers);
    examples(workspace, steps);
    simulator::step(workspace, steps, "simulator", || simulator::simulate(workspace, SEEDS));
    let took = start.elapsed();
    println!("\ntests took {:.0} s of {} s", took.as_secs_f64(), BUDGET.as_secs());
    if took > BUDGET {
        println!("WARNING: THE TESTS TOOK LONGER THAN THEY MAY ON TWO IDLE CORES");
    }
}

fn examples(workspace: &Workspace, steps: &mut Steps) {
    let names = match example_names(workspace) {
        Ok(names) if names.is_empty() => {
            steps.run("examples", || Ending::skipped("THERE ARE NO EXAMPLES; none was run"));
            return;
        }
        Ok(names) => names,
        Err(reason) => {
            steps.run("examples", || Ending::failed(reason));
            return;
        }
    };
    for name in names {
        steps.run(&format!("example {name}"), || {
            let mut example = workspace.checked(&format!("examples/{name}"));
            lines(&mut example, |_| {}).map_or_else(Ending::failed, Ending::of)
        });
    }
}

/// The examples whose features are the names of servers that are here, or those of their tests. The
/// tests of the servers have built them.
fn examples_on_servers(workspace: &Workspace, steps: &mut Steps, servers: &Servers<'_>) {
    let all = workspace.packages.iter().flat_map(|package| &package.featured_examples);
    for (name, needs) in all {
        let needs = || needs.iter().map(|need| need.strip_prefix("test-").unwrap_or(need));
        if needs().all(|need| servers.names().any(|server| server == need)) {
            steps.run(&format!("example {name}"), || {
                let mut example = workspace.checked(&format!("examples/{name}"));
                servers.name(&mut example);
                lines(&mut example, |_| {}).map_or_else(Ending::failed, Ending::of)
            });
        }
    }
}

/// The examples for users of the library and of the simulator. Their programs lie in one folder,
/// so that one name twice would hide one of them.
fn example_names(workspace: &Workspace) -> Result<Vec<String>, String> {
    let is_for_users = |package: &&Package| ["dtx", "dtx-sim"].contains(&package.name.as_str());
    let has_all = |needs: &[String]| needs.iter().all(|need| PROGRAM.contains(&need.as_str()));
    let names_of = |package: &Package| {
        let featured = package.featured_examples.iter().filter(|(_, needs)| has_all(needs));
        let featured = featured.map(|(name, _)| name.clone());
        package.examples.iter().cloned().chain(featured).collect::<Vec<_>>()
    };
    let packages = workspace.packages.iter().filter(is_for_users);
    let mut names: Vec<_> = packages.flat_map(names_of).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two examples are called {}", pair[0])),
        None => Ok(names),
    }
}

/// Runs tests and counts them.
pub(crate) fn count(command: &mut Command) -> Ending {
    let mut counts = Counts::default();
    let passed = lines(command, |line| add(&mut counts, line));
    ending(counts, passed)
}

/// Adds a line such as `test result: ok. 5 passed; 0 failed; 1 ignored; ..`.
fn add(counts: &mut Counts, line: &str) {
    let Some(result) = line.strip_prefix("test result: ") else { return };
    let after_word = result.split_once(". ").map_or(result, |(_, rest)| rest);
    for part in after_word.split("; ") {
        let Some((number, word)) = part.split_once(' ') else { continue };
        let number: u64 = number.parse().unwrap_or(0);
        match word {
            "passed" => counts.passed += number,
            "failed" => counts.failed += number,
            "ignored" => counts.skipped += number,
            _ => {}
        }
    }
}

/// A run that failed without a failed test did not get that far: that is one failure.
fn ending(mut counts: Counts, passed: Result<bool, String>) -> Ending {
    match passed {
        Err(reason) => return Ending::failed(reason),
        Ok(false) if counts.failed == 0 => counts.failed = 1,
        Ok(true) if counts.passed == 0 => return Ending::failed("not one test was run"),
        Ok(_) => {}
    }
    Ending::Ran(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_examples_of_one_name_are_refused() {
        let package = |name: &str, examples: &[&str]| Package {
            name: name.into(),
            examples: examples.iter().map(|name| (*name).into()).collect(),
            ..Package::default()
        };
        let names = |packages| {
            let (root, target) = (".".into(), "target".into());
            example_names(&Workspace { root, target, packages })
        };
        let sound = [package("dtx", &["b"]), package("dtx-sim", &["a"]), package("x", &["a"])];
        assert_eq!(names(sound.to_vec()), Ok(vec!["a".into(), "b".into()]));
        assert!(names(vec![package("dtx", &["a"]), package("dtx-sim", &["a"])]).is_err());
    }

    #[test]
    fn results_of_several_test_programs_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
             finished in 0.00s",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            add(&mut counts, line);
        }
        assert_eq!(counts, Counts { passed: 7, failed: 2, skipped: 1 });
    }

    #[test]
    fn a_run_that_does_not_compile_or_runs_nothing_has_failed() {
        let none = Counts::default();
        let one = Counts { passed: 1, ..none };
        assert_eq!(ending(one, Ok(true)), Ending::Ran(one));
        assert_eq!(ending(one, Ok(false)), Ending::Ran(Counts { failed: 1, ..one }));
        assert_eq!(ending(none, Ok(true)), Ending::of(false));
        assert_eq!(ending(one, Err("no cargo".into())), Ending::of(false));
    }
}
