//! The simulator, as the program `dtx` offers it: `dtx sim --seed FIRST --seeds N --json`.

use serde_json::Value;

use crate::{
    process::{lines, output},
    steps::{Ending, Steps},
    workspace::Workspace,
};

/// The program.
const PROGRAM: &str = "dtx";

/// The fewest events that the seed in the middle must have: shorter runs reach too little.
const EVENTS_MEDIAN_MIN: u64 = 500;

/// Where a failing seed is kept as a file, which the tests run from then on.
const KEPT: &str = "dtx-sim/seeds";

/// Of how many seeds at least one must show each counter: what never happens is not tested.
const SOMETIMES: u64 = 1_000;

/// The fewest seeds in which a counter is looked for.
const SOMETIMES_FROM: u64 = 10 * SOMETIMES;

/// The counter that only runs over regions show.
const REGION_LOSSES: &str = "region_losses";

/// Seeds that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// Whether there is a simulator to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The program is built and has the command.
    Here,
    /// There is none, and why.
    Absent(&'static str),
}

/// Builds the program, and looks for the simulator in it.
///
/// # Errors
/// A text when the program does not build: that is a failure, and no reason to skip.
pub(crate) fn presence(workspace: &Workspace) -> Result<Presence, String> {
    if !workspace.has("dtx-cli") {
        return Ok(Presence::Absent("THERE IS NO CRATE `dtx-cli`; nothing was simulated"));
    }
    if !workspace.build_checked()? {
        return Err("the program does not build".into());
    }
    let help = output(workspace.checked(PROGRAM).arg("--help"))?;
    if has_command(&help, "sim") {
        return Ok(Presence::Here);
    }
    Ok(Presence::Absent("THE PROGRAM HAS NO COMMAND `sim`; nothing was simulated"))
}

/// A step that needs the simulator: skipped where there is none.
pub(crate) fn step(
    workspace: &Workspace,
    steps: &mut Steps,
    name: &str,
    work: impl FnOnce() -> Result<(), String>,
) {
    steps.run(name, || match presence(workspace) {
        Err(reason) => Ending::failed(reason),
        Ok(Presence::Absent(reason)) => Ending::skipped(reason),
        Ok(Presence::Here) => work().map_or_else(Ending::failed, |()| Ending::of(true)),
    });
}

fn has_command(help: &str, name: &str) -> bool {
    help.lines().any(|line| line.split_whitespace().next() == Some(name))
}

/// Runs seeds.
///
/// # Errors
/// A text when a seed has failed, or when the report does not say that all were run.
pub(crate) fn simulate(workspace: &Workspace, seeds: Seeds) -> Result<(), String> {
    run(workspace, seeds, ["--keep", KEPT])
}

/// Runs seeds whose nodes lie in the shipped regions of a provider.
///
/// # Errors
/// As [`simulate`].
pub(crate) fn simulate_regions(
    workspace: &Workspace,
    seeds: Seeds,
    provider: &str,
) -> Result<(), String> {
    run(workspace, seeds, ["--regions", provider])
}

fn run(workspace: &Workspace, seeds: Seeds, more: [&str; 2]) -> Result<(), String> {
    let (first, count) = (seeds.first.to_string(), seeds.count.to_string());
    let [option, value] = more;
    let arguments = ["sim", "--seed", &first, "--seeds", &count, "--json", option, value];
    let mut report = String::new();
    let collect = |line: &str| {
        report.push_str(line);
        report.push('\n');
    };
    let sound = lines(workspace.checked(PROGRAM).args(arguments), collect)?;
    judge(&report, seeds)?;
    if sound { Ok(()) } else { Err("the simulator has failed beside a sound report".into()) }
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
    let (seeds, failed, median) = (number("seeds")?, number("failed")?, number("median_events")?);
    if failed > 0 {
        let first = &report["failing_seeds"];
        return Err(format!("{failed} seeds have failed, {first} first; see {KEPT}"));
    }
    if seeds != asked.count {
        return Err(format!("{seeds} seeds were run of {}", asked.count));
    }
    if median < EVENTS_MEDIAN_MIN {
        return Err(format!("{median} events at the median; {EVENTS_MEDIAN_MIN} are the fewest"));
    }
    if seeds >= SOMETIMES_FROM { sometimes(&report, seeds) } else { Ok(()) }
}

/// Whether everything that may happen has happened in enough seeds.
fn sometimes(report: &Value, seeds: u64) -> Result<(), String> {
    let seen = report["sometimes"]
        .as_object()
        .ok_or("the simulator's report does not say what happened sometimes")?;
    let counters = report["counters"].as_object().map_or(0, serde_json::Map::len);
    if seen.is_empty() || seen.len() != counters {
        return Err(format!("{} of {counters} counters were looked at", seen.len()));
    }
    // Without regions none is lost.
    let has_regions = report["regions"].is_string();
    let seen = seen.iter().filter(|(name, _)| has_regions || *name != REGION_LOSSES);
    let in_seeds = |count: &Value| count.as_u64().unwrap_or_default();
    let rare = seen.filter(|(_, count)| in_seeds(count) * SOMETIMES <= seeds);
    let rare: Vec<_> = rare.map(|(name, count)| format!("{name} in {count}")).collect();
    if rare.is_empty() {
        return Ok(());
    }
    Err(format!("too rare in {seeds} seeds, one in {SOMETIMES} is the least: {}", rare.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Seeds = Seeds { first: 0, count: 100 };

    #[test]
    fn a_sound_report_passes() {
        let report = r#"{"seeds": 100, "failed": 0, "median_events": 500}"#;
        assert_eq!(judge(report, ASKED), Ok(()));
    }

    #[test]
    fn a_report_of_less_than_was_asked_fails() {
        for report in [
            r#"{"seeds": 100, "failed": 1, "median_events": 500}"#,
            r#"{"seeds": 99, "failed": 0, "median_events": 500}"#,
            r#"{"seeds": 100, "failed": 0, "median_events": 499}"#,
            r#"{"seeds": 100, "failed": 0}"#,
            "",
        ] {
            assert!(judge(report, ASKED).is_err(), "{report}");
        }
    }

    #[test]
    fn what_is_too_rare_fails() {
        let asked = Seeds { first: 0, count: SOMETIMES_FROM };
        let report = |seen: u64| {
            format!(
                r#"{{"seeds": 10000, "failed": 0, "median_events": 500,
                    "counters": {{"told": 9, "parked": 9}},
                    "sometimes": {{"told": 9000, "parked": {seen}}}}}"#
            )
        };
        assert_eq!(judge(&report(11), asked), Ok(()));
        assert!(judge(&report(10), asked).expect_err("rare").contains("parked in 10"));
        let lost =
            |regions: &str| report(11).replace("parked", "region_losses").replace("11}", regions);
        assert_eq!(judge(&lost("0}"), asked), Ok(()), "there are no regions");
        let over = judge(&lost(r#"0}, "regions": "aws""#), asked);
        assert!(over.expect_err("no region is lost").contains("region_losses in 0"));
        let nothing = r#"{"seeds": 10000, "failed": 0, "median_events": 500, "counters": {}}"#;
        assert!(judge(nothing, asked).is_err());
    }

    #[test]
    fn without_the_program_there_is_nothing_to_simulate() {
        let workspace =
            Workspace { root: ".".into(), target: "target".into(), packages: Vec::new() };
        assert!(matches!(presence(&workspace), Ok(Presence::Absent(_))));
        let mut steps = Steps::new();
        step(&workspace, &mut steps, "simulator", || panic!("must not run"));
    }

    #[test]
    fn a_command_is_found_in_the_help_by_its_first_word() {
        assert!(has_command("Commands:\n  run  Runs\n  sim  Simulates\n", "sim"));
        assert!(!has_command("Commands:\n  run  Runs a sim\n  simple  x\n", "sim"));
    }
}
