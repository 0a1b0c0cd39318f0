//! kill -9 of `dtx run` in the middle of its orders, then the same command again: everything is
//! sound, and every order has its outcome. How many moments is said by `DTX_TIER`: nothing is a
//! few, `ci` is 20, `prove` is 100.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

const PATTERNS: [&str; 6] = ["0.5ps", "saga", "1.5ps", "2ps", "3ps", "2pc"];

/// How long one process may take before it counts as stuck.
const DEADLINE: Duration = Duration::from_secs(120);

/// Where a kill must land, in percent of the orders.
const FIRST_PERCENT: u64 = 5;
const LAST_PERCENT: u64 = 95;

/// Between which moments the kills are spread; what happens until a kill lands comes on top.
const AIM_FIRST_PERCENT: u64 = 7;
const AIM_LAST_PERCENT: u64 = 85;

/// How large a campaign is.
#[derive(Clone, Copy, Debug)]
struct Tier {
    moments: u64,
    orders: u64,
}

fn tier(name: Option<&str>) -> Tier {
    match name {
        None | Some("") => Tier { moments: 3, orders: 1_000 },
        Some("ci") => Tier { moments: 20, orders: 2_000 },
        Some("prove") => Tier { moments: 100, orders: 2_000 },
        Some(other) => panic!("DTX_TIER is {other:?}; give ci, prove, or nothing"),
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    done: u64,
    of: u64,
}

impl Progress {
    /// Reads `{"progress":120,"of":1000}`; any other line is not about progress.
    fn read(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        Some(Self { done: line["progress"].as_u64()?, of: line["of"].as_u64()? })
    }

    fn is_at(self, percent: u64) -> bool {
        self.done * 100 >= percent * self.of
    }

    fn is_in_the_middle(self) -> bool {
        self.is_at(FIRST_PERCENT) && self.done * 100 <= LAST_PERCENT * self.of
    }
}

/// One kill.
#[derive(Clone, Debug)]
struct Moment {
    pattern: &'static str,
    percent: u64,
    /// Half of the runs also have services that say no and messages that are lost.
    fail: &'static str,
    seed: u64,
}

fn moments(tier: Tier) -> Vec<Moment> {
    let width = AIM_LAST_PERCENT - AIM_FIRST_PERCENT;
    (0..tier.moments)
        .map(|index| Moment {
            pattern: PATTERNS[index as usize % PATTERNS.len()],
            percent: AIM_FIRST_PERCENT + width * index / (tier.moments - 1).max(1),
            // Another one for the same pattern the next time round.
            fail: if (index + index / 6) % 2 == 0 { "0" } else { "0.1" },
            seed: index,
        })
        .collect()
}

/// A process that is killed when it takes too long.
struct Watched {
    child: Arc<Mutex<Child>>,
    /// Dropped at the end, which ends the watch.
    _end: mpsc::Sender<()>,
}

impl Watched {
    fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = Arc::new(Mutex::new(child.expect("the program starts")));
        let (end, ended) = mpsc::channel();
        let watched = child.clone();
        thread::spawn(move || {
            if ended.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("the process took longer than {DEADLINE:?} and was killed");
                // It may have ended by itself at the last moment.
                let _ = lock(&watched).kill();
            }
        });
        Self { child, _end: end }
    }

    fn stderr(&self) -> BufReader<ChildStderr> {
        BufReader::new(lock(&self.child).stderr.take().expect("it is piped and taken once"))
    }

    fn stdout(&self) -> String {
        let mut stdout = lock(&self.child).stdout.take().expect("it is piped and taken once");
        let mut text = String::new();
        stdout.read_to_string(&mut text).expect("the program writes UTF-8");
        text
    }

    fn kill(&self) {
        lock(&self.child).kill().expect("a running process can be killed");
    }

    fn wait(&self) -> ExitStatus {
        lock(&self.child).wait().expect("the process is a child of this one")
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

fn command(folder: &Path, moment: &Moment) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtx"));
    let store = format!("redb:{}", folder.join("shop.redb").display());
    command.current_dir(folder).env_remove("RUST_LOG");
    command.args(["run", "--orders", "orders.csv", "--pattern", moment.pattern]);
    command.args(["--store", &store, "--concurrency", "64", "--fail", moment.fail]);
    command.args(["--seed", &moment.seed.to_string(), "--json", "--progress", "json"]);
    command.args(["--history", "run.jsonl"]);
    command
}

/// Real orders: the first ones of the shipped file.
fn write_orders(folder: &Path, count: u64) {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/cdnow_orders.csv");
    let shipped = fs::read_to_string(shipped).expect("the orders are shipped");
    let mut text = String::new();
    for line in shipped.lines().take(count as usize + 1) {
        writeln!(text, "{line}").expect("writing to a string never fails");
    }
    fs::write(folder.join("orders.csv"), text).expect("the orders are written");
}

/// Starts the run, kills it at its moment, and says how far it was then.
fn kill_at(folder: &Path, moment: &Moment) -> Progress {
    let process = Watched::start(&mut command(folder, moment));
    let mut last = None;
    let mut is_killed = false;
    // What is in the pipe when it dies is read too: it says how far it really came.
    for line in process.stderr().lines() {
        let line = line.expect("the program writes UTF-8");
        let Some(progress) = Progress::read(&line) else {
            // The kill may have torn the last line.
            assert!(is_killed, "{moment:?}: {line}");
            continue;
        };
        last = Some(progress);
        if !is_killed && progress.is_at(moment.percent) {
            process.kill();
            is_killed = true;
        }
    }
    let status = process.wait();
    assert!(is_killed && status.code().is_none(), "{moment:?} ended by itself: {status}");
    last.expect("it was killed because of its progress")
}

/// Why a report is not sound; `None` when it is.
fn unsound(report: &Value, orders: u64) -> Option<String> {
    let found = &report["invariants"];
    for (name, expected) in [
        ("money_conserved", Value::from(true)),
        ("stock_conserved", Value::from(true)),
        ("oversold", Value::from(0)),
        ("double_effects", Value::from(0)),
        ("mixed_outcomes", Value::from(0)),
        ("leaked_reservations", Value::from(0)),
        ("unfinished", Value::from(0)),
    ] {
        if found[name] != expected {
            return Some(format!("{name} is {}", found[name]));
        }
    }
    let outcomes = ["committed", "aborted", "compensated", "dispatched"];
    let ended: u64 = outcomes.iter().filter_map(|name| report[*name].as_u64()).sum();
    if report["transactions"] != orders || ended != orders {
        let told = &report["transactions"];
        return Some(format!("{ended} outcomes and {told} transactions of {orders} orders"));
    }
    let waiting = &report["needs_attention"];
    (*waiting != 0).then(|| format!("needs_attention is {waiting}"))
}

/// The same command again. Says how many transactions were open when it began.
fn run_again(folder: &Path, moment: &Moment, orders: u64) -> u64 {
    let process = Watched::start(&mut command(folder, moment));
    let mut stderr = process.stderr();
    let errors = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let stdout = process.stdout();
    let status = process.wait();
    let errors = errors.join().expect("reading does not panic").expect("UTF-8");
    assert!(status.success(), "{moment:?}: {status}: {stdout} {errors}");
    let report: Value = serde_json::from_str(&stdout).expect("one JSON object");
    assert_eq!(unsound(&report, orders), None, "{moment:?}: {report}");
    let first = errors.lines().find_map(Progress::read);
    assert!(first.is_some_and(|first| first.done > 0), "{moment:?} began again: {errors}");
    report["recovered"].as_u64().expect("a number")
}

/// The checker of histories finds the kill in what both processes wrote down, and nothing wrong.
fn check_history(folder: &Path, moment: &Moment) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtx"));
    command.current_dir(folder).env_remove("RUST_LOG");
    command.args(["check-history", "run.jsonl", "--fault", "kill"]);
    let process = Watched::start(&mut command);
    let stdout = process.stdout();
    let status = process.wait();
    assert!(status.success(), "{moment:?}: {status}: {stdout}");
}

#[test]
fn killed_in_the_middle_and_run_again_everything_is_sound() {
    let name = std::env::var("DTX_TIER").ok();
    let tier = tier(name.as_deref());
    let mut recovered = 0;
    for moment in moments(tier) {
        let folder = tempfile::tempdir().expect("a folder");
        write_orders(folder.path(), tier.orders);
        let killed = kill_at(folder.path(), &moment);
        assert!(killed.is_in_the_middle(), "{moment:?} was killed at {killed:?}");
        let open = run_again(folder.path(), &moment, tier.orders);
        check_history(folder.path(), &moment);
        println!("{moment:?}: killed at {} of {}, {open} open", killed.done, killed.of);
        recovered += open;
    }
    assert!(recovered > 0, "no kill left anything open: nothing was proven");
}

#[test]
fn the_moments_cover_every_pattern_and_stay_in_the_middle() {
    for (name, count) in [(None, 3), (Some("ci"), 20), (Some("prove"), 100)] {
        let moments = moments(tier(name));
        assert_eq!(moments.len(), count);
        let middle = FIRST_PERCENT..LAST_PERCENT;
        assert!(moments.iter().all(|moment| middle.contains(&moment.percent)));
        if count > 3 {
            for pattern in PATTERNS {
                for fail in ["0", "0.1"] {
                    let hit = |moment: &&Moment| (moment.pattern, moment.fail) == (pattern, fail);
                    assert!(moments.iter().any(|moment| hit(&moment)), "{pattern} with {fail}");
                }
            }
        }
    }
}

#[test]
fn a_kill_outside_the_middle_is_seen() {
    let at = |done| Progress { done, of: 100 }.is_in_the_middle();
    assert_eq!([4, 5, 95, 96].map(at), [false, true, true, false]);
    let line = r#"{"progress":4,"of":9}"#;
    assert_eq!(Progress::read(line), Some(Progress { done: 4, of: 9 }));
    assert_eq!(Progress::read("warning: x"), None);
}

#[test]
fn a_report_that_is_not_sound_is_seen() {
    let good = serde_json::json!({
        "transactions": 3, "committed": 1, "aborted": 1, "compensated": 1, "dispatched": 0,
        "needs_attention": 0,
        "invariants": {"money_conserved": true, "stock_conserved": true, "oversold": 0,
            "double_effects": 0, "mixed_outcomes": 0, "leaked_reservations": 0, "unfinished": 0},
    });
    assert_eq!(unsound(&good, 3), None);
    assert!(unsound(&good, 4).is_some());
    assert!(unsound(&Value::Null, 3).is_some());
    for name in ["committed", "needs_attention"] {
        let mut bad = good.clone();
        bad[name] = 2.into();
        assert!(unsound(&bad, 3).is_some(), "{name}");
    }
    for name in good["invariants"].as_object().expect("an object").keys() {
        let mut bad = good.clone();
        bad["invariants"][name] = 2.into();
        assert!(unsound(&bad, 3).is_some(), "{name}");
    }
}
