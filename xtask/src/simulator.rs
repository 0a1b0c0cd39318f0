//! The simulator, as the program `dtx` offers it: `dtx sim --first-seed S --seeds N --json`.

use std::path::Path;

use serde_json::Value;

use crate::{
    process::{cargo, output, succeeds},
    workspace::Workspace,
};

const PROGRAM: [&str; 7] = ["run", "--quiet", "--profile", "checked", "--package", "dtx-cli", "--"];

/// The fewest events that the seed in the middle must have: shorter runs reach too little.
const EVENTS_MEDIAN_MIN: u64 = 500;

/// Seeds that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// Builds the program, and says why there is no simulator to run.
///
/// # Errors
/// A text when the program does not build or has no command `sim`.
pub(crate) fn available(workspace: &Workspace) -> Result<(), String> {
    if !workspace.has("dtx-cli") {
        return Err("THERE IS NO CRATE `dtx-cli`; nothing was simulated".into());
    }
    let help = output(cargo(&workspace.root, &PROGRAM).arg("--help"))?;
    if has_command(&help, "sim") {
        return Ok(());
    }
    Err("THE PROGRAM HAS NO COMMAND `sim`; nothing was simulated".into())
}

fn has_command(help: &str, name: &str) -> bool {
    help.lines().any(|line| line.split_whitespace().next() == Some(name))
}

/// Runs seeds.
///
/// # Errors
/// A text when a seed has failed, or when the report does not say that all were run.
pub(crate) fn simulate(root: &Path, seeds: Seeds) -> Result<(), String> {
    let (first, count) = (seeds.first.to_string(), seeds.count.to_string());
    let arguments = ["sim", "--first-seed", &first, "--seeds", &count, "--json"];
    println!("$ dtx {}", arguments.join(" "));
    let report = output(cargo(root, &PROGRAM).args(arguments))?;
    print!("{report}");
    judge(&report, seeds)
}

/// Whether a report says that every seed was run, was sound, and was long enough.
fn judge(report: &str, asked: Seeds) -> Result<(), String> {
    let report: Value = serde_json::from_str(report)
        .map_err(|error| format!("the simulator's report is no JSON object: {error}"))?;
    let number = |name: &str| {
        report[name]
            .as_u64()
            .ok_or_else(|| format!("the simulator's report has no number `{name}`"))
    };
    let (seeds, failed, median) = (number("seeds")?, number("failed")?, number("events_median")?);
    if failed > 0 {
        return Err(format!("{failed} seeds have failed"));
    }
    if seeds != asked.count {
        return Err(format!("{seeds} seeds were run of {}", asked.count));
    }
    if median < EVENTS_MEDIAN_MIN {
        return Err(format!("{median} events at the median; {EVENTS_MEDIAN_MIN} are the fewest"));
    }
    Ok(())
}

/// The kill campaign: the test target `kill` of dtx-cli, as long as the tier asks for.
///
/// # Errors
/// A text when there is no such target.
pub(crate) fn kill_campaign(workspace: &Workspace, tier: &str) -> Result<bool, String> {
    if !workspace.has_target("dtx-cli", "test", "kill") {
        return Err("DTX-CLI HAS NO TEST TARGET `kill`; nothing was killed".into());
    }
    let arguments = ["test", "--profile", "checked", "--package", "dtx-cli", "--test", "kill"];
    succeeds(cargo(&workspace.root, &arguments).env("DTX_TIER", tier))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Seeds = Seeds { first: 0, count: 100 };

    #[test]
    fn a_sound_report_passes() {
        let report = r#"{"seeds": 100, "failed": 0, "events_median": 500}"#;
        assert_eq!(judge(report, ASKED), Ok(()));
    }

    #[test]
    fn a_report_of_less_than_was_asked_fails() {
        for report in [
            r#"{"seeds": 100, "failed": 1, "events_median": 500}"#,
            r#"{"seeds": 99, "failed": 0, "events_median": 500}"#,
            r#"{"seeds": 100, "failed": 0, "events_median": 499}"#,
            r#"{"seeds": 100, "failed": 0}"#,
            "",
        ] {
            assert!(judge(report, ASKED).is_err(), "{report}");
        }
    }

    #[test]
    fn a_command_is_found_in_the_help_by_its_first_word() {
        assert!(has_command("Commands:\n  run  Runs\n  sim  Simulates\n", "sim"));
        assert!(!has_command("Commands:\n  run  Runs a sim\n  simple  x\n", "sim"));
    }
}
