//! `cargo xtask ci`: what takes longer than the tests, in slices that add up over commits.

use std::time::{Duration, Instant};

use crate::{
    cargo_mutants, crash, examine, exhaustive, features, instructions, matrix, mutants, pools,
    process::{cargo, output, program, succeeds},
    server_crashes,
    services::{self, Servers},
    simulator::{self, Seeds},
    steps::{Ending, Steps},
    workspace::Workspace,
};

/// How long the simulator runs at least, beyond the seeds of `cargo xtask test`.
const SIMULATOR_BOX: Duration = Duration::from_secs(120);

/// How many seeds it covers at least, however long that takes.
const SIMULATOR_SEEDS: u64 = 300_000;
/// How many seeds it runs over regions after those.
const REGIONS_SEEDS: u64 = 20_000;

/// How many seeds one run of the simulator takes.
pub(crate) const BATCH: u64 = 50_000;

/// How many seeds stand between the slices of two commits with neighbouring hashes.
const SLICE: u64 = 1_000_000;

/// The release of cargo-deny that is installed where there is none.
const CARGO_DENY: &str = "0.20.2";

/// The servers that must be here.
pub(crate) const REQUIRED: [&str; 5] = ["postgres", "redis", "redis-cluster", "kafka", "nats"];

/// How many tests of one server run at once: they wait for it, and for leases to end.
const SERVER_TESTS: &str = "8";

/// Runs the steps.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, require: &[String]) {
    for package in &workspace.packages {
        let name = package.name.as_str();
        steps.run(&format!("crate {name} alone"), || {
            build(workspace, &["check", "--locked", "--package", name])
        });
    }
    let slice = head(workspace).and_then(|commit| number_of(&commit));
    let wanted = slice.map(|slice| features::Wanted { slice: Some(slice), ..Default::default() });
    if let Err(problem) = wanted.and_then(|wanted| features::run(workspace, steps, &wanted)) {
        steps.run("features", || Ending::failed(problem));
    }
    instructions::step(workspace, steps);
    server_tests(workspace, steps, require);
    steps.run("containers", || containers(workspace));
    matrix::slice(workspace, steps, require);
    let cargo_deny = cargo_deny(workspace);
    steps.run("licences, bans and sources", || {
        deny(workspace, cargo_deny.as_deref(), &["licenses", "bans", "sources"])
    });
    steps.run("advisories", || {
        // Their database is no part of the package registry, and may be out of reach.
        let fetch = |deny: &str| output(program(&workspace.root, deny).args(["fetch", "db"]));
        if cargo_deny.as_deref().is_some_and(|deny| fetch(deny).is_err()) {
            return Ending::skipped(
                "THE ADVISORY DATABASE IS OUT OF REACH; no advisory was checked",
            );
        }
        deny(workspace, cargo_deny.as_deref(), &["advisories"])
    });
    steps.run("kill campaign", || {
        if !workspace.has_target("dtx-cli", "test", "kill") {
            return Ending::skipped("DTX-CLI HAS NO TEST TARGET `kill`; nothing was killed");
        }
        crash::moments_slice(workspace).map_or_else(Ending::failed, Ending::of)
    });
    steps.run("crash points slice", || {
        let slice = head(workspace).and_then(|commit| number_of(&commit));
        let passed = slice.and_then(|first| crash::points_slice(workspace, first));
        passed.map_or_else(Ending::failed, Ending::of)
    });
    steps.run("power loss slice", || {
        let slice = head(workspace).and_then(|commit| number_of(&commit));
        let ending = slice.and_then(|first| crash::power_slice(workspace, first));
        ending.unwrap_or_else(Ending::failed)
    });
    server_slices(workspace, steps);
    steps.run("model check of small cases", || exhaustive::small_models(workspace));
    steps.run("faults", || {
        exhaustive::faults_slice(workspace).map_or_else(Ending::failed, |()| Ending::of(true))
    });
    steps.run("pools slice", || {
        let slice = head(workspace).and_then(|commit| number_of(&commit));
        let passed = slice.and_then(|commit| pools::slice(workspace, commit));
        passed.map_or_else(Ending::failed, |()| Ending::of(true))
    });
    steps.run("mutants slice", || mutants::slice(workspace).unwrap_or_else(Ending::failed));
    steps.run("changes to what has changed", || {
        cargo_mutants::slice(workspace).unwrap_or_else(Ending::failed)
    });
    simulator::step(workspace, steps, "simulator slice", || simulator_slice(workspace));
}

fn build(workspace: &Workspace, arguments: &[&str]) -> Ending {
    succeeds(&mut cargo(&workspace.root, arguments)).map_or_else(Ending::failed, Ending::of)
}

/// The tests that need servers, all of which must be here.
fn server_tests(workspace: &Workspace, steps: &mut Steps, require: &[String]) {
    let servers = Servers::find(workspace, steps, require);
    let has_tests = |name: &&str| {
        workspace.packages.iter().any(|found| workspace.has_target(&found.name, "test", name))
    };
    let names: Vec<&str> = servers.names().filter(has_tests).collect();
    let tests = |names: &[&str], arguments: &[&str]| {
        let mut command = cargo(&workspace.root, &["test", "--workspace", "--profile", "checked"]);
        servers.give(&mut command);
        command.args(arguments).args(names.iter().flat_map(|name| ["--test", *name]));
        command
    };
    if !names.is_empty() {
        // Apart from the tests, whose silence would mean that they hang.
        steps.run("build of the tests on servers", || {
            let mut command = tests(&names, &["--no-run"]);
            succeeds(&mut command).map_or_else(Ending::failed, Ending::of)
        });
    }
    for name in servers.names() {
        steps.run(&format!("tests on {name}"), || {
            if !names.contains(&name) {
                return Ending::skipped(format!("NO CRATE HAS A TEST TARGET `{name}`"));
            }
            let mut command = tests(&[name], &["--no-fail-fast"]);
            examine::count(command.env("RUST_TEST_THREADS", SERVER_TESTS))
        });
    }
}

/// The servers for tests in containers: started, used, killed, and removed without a trace.
fn containers(workspace: &Workspace) -> Ending {
    if !services::engine_answers() {
        return Ending::skipped("NO DOCKER ENGINE ANSWERS; no server was started in a container");
    }
    let tests = || {
        let mut command = cargo(&workspace.root, &["test", "--profile", "checked", "--locked"]);
        command.args(["--package", "dtx-testkit", "--features", services::CONTAINERS]);
        command.args(["--test", "containers"]);
        command
    };
    // Apart from the tests, whose silence would mean that they hang.
    match succeeds(tests().arg("--no-run")) {
        Ok(true) => examine::count(&mut tests()),
        Ok(false) => Ending::of(false),
        Err(problem) => Ending::failed(problem),
    }
}

/// The slices of the campaigns on stores that are servers. They start their own.
fn server_slices(workspace: &Workspace, steps: &mut Steps) {
    let first = match head(workspace).and_then(|commit| number_of(&commit)) {
        Ok(first) => first,
        Err(reason) => return steps.run("slices on servers", || Ending::failed(reason)),
    };
    for (name, slice) in server_crashes::slices(first) {
        steps.run(&name, || slice(workspace));
    }
    steps.run("crash points on servers slice", || {
        let passed = server_crashes::points_slice(workspace, first);
        passed.map_or_else(Ending::failed, Ending::of)
    });
}

/// Checks everything in the tree against `deny.toml`.
fn deny(workspace: &Workspace, cargo_deny: Option<&str>, checks: &[&str]) -> Ending {
    let Some(cargo_deny) = cargo_deny else {
        return Ending::skipped("CARGO-DENY IS NOT HERE AND COULD NOT BE INSTALLED");
    };
    let mut command = program(&workspace.root, cargo_deny);
    command.args(["--all-features", "--locked", "check"]).args(checks);
    succeeds(&mut command).map_or_else(Ending::failed, Ending::of)
}

/// The cargo-deny on the path, or the one that an earlier run put under `target`, or a new one.
fn cargo_deny(workspace: &Workspace) -> Option<String> {
    let tools = workspace.root.join("target").join("tools");
    let own = tools.join("bin").join("cargo-deny").display().to_string();
    for found in ["cargo-deny", own.as_str()] {
        if output(program(&workspace.root, found).arg("--version")).is_ok() {
            return Some(found.to_owned());
        }
    }
    let mut install = cargo(&workspace.root, &["install", "cargo-deny", "--locked"]);
    install.args(["--version", CARGO_DENY, "--root"]).arg(&tools);
    succeeds(&mut install).unwrap_or(false).then_some(own)
}

fn simulator_slice(workspace: &Workspace) -> Result<(), String> {
    let commit = head(workspace)?;
    let mut seeds = Seeds { first: first_seed(&commit)?, count: BATCH };
    println!("commit {commit} begins at seed {}", seeds.first);
    let (start, mut count) = (Instant::now(), 0);
    while count < SIMULATOR_SEEDS || start.elapsed() < SIMULATOR_BOX && count + BATCH <= SLICE {
        simulator::simulate(workspace, seeds)?;
        seeds.first += BATCH;
        count += BATCH;
    }
    println!("{count} seeds in {:.0} s", start.elapsed().as_secs_f64());
    let over = Seeds { count: REGIONS_SEEDS, ..seeds };
    simulator::simulate_regions(workspace, over, "aws")?;
    println!("and {REGIONS_SEEDS} over regions");
    Ok(())
}

/// The commit that is checked out.
///
/// # Errors
/// A text when git does not know.
pub(crate) fn head(workspace: &Workspace) -> Result<String, String> {
    let text = output(program(&workspace.root, "git").args(["rev-parse", "HEAD"]))?;
    Ok(text.trim().to_owned())
}

/// Where the slice of a commit begins: after the seeds that every test run covers, and far from
/// the slices of other commits.
fn first_seed(commit: &str) -> Result<u64, String> {
    Ok(examine::SEEDS.first + examine::SEEDS.count + number_of(commit)? * SLICE)
}

/// The beginning of a commit's hash as a number, by which slices are chosen.
///
/// # Errors
/// A text when it is no hash.
pub(crate) fn number_of(commit: &str) -> Result<u64, String> {
    let number = commit.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| format!("{commit:?} is no commit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_commits_follow_the_tested_seeds_and_do_not_meet() {
        assert_eq!(first_seed("00000000aa"), Ok(100_000));
        assert_eq!(first_seed("00000001aa"), Ok(1_100_000));
        assert_eq!(first_seed("ffffffffaa"), Ok(100_000 + 0xffff_ffff * SLICE));
        const { assert!(SIMULATOR_SEEDS <= SLICE) };
        assert!(first_seed("nonsense").is_err());
        assert!(first_seed("ff").is_err());
    }
}
