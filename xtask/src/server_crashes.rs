//! The campaigns on stores that are servers: of two coordinators one is struck, servers are killed
//! under load, coordinators die at every crash point, power is lost under the servers, and a copy
//! takes the place of a server.

use std::{collections::BTreeMap, fs, process::Command};

use serde_json::{Value, json};

use crate::{
    crash,
    process::{lines, succeeds},
    steps::Ending,
    subject::Subject,
    workspace::Workspace,
};

const STORES: [&str; 2] = ["postgres", "redis"];

/// What a line of a campaign begins with.
const FOUND: &str = "SERVERS ";
const SKIPPED: &str = "SERVERS SKIPPED: ";

/// How long the slice at crash points of one store kills, in seconds.
const POINTS_SECONDS: &str = "50";

/// One campaign.
struct Part {
    name: &'static str,
    /// The test that runs it.
    test: &'static str,
    /// Whether a line is one of its own.
    owns: fn(&Value) -> bool,
    /// The stores that it is about.
    stores: &'static [&'static str],
    /// How many lines a round gives for one store.
    lines: u64,
    /// How many rounds the tier has for one store.
    rounds: u64,
}

const PARTS: [Part; 6] = [
    Part {
        name: "loss of power under servers",
        test: "servers::power::a_server_that_syncs_before_it_answers_has_lost_nothing",
        owns: |line| line["part"] == "power" && line["setting"] == "safe",
        stores: &STORES,
        lines: 1,
        rounds: 30,
    },
    Part {
        name: "loss of power under servers that sync later",
        test: "servers::power::a_server_that_syncs_later_is_found_out",
        owns: |line| line["part"] == "power" && line["setting"] == "unsafe",
        stores: &STORES,
        lines: 1,
        rounds: 3,
    },
    Part {
        name: "kills of servers",
        test: "servers::kills::a_server_that_is_killed_under_load_has_lost_nothing",
        owns: |line| line["part"] == "kill",
        stores: &STORES,
        lines: 1,
        rounds: 20,
    },
    Part {
        name: "two coordinators",
        test: "servers::pairs::of_two_coordinators_one_is_struck_and_the_other_goes_on",
        owns: |line| line["part"] == "pair",
        stores: &STORES,
        lines: 2,
        rounds: 6,
    },
    Part {
        name: "failover to a copy that is waited for",
        test: "servers::failover::a_copy_that_is_waited_for_has_all_that_was_acknowledged",
        owns: |line| line["part"] == "failover" && line["copy"] == "instep",
        stores: &["postgres"],
        lines: 1,
        rounds: 12,
    },
    Part {
        name: "failover to a copy that fell behind",
        test: "servers::failover::a_copy_that_fell_behind_is_found_out",
        owns: |line| line["part"] == "failover" && line["copy"] == "behind",
        stores: &STORES,
        lines: 1,
        rounds: 3,
    },
];

fn campaign(workspace: &Workspace, test: &str) -> Result<Command, String> {
    let mut campaign = crash::target(workspace, "crash")?;
    campaign.args(["--", "--nocapture", "--exact", test]);
    Ok(campaign)
}

/// Runs rounds and hands over what each of them found. `Err` of the inner one: it was skipped.
fn run(
    campaign: &mut Command,
    (first, count): (u64, u64),
    mut each: impl FnMut(Value) -> Result<(), String>,
) -> Result<Result<bool, String>, String> {
    campaign.env("DTX_SERVERS_FIRST", first.to_string());
    campaign.env("DTX_SERVERS_COUNT", count.to_string());
    let (mut skipped, mut problem) = (None, None);
    let passed = lines(campaign, |line| {
        // The harness may have begun the line.
        if let Some((_, reason)) = line.split_once(SKIPPED) {
            skipped = Some(reason.to_owned());
        } else if let Some((_, found)) = line.split_once(FOUND) {
            let taken = serde_json::from_str(found).map_err(|error| error.to_string());
            problem = taken.and_then(&mut each).err().or_else(|| problem.take());
        }
    })?;
    match (problem, skipped) {
        (Some(problem), _) => Err(problem),
        (None, Some(reason)) => Ok(Err(reason)),
        (None, None) => Ok(Ok(passed)),
    }
}

/// One round of each campaign on both stores, which belongs to this commit. Each is a step.
pub(crate) fn slices(
    first: u64,
) -> impl Iterator<Item = (String, impl FnOnce(&Workspace) -> Ending)> {
    PARTS.iter().map(move |part| {
        let slice = move |workspace: &Workspace| {
            let ran = campaign(workspace, part.test).and_then(|mut campaign| {
                run(campaign.env("DTX_TIER", "ci"), (first % 1_000, 1), |_| Ok(()))
            });
            match ran {
                Err(reason) => Ending::failed(reason),
                Ok(Ok(passed)) => Ending::of(passed),
                Ok(Err(reason)) => Ending::skipped(format!(
                    "NO DISK CAN BE MADE HERE ({reason}); NO POWER WAS CUT"
                )),
            }
        };
        (format!("{}, slice", part.name), slice)
    })
}

/// Kills at crash points on one of the stores, the other one for the next commit.
///
/// # Errors
/// A text when it could not be run.
pub(crate) fn points_slice(workspace: &Workspace, first: u64) -> Result<bool, String> {
    let mut points = crash::target(workspace, "crash")?;
    points.args(["--", "points::"]).env("DTX_TIER", "ci").env("DTX_CRASH_SECONDS", POINTS_SECONDS);
    points.env("DTX_CRASH_STORE", STORES[(first % 2) as usize]);
    succeeds(points.env("DTX_CRASH_FIRST", (first / 2).to_string()))
}

/// The tier `servers`: goes on after what is known. `keep` is given all that is known each time.
///
/// # Errors
/// A text when a round has lost something, a control has lost nothing, or there can be no disk.
pub(crate) fn prove(
    workspace: &Workspace,
    subject: &Subject,
    mut known: Vec<Value>,
    mut keep: impl FnMut(&[Value]) -> Result<(), String>,
) -> Result<(), String> {
    for part in &PARTS {
        for &store in part.stores {
            let own = |line: &&Value| line["store"] == store && (part.owns)(line);
            let done = known.iter().filter(own).count() as u64 / part.lines;
            if done >= part.rounds {
                continue;
            }
            let mut campaign = campaign(workspace, part.test)?;
            campaign.env("DTX_CRASH_STORE", store);
            let ran = run(&mut campaign, (done, part.rounds - done), |found| {
                known.push(found);
                keep(&known)
            })?;
            let passed = ran.map_err(|reason| format!("no disk can be made here: {reason}"))?;
            if !passed {
                return Err(format!("{} on {store}: it has failed", part.name));
            }
        }
    }
    for store in STORES {
        let is_done = |line: &Value| line["store"] == store && line["complete"] == true;
        if known.iter().any(|line| line["part"] == "points" && is_done(line)) {
            continue;
        }
        let passed = prove_points(workspace, subject, store)?;
        known.retain(|line| line["part"] != "points" || line["store"] != store);
        known.push(passed.1);
        keep(&known)?;
        if !passed.0 {
            return Err(format!("the campaign at crash points has failed on {store}"));
        }
    }
    Ok(())
}

/// All crash points on a store; what stands in the file of this code is not done again.
fn prove_points(
    workspace: &Workspace,
    subject: &Subject,
    store: &str,
) -> Result<(bool, Value), String> {
    let folder = workspace.root.join("target/proof");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let path = folder.join(format!("points-{store}-{}.jsonl", subject.code));
    let mut points = crash::target(workspace, "crash")?;
    points.args(["--", "points::"]).env("DTX_TIER", "prove").env("DTX_CRASH_DONE", &path);
    let passed = succeeds(points.env("DTX_CRASH_STORE", store))?;
    let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let sum = crash::sum_of_points(&text);
    let found = json!({ "part": "points", "store": store, "complete": passed,
        "points": sum["points"], "kills": sum["kills"], "kills_min": sum["kills_min"],
        "kills_by_work": sum["kills_by_work"] });
    Ok((passed, found))
}

/// Adds lines up, for each store.
pub(crate) fn sum(known: &[Value]) -> Value {
    let mut sums = BTreeMap::new();
    for store in STORES {
        let of = |part: &Part| -> Vec<&Value> {
            known.iter().filter(|line| line["store"] == store && (part.owns)(line)).collect()
        };
        let [power, control, kills, pairs, in_step, behind] =
            [0, 1, 2, 3, 4, 5].map(|part| of(&PARTS[part]));
        let points = known.iter().find(|line| line["part"] == "points" && line["store"] == store);
        let number = |name: &str| points.map_or_else(|| Value::from(0), |line| line[name].clone());
        let all = |lines: &[&Value], name: &str| -> u64 {
            lines.iter().filter_map(|line| line[name].as_u64()).sum()
        };
        let slowest = pairs.iter().filter_map(|line| line["carried_on_ms"].as_u64()).max();
        let acknowledged = |lines: &[&Value]| all(lines, "accepted") + all(lines, "outcomes");
        let found = json!({
            "strikes": pairs.len(), "strikes_carried_on_ms_max": slowest,
            "strikes_open": all(&pairs, "open"), "strikes_lost": all(&pairs, "lost"),
            "server_kills": all(&kills, "kills"), "server_kills_accepted": all(&kills, "accepted"),
            "server_kills_lost": all(&kills, "lost"),
            "points": number("points"), "point_kills": number("kills"),
            "point_kills_min": number("kills_min"),
            "cycles": power.len(),
            "cycles_acknowledged": acknowledged(&power),
            "cycles_lost": all(&power, "lost"),
            "control_cycles": control.len(),
            "control_acknowledged": acknowledged(&control),
            "control_lost": all(&control, "lost"),
            "failovers": in_step.len(), "failovers_acknowledged": acknowledged(&in_step),
            "failovers_lost": all(&in_step, "lost"),
            "failovers_behind": behind.len(),
            "failovers_behind_acknowledged": acknowledged(&behind),
            "failovers_behind_lost": all(&behind, "lost"),
        });
        sums.insert(store, found);
    }
    json!(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_added_up_for_each_store_and_the_control_is_apart() {
        let power = |store: &str, setting: &str, lost: u64| {
            json!({ "part": "power", "store": store, "setting": setting, "accepted": 5,
                "lost": lost })
        };
        let copy = |store: &str, copy: &str, lost: u64| {
            json!({ "part": "failover", "store": store, "copy": copy, "accepted": 5,
                "outcomes": 4, "lost": lost })
        };
        let pair = |ms: u64| json!({ "part": "pair", "store": "redis", "open": 3, "carried_on_ms": ms, "lost": 0 });
        let known = [
            power("redis", "safe", 0),
            power("redis", "unsafe", 4),
            power("postgres", "safe", 0),
            power("postgres", "safe", 0),
            pair(9_000),
            pair(11_000),
            json!({ "part": "kill", "store": "redis", "kills": 5, "accepted": 9, "lost": 0 }),
            copy("postgres", "instep", 0),
            copy("postgres", "instep", 0),
            copy("postgres", "behind", 6),
            copy("redis", "behind", 3),
            json!({ "part": "points", "store": "redis", "points": 7, "kills": 21 }),
        ];
        let sum = sum(&known);
        assert_eq!((&sum["redis"]["cycles"], &sum["redis"]["cycles_lost"]), (&1.into(), &0.into()));
        assert_eq!(sum["redis"]["control_lost"], 4);
        let failovers = |store: &str| {
            let sum = &sum[store];
            ["failovers", "failovers_acknowledged", "failovers_behind", "failovers_behind_lost"]
                .map(|name| sum[name].as_u64())
        };
        assert_eq!(failovers("postgres"), [2, 18, 1, 6].map(Some));
        assert_eq!(failovers("redis"), [0, 0, 1, 3].map(Some));
        assert_eq!(sum["redis"]["strikes_carried_on_ms_max"], 11_000);
        assert_eq!(
            (&sum["redis"]["server_kills"], &sum["redis"]["point_kills"]),
            (&5.into(), &21.into())
        );
        assert_eq!(
            (&sum["postgres"]["cycles"], &sum["postgres"]["points"]),
            (&2.into(), &0.into())
        );
    }
}
