//! The campaign at crash points.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    jobs::{self, Done, Job, Tier},
    scenario::Scenario,
    upkeep,
};
use crate::home::{Home, Kind};

/// The generated list of all crash points.
const PAGE: &str = include_str!("../../../../docs/crash-points.md");

/// How many kills each point gets in the long tier, at the least.
const KILLS_MIN: usize = 3;

/// How many more times a point is tried that work did not come to.
const TRIES_MORE: usize = 12;

/// How many crash points there must be.
const POINTS_MIN: usize = 40;

/// Which of the jobs a taste takes: every so many.
const TASTE_STEP: usize = 100;

/// On a server, how many pieces of work a slice looks into.
const SLICE_SCENARIOS: usize = 3;

/// What the names of places inside the embedded store begin with.
const EMBEDDED: &str = "redb.";

/// The names in the list that can be reached on such a store.
fn listed(kind: Kind) -> BTreeSet<String> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name.to_owned());
    names.filter(|name| kind == Kind::Redb || !name.starts_with(EMBEDDED)).collect()
}

/// What each scenario reaches: the places, and how often at the least.
pub(super) type Reached = Vec<(Scenario, BTreeMap<String, u64>)>;

/// Which pieces of work are looked into: all, but for a slice on a server, where each takes as
/// long as the leases of the dead.
fn scenarios(tier: Tier, kind: Kind) -> Vec<Scenario> {
    let mut all = Scenario::all();
    if let (Tier::Slice { first, .. }, Kind::Postgres | Kind::Redis) = (tier, kind) {
        let count = all.len();
        all.rotate_left((first % count as u64) as usize);
        all.truncate(SLICE_SCENARIOS);
    }
    all
}

fn survey(home: &Home, scenarios: &[Scenario]) -> Reached {
    let found = Mutex::new(Vec::new());
    jobs::side_by_side(home.kind, scenarios, |scenario| {
        let points = scenario.survey(home);
        found.lock().unwrap_or_else(PoisonError::into_inner).push((*scenario, points));
        true
    });
    let mut found: Reached = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort();
    found
}

/// Every listed place is reached by something, and nothing that is reached is not listed.
fn assert_all_are_reached(reached: &Reached, listed: &BTreeSet<String>) {
    let found: BTreeSet<String> =
        reached.iter().flat_map(|(_, points)| points.keys()).cloned().collect();
    let never: Vec<_> = listed.difference(&found).collect();
    assert!(never.is_empty(), "never reached: {never:?}");
    let unknown: Vec<_> = found.difference(listed).collect();
    assert!(
        unknown.is_empty(),
        "not in docs/crash-points.md, run `cargo xtask crash-points`: {unknown:?}"
    );
}

#[test]
fn killed_at_every_crash_point_and_run_again_everything_is_sound() {
    let tier = Tier::of_environment();
    let begun = Instant::now();
    let home = Home::of_environment();
    let listed = listed(home.kind);
    let scenarios = scenarios(tier, home.kind);
    let reached = survey(&home, &scenarios);
    if scenarios.len() == Scenario::all().len() {
        assert_all_are_reached(&reached, &listed);
    }
    let all = match home.kind {
        Kind::Redb => jobs::all(&reached, KILLS_MIN),
        Kind::Postgres | Kind::Redis => jobs::some(&reached, 0..KILLS_MIN),
    };
    let done = Done::of_environment();
    let (jobs, until) = match tier {
        Tier::Taste => (all.into_iter().step_by(TASTE_STEP).collect(), None),
        Tier::Slice { first, seconds } => {
            (jobs::from(all, first), Some(begun + Duration::from_secs(seconds)))
        }
        Tier::All => (all, None),
    };
    let jobs: Vec<Job> = jobs.into_iter().filter(|job| !done.has(job)).collect();
    let mut kills = jobs::run(&home, &jobs, until, &done);
    println!("{kills} kills of {} jobs, {} points", jobs.len(), listed.len());
    assert!(kills > 0 || jobs.is_empty(), "not one process was killed");
    if matches!(tier, Tier::All) {
        // A piece of work does not come to all places each time: work in batches depends on what
        // is ready together.
        for number in KILLS_MIN..KILLS_MIN + TRIES_MORE {
            let lacking = done.lacking(KILLS_MIN, &listed);
            let mut jobs = jobs::some(&reached, number..number + 1);
            jobs.retain(|job| lacking.contains(job.point()) && !done.has(job));
            kills += jobs::run(&home, &jobs, None, &done);
        }
        let lacking = done.lacking(KILLS_MIN, &listed);
        assert!(lacking.is_empty(), "fewer than {KILLS_MIN} kills: {lacking:?}");
    }
    println!("{kills} kills in all");
}

#[test]
fn the_list_is_long_enough_and_has_each_name_once() {
    let names = listed(Kind::Redb);
    assert!(names.len() >= POINTS_MIN, "{}", names.len());
    let rows = PAGE.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, names.len());
}

/// Not a test by itself: what the killed process of the scenario `upkeep` does.
#[test]
fn child_of_upkeep() {
    upkeep::child();
}
