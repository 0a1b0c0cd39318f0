//! How many instructions the computations over regions take: the same on a busy machine as on an
//! idle one, so a goal in microseconds can be held by a test.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    process::{cargo, output, program},
    steps::{Ending, Steps},
    workspace::Workspace,
};

/// Counts instructions.
const COUNTER: &str = "valgrind";

/// One computation.
struct Count {
    name: &'static str,
    /// Over how many times the mean is taken.
    times: u32,
    /// The most instructions of one, with overflow checks: a sixth above what it was found to take.
    most: u64,
}

/// The goals in time, at three instructions for each nanosecond: a plan and a reserve 1 us, a
/// schedule 2 us, three replicas 5 ms and five 50 ms. All of them are less than half of that.
const COUNTS: [Count; 5] = [
    Count { name: "plan", times: 1_000, most: 13_700 },
    Count { name: "schedule", times: 1_000, most: 3_000 },
    Count { name: "reserve", times: 1_000, most: 1_500 },
    Count { name: "place-3", times: 20, most: 8_200_000 },
    Count { name: "place-5", times: 20, most: 17_300_000 },
];

/// One step, in which each computation is counted.
pub(crate) fn step(workspace: &Workspace, steps: &mut Steps) {
    steps.run("instructions of plans, phases and pools", || {
        if output(program(&workspace.root, COUNTER).arg("--version")).is_err() {
            return Ending::skipped("VALGRIND IS NOT HERE; no instruction was counted");
        }
        count(workspace).map_or_else(Ending::failed, Ending::of)
    });
}

fn count(workspace: &Workspace) -> Result<bool, String> {
    let bench = built(workspace)?;
    let mut all = true;
    for Count { name, times, most } in &COUNTS {
        let [none, some] = [0, *times].map(|times| instructions(workspace, &bench, name, times));
        let each = some?.saturating_sub(none?) / u64::from(*times);
        let verdict = if each <= *most { "" } else { ": TOO MANY" };
        println!("{name}: {each} instructions, at most {most}{verdict}");
        all &= each <= *most;
    }
    Ok(all)
}

/// The program that does each of them.
fn built(workspace: &Workspace) -> Result<String, String> {
    let arguments = ["build", "--profile", "checked", "--package", "dtx-geo", "--bench"];
    let mut build = cargo(&workspace.root, &arguments);
    let text = output(build.args(["instructions", "--message-format", "json"]))?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == "instructions");
    let found = programs.find_map(|message| message["executable"].as_str().map(str::to_owned));
    found.ok_or_else(|| "cargo built no benchmark `instructions`".to_owned())
}

/// Of the whole program.
fn instructions(workspace: &Workspace, bench: &str, name: &str, times: u32) -> Result<u64, String> {
    let file = workspace.target.join("instructions");
    let mut command: Command = program(&workspace.root, COUNTER);
    command.args(["--quiet", "--tool=callgrind"]);
    command.arg(format!("--callgrind-out-file={}", file.display()));
    output(command.args([bench, name, &times.to_string()]))?;
    let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    total(&text).ok_or_else(|| format!("{COUNTER} wrote no total"))
}

fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read() {
        assert_eq!(total("version: 1\nevents: Ir\nfn=(1)\n1 2\n\ntotals: 4711\n"), Some(4_711));
        assert_eq!(total("events: Ir\n"), None);
        assert_eq!(total("totals: many\n"), None);
    }
}
