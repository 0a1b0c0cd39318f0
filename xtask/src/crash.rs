//! The campaigns that crash real processes on the embedded store: kills at moments of chance,
//! kills at every crash point, and losses of power.

use std::{collections::BTreeMap, fs, process::Command};

use serde_json::{Value, json};

use crate::{
    process::{cargo, lines, succeeds},
    steps::Ending,
    subject::Subject,
    workspace::Workspace,
};

/// How many cycles the tier `power` has, and how many of them a slice takes.
const POWER_CYCLES: u64 = 36;
const POWER_CYCLES_SLICE: u64 = 3;

/// How long the slice of the crash campaign kills, in seconds, its build and its survey included.
const SLICE_SECONDS: &str = "100";

/// What stands in the file of the crash campaign once the moments of chance are done too.
const MOMENTS_DONE: &str = r#"{"moments":100}"#;

/// What a line of the power campaign begins with.
const POWER: &str = "POWER ";
const POWER_SKIPPED: &str = "POWER SKIPPED: ";

/// A test target of dtx-cli, built with the crash points and the mutants. They do nothing unless
/// they are asked to, so one build serves all campaigns.
pub(crate) fn target(workspace: &Workspace, name: &str) -> Result<Command, String> {
    if !workspace.has_target("dtx-cli", "test", name) {
        return Err(format!("DTX-CLI HAS NO TEST TARGET {name:?}; nothing was crashed"));
    }
    let arguments = ["test", "--profile", "checked", "--package", "dtx-cli", "--test", name];
    let mut command = cargo(&workspace.root, &arguments);
    command.args(["--features", "campaigns"]);
    Ok(command)
}

/// The slice of the kill campaign: some moments of chance.
///
/// # Errors
/// A text when there is no such target.
pub(crate) fn moments_slice(workspace: &Workspace) -> Result<bool, String> {
    succeeds(target(workspace, "kill")?.env("DTX_TIER", "ci"))
}

/// A part of the kills at crash points that belongs to this commit.
///
/// # Errors
/// A text when it could not be run.
pub(crate) fn points_slice(workspace: &Workspace, first: u64) -> Result<bool, String> {
    if !succeeds(target(workspace, "crash")?.arg("--no-run"))? {
        return Ok(false);
    }
    let mut campaign = target(workspace, "crash")?;
    campaign.args(["--", "points::"]).env("DTX_TIER", "ci").env("DTX_CRASH_SECONDS", SLICE_SECONDS);
    succeeds(campaign.env("DTX_CRASH_FIRST", first.to_string()))
}

/// Some losses of power that belong to this commit.
///
/// # Errors
/// A text when it could not be run.
pub(crate) fn power_slice(workspace: &Workspace, first: u64) -> Result<Ending, String> {
    let run = power(workspace, first, POWER_CYCLES_SLICE, |_| Ok(()))?;
    Ok(match run {
        Power::Skipped(reason) => {
            let reason = format!("NO DISK CAN BE MADE HERE ({reason}); NO POWER WAS CUT");
            Ending::skipped(reason)
        }
        Power::Ran(passed) => Ending::of(passed),
    })
}

enum Power {
    Skipped(String),
    Ran(bool),
}

/// Runs cycles and hands over what each of them found.
fn power(
    workspace: &Workspace,
    first: u64,
    cycles: u64,
    mut each: impl FnMut(Value) -> Result<(), String>,
) -> Result<Power, String> {
    let mut campaign = target(workspace, "crash")?;
    campaign.args(["--", "--nocapture", "--test-threads", "1", "power::"]);
    campaign.env("DTX_POWER_CYCLES", cycles.to_string());
    campaign.env("DTX_POWER_FIRST", first.to_string());
    let (mut skipped, mut problem) = (None, None);
    let passed = lines(&mut campaign, |line| {
        // The harness may have begun the line.
        if let Some((_, reason)) = line.split_once(POWER_SKIPPED) {
            skipped = Some(reason.to_owned());
        } else if let Some((_, found)) = line.split_once(POWER) {
            let taken = serde_json::from_str(found).map_err(|error| error.to_string());
            problem = taken.and_then(&mut each).err().or_else(|| problem.take());
        }
    })?;
    match (skipped, problem) {
        (_, Some(problem)) => Err(problem),
        (Some(reason), None) => Ok(Power::Skipped(reason)),
        (None, None) => Ok(Power::Ran(passed)),
    }
}

/// The tier `crash`: all points, then all moments. What stands in the file of this code is not
/// done again. `keep` is given what is known so far.
///
/// # Errors
/// A text when a part of it has failed.
pub(crate) fn prove_points(
    workspace: &Workspace,
    subject: &Subject,
    mut keep: impl FnMut(Value) -> Result<(), String>,
) -> Result<(), String> {
    let folder = workspace.root.join("target/proof");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let path = folder.join(format!("crash-{}.jsonl", subject.code));
    let read = || fs::read_to_string(&path).map_err(|error| error.to_string());
    let mut points = target(workspace, "crash")?;
    points.args(["--", "points::"]).env("DTX_TIER", "prove").env("DTX_CRASH_DONE", &path);
    let passed = succeeds(&mut points)?;
    let done = read()?;
    keep(sum_of_points(&done))?;
    if !passed {
        return Err("the campaign at crash points has failed".into());
    }
    if done.contains(MOMENTS_DONE) {
        return Ok(());
    }
    if !succeeds(target(workspace, "kill")?.env("DTX_TIER", "prove"))? {
        return Err("the kill campaign has failed".into());
    }
    let done = format!("{done}{MOMENTS_DONE}\n");
    fs::write(&path, &done).map_err(|error| error.to_string())?;
    keep(sum_of_points(&done))
}

/// Adds up the lines of a campaign: kills by point and by piece of work.
pub(crate) fn sum_of_points(text: &str) -> Value {
    let (mut points, mut works) = (BTreeMap::new(), BTreeMap::new());
    let (mut kills, mut moments) = (0_u64, 0);
    for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        moments += line["moments"].as_u64().unwrap_or(0);
        if let (Some(point), Some(work), false) =
            (line["point"].as_str(), line["scenario"].as_str(), line["visit"].is_null())
        {
            kills += 1;
            *points.entry(point.to_owned()).or_insert(0_u64) += 1;
            *works.entry(work.to_owned()).or_insert(0_u64) += 1;
        }
    }
    json!({ "moments": moments, "points": points.len(), "kills": kills,
        "kills_min": points.values().min().copied().unwrap_or(0),
        "kills_by_work": works, "kills_by_point": points })
}

/// The tier `power`. `done` is how many cycles of this code are known; `each` keeps another
/// one.
///
/// # Errors
/// A text when a cycle has lost something, a control has lost nothing, or there can be no disk.
pub(crate) fn prove_power(
    workspace: &Workspace,
    done: u64,
    each: impl FnMut(Value) -> Result<(), String>,
) -> Result<(), String> {
    match power(workspace, done, POWER_CYCLES.saturating_sub(done).max(1), each)? {
        Power::Skipped(reason) => Err(format!("no disk can be made here: {reason}")),
        Power::Ran(true) => Ok(()),
        Power::Ran(false) => Err("the power campaign has failed".into()),
    }
}

/// Adds up cycles. Those on a disk that forgets are the control, and are counted apart.
pub(crate) fn sum_of_cycles(cycles: &[Value]) -> Value {
    let (honest, forgetful): (Vec<_>, Vec<_>) =
        cycles.iter().partition(|cycle| cycle["honest_disk"] == true);
    let sum = |cycles: &[&Value], name: &str| -> u64 {
        cycles.iter().filter_map(|cycle| cycle[name].as_u64()).sum()
    };
    let mut patterns = BTreeMap::new();
    for cycle in &honest {
        let pattern = cycle["pattern"].as_str().unwrap_or_default().to_owned();
        *patterns.entry(pattern).or_insert(0_u64) += 1;
    }
    json!({
        "cycles": honest.len(), "cycles_by_pattern": patterns,
        "accepted": sum(&honest, "accepted"), "outcomes": sum(&honest, "outcomes"),
        "lost": sum(&honest, "lost"),
        "control_synced_lines": sum(&honest, "synced_lines"),
        "control_synced_lines_lost": sum(&honest, "synced_lines_lost"),
        "control_unsynced_lines": sum(&honest, "unsynced_lines"),
        "control_unsynced_lines_lost": sum(&honest, "unsynced_lines_lost"),
        "control_forgetful_disk_cycles": forgetful.len(),
        "control_forgetful_disk_lost": sum(&forgetful, "lost"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_added_up_and_what_was_not_reached_is_no_kill() {
        let text = "{\"moments\":100}\n\
            {\"scenario\":\"run 2pc\",\"point\":\"a\",\"round\":0,\"visit\":3}\n\
            {\"scenario\":\"upkeep\",\"point\":\"a\",\"round\":0,\"visit\":1}\n\
            {\"scenario\":\"upkeep\",\"point\":\"b\",\"round\":0,\"visit\":null}\n{\"torn";
        let sum = sum_of_points(text);
        assert_eq!(
            (&sum["moments"], &sum["kills"], &sum["points"]),
            (&100.into(), &2.into(), &1.into())
        );
        assert_eq!(sum["kills_by_point"], json!({ "a": 2 }));
        assert_eq!(sum["kills_by_work"], json!({ "run 2pc": 1, "upkeep": 1 }));
    }

    #[test]
    fn the_control_is_counted_apart() {
        let cycle = |honest: bool, lost: u64| {
            json!({ "pattern": "2pc", "honest_disk": honest, "accepted": 5, "outcomes": 4,
                "lost": lost, "synced_lines": 1, "synced_lines_lost": 0, "unsynced_lines": 3,
                "unsynced_lines_lost": 2 })
        };
        let sum = sum_of_cycles(&[cycle(true, 0), cycle(true, 0), cycle(false, 9)]);
        assert_eq!(sum["cycles"], 2);
        assert_eq!((&sum["accepted"], &sum["lost"]), (&10.into(), &0.into()));
        assert_eq!(sum["control_unsynced_lines_lost"], 4);
        assert_eq!(sum["control_forgetful_disk_lost"], 9);
    }
}
