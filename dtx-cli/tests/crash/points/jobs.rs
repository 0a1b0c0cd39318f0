//! Which kills are made, and which were made before.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    env, fs,
    fs::{File, OpenOptions},
    hash::{Hash, Hasher},
    io::Write,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use serde_json::{Value, json};

use super::{campaign::Reached, scenario::Scenario};
use crate::home::{Home, Kind};

/// How long the slice takes when nobody says, in seconds.
const SECONDS_DEFAULT: u64 = 120;

/// How many processes are killed side by side: most of the time they wait for time-outs, and on a
/// server for the leases of the dead.
fn workers(kind: Kind) -> usize {
    match kind {
        Kind::Redb => 2,
        Kind::Postgres | Kind::Redis => 8,
    }
}

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Taste,
    Slice { first: u64, seconds: u64 },
    All,
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

impl Tier {
    pub(crate) fn of_environment() -> Self {
        match env::var("DTX_TIER").as_deref() {
            Err(_) | Ok("") => Self::Taste,
            Ok("ci") => Self::Slice {
                first: number("DTX_CRASH_FIRST").unwrap_or(0),
                seconds: number("DTX_CRASH_SECONDS").unwrap_or(SECONDS_DEFAULT),
            },
            Ok("prove") => Self::All,
            Ok(other) => panic!("DTX_TIER is {other:?}; give ci, prove, or nothing"),
        }
    }
}

/// One kill.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    scenario: Scenario,
    point: String,
    round: usize,
    visit: u64,
}

impl Job {
    pub(crate) fn point(&self) -> &str {
        &self.point
    }

    fn id(&self) -> (String, String, u64) {
        (self.scenario.to_string(), self.point.clone(), self.round as u64)
    }

    /// Kills, at an earlier visit if this time there were not so many. Says at which.
    fn kill(&self, home: &Home) -> Option<u64> {
        let halves = std::iter::successors(Some(self.visit), |visit| Some((visit / 2).max(1)));
        let tries = (u64::BITS - self.visit.leading_zeros()) as usize + 2;
        halves.take(tries).find(|visit| self.scenario.die_at(home, &self.point, *visit))
    }
}

type Places = Vec<(Scenario, u64)>;

/// Where each point is reached, and how often.
fn by_point(reached: &Reached) -> BTreeMap<&str, Places> {
    let mut by_point: BTreeMap<&str, Places> = BTreeMap::new();
    for (scenario, points) in reached {
        for (point, count) in points {
            by_point.entry(point).or_default().push((*scenario, *count));
        }
    }
    by_point
}

fn job(point: &str, round: usize, (scenario, count): (Scenario, u64)) -> Job {
    let visit = 1 + hash(&(scenario.to_string(), point, round)) % count;
    Job { scenario, point: point.to_owned(), round, visit }
}

/// Every point in every scenario that reaches it, and more rounds where that is fewer than
/// `kills_min`. Rounds are at other visits.
pub(crate) fn all(reached: &Reached, kills_min: usize) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (point, places) in by_point(reached) {
        for round in 0..kills_min.div_ceil(places.len()) {
            jobs.extend(places.iter().map(|place| job(point, round, *place)));
        }
    }
    jobs
}

/// Every point so many times, in as many scenarios that reach it as there are. `numbers` are counted
/// from 0: a later one is in another scenario, or at another visit.
pub(crate) fn some(reached: &Reached, numbers: Range<usize>) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (point, mut places) in by_point(reached) {
        places.sort_by_key(|(scenario, _)| hash(&(scenario.to_string(), point)));
        let of = |number| job(point, number / places.len(), places[number % places.len()]);
        jobs.extend(numbers.clone().map(of));
    }
    jobs
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The same jobs in an order of chance that is the same everywhere, beginning at one of them.
pub(crate) fn from(mut jobs: Vec<Job>, first: u64) -> Vec<Job> {
    jobs.sort_by_key(|job| hash(&job.id()));
    let count = jobs.len().max(1);
    jobs.rotate_left((first % count as u64) as usize);
    jobs
}

/// Makes the kills until they are made, or until the time is over. Says how many it made.
pub(crate) fn run(home: &Home, jobs: &[Job], until: Option<Instant>, done: &Done) -> usize {
    let kills = AtomicUsize::new(0);
    side_by_side(home.kind, jobs, |job| {
        let visit = job.kill(home);
        if visit.is_some() {
            kills.fetch_add(1, Ordering::Relaxed);
        }
        done.add(job, visit);
        until.is_none_or(|until| Instant::now() < until)
    });
    kills.into_inner()
}

/// Does the same with all of them, several at a time, until one says that it is enough.
pub(crate) fn side_by_side<T: Sync>(kind: Kind, all: &[T], each: impl Fn(&T) -> bool + Sync) {
    let next = AtomicUsize::new(0);
    let work = || while all.get(next.fetch_add(1, Ordering::Relaxed)).is_some_and(&each) {};
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers(kind)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// What was done, and the file where it stands.
pub(crate) struct Done {
    file: Option<Mutex<File>>,
    before: BTreeSet<(String, String, u64)>,
    kills: Mutex<BTreeMap<String, usize>>,
}

impl Done {
    pub(crate) fn of_environment() -> Self {
        let path = env::var_os("DTX_CRASH_DONE");
        let text = path.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let mut kills = BTreeMap::new();
        let mut before = BTreeSet::new();
        for line in text.lines() {
            // A kill of the campaign itself may have torn the last line.
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            if !line["visit"].is_null() {
                *kills.entry(word("point")).or_insert(0) += 1;
            }
            let round = line["round"].as_u64().unwrap_or_default();
            before.insert((word("scenario"), word("point"), round));
        }
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        let file = path.map(|path| Mutex::new(open(path).expect("the file can be written")));
        Self { file, before, kills: Mutex::new(kills) }
    }

    pub(crate) fn has(&self, job: &Job) -> bool {
        self.before.contains(&job.id())
    }

    fn add(&self, job: &Job, visit: Option<u64>) {
        if visit.is_some() {
            let mut kills = self.kills.lock().unwrap_or_else(PoisonError::into_inner);
            *kills.entry(job.point.clone()).or_insert(0) += 1;
        }
        let Some(file) = &self.file else { return };
        let (scenario, point, round) = job.id();
        let line = json!({ "scenario": scenario, "point": point, "round": round, "visit": visit });
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{line}\n").as_bytes()).expect("the file can be written");
    }

    /// The points with fewer kills than that.
    pub(crate) fn lacking(&self, kills_min: usize, points: &BTreeSet<String>) -> BTreeSet<String> {
        let kills = self.kills.lock().unwrap_or_else(PoisonError::into_inner);
        let few = |point: &&String| kills.get(*point).copied().unwrap_or(0) < kills_min;
        points.iter().filter(few).cloned().collect()
    }
}
