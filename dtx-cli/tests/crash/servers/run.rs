//! What the rounds of all campaigns have in common: a run that tells what it has done.

use std::{
    ops::Range,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Instant,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    process::Watched,
    told::{RUN, Told},
};

pub(super) const PATTERNS: [&str; 6] = ["0.5ps", "saga", "1.5ps", "2ps", "3ps", "2pc"];

/// How long a lease of a coordinator is, by default.
pub(super) const LEASE_SECONDS: u64 = 10;

fn number(name: &str, default: usize) -> usize {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// The rounds that the environment asks for.
pub(super) fn rounds() -> Range<usize> {
    let first = number("DTX_SERVERS_FIRST", 0);
    first..first + number("DTX_SERVERS_COUNT", 1)
}

/// Another pattern for each round, and for the same pattern other faults the next time round.
pub(super) fn pattern_of(round: usize) -> (&'static str, bool) {
    let is_faulty = !(round + round / PATTERNS.len()).is_multiple_of(2);
    (PATTERNS[round % PATTERNS.len()], is_faulty)
}

/// How often something goes wrong in a round, as `--fail` takes it.
pub(super) fn fail_of(round: usize) -> &'static str {
    if pattern_of(round).1 { "0.1" } else { "0" }
}

/// Where a round strikes, in percent of the orders: at another place each time.
pub(super) fn percent_of(round: usize, places: Range<usize>) -> usize {
    let width = places.len();
    places.start + round * (width * 3 / 5 + 1) % width
}

/// A folder of one round. Whoever looks for the reason of a failure needs what is in it.
#[derive(Debug)]
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.disable_cleanup(true);
            eprintln!("the histories are in {}", self.path().display());
        }
    }
}

/// A run to be started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    pub(super) name: &'a str,
    pub(super) orders: &'a str,
    pub(super) concurrency: &'a str,
    pub(super) pattern: &'a str,
}

impl<'a> Plan<'a> {
    /// One that is alone on its store.
    pub(super) fn alone(pattern: &'a str) -> Self {
        Self { name: RUN, orders: "orders.csv", concurrency: "64", pattern }
    }

    /// Starts `dtx run` in a folder, with options.
    pub(super) fn start(&self, folder: &Path, store: &str, options: &[&str]) -> Telling {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dtx"));
        command.current_dir(folder).env_remove("RUST_LOG").args(["run", "--json"]);
        command.args(["--run", self.name, "--orders", self.orders, "--pattern", self.pattern]);
        command.args(["--store", store, "--concurrency", self.concurrency]);
        command.args(["--progress", "orders"]).args(options);
        Telling::start(&mut command, self.name)
    }
}

/// What was told; nothing more is expected.
fn take(told: &Mutex<Told>) -> Told {
    std::mem::replace(&mut *locked(told), Told::of(RUN))
}

/// A run, and what it has told so far.
pub(super) struct Telling {
    pub(super) process: Watched,
    told: Arc<Mutex<Told>>,
    outcomes: mpsc::Receiver<usize>,
}

fn locked(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Telling {
    fn start(command: &mut Command, run: &str) -> Self {
        let told = Arc::new(Mutex::new(Told::of(run)));
        let (sender, outcomes) = mpsc::channel();
        let hears = told.clone();
        let process = Watched::start(command, move |line| {
            let mut told = locked(&hears);
            let before = told.outcomes.len();
            told.hear(line);
            if told.outcomes.len() > before {
                // Nobody may be waiting any more.
                let _ = sender.send(told.outcomes.len());
            }
        });
        Self { process, told, outcomes }
    }

    /// Waits for so many outcomes; says whether they came before the process ended.
    pub(super) fn has_told(&self, outcomes: usize) -> bool {
        self.outcomes.iter().any(|count| count >= outcomes)
    }

    /// Listens for so long. Says whether it still runs then.
    pub(super) fn goes_on_until(&self, end: Instant) -> bool {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.outcomes.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                // The sender lives as long as the process.
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Waits for the end of the process, which was killed, and gives what it had told.
    pub(super) fn told_when_killed(self) -> Told {
        let ended = self.process.wait();
        assert!(ended.was_killed(), "{ended:?}");
        take(&self.told)
    }

    /// Waits for the end of the process, however it comes, and gives what it had told.
    pub(super) fn told_at_last(self) -> Told {
        self.process.wait();
        take(&self.told)
    }

    /// Waits for a sound end, and gives the report.
    pub(super) fn report(self, orders: usize, of: &str) -> (Value, Told) {
        let told = self.told;
        let ended = self.process.wait();
        assert!(ended.status.success(), "{of}: {ended:?}");
        let report: Value = serde_json::from_str(&ended.stdout).expect("one JSON object");
        assert_eq!(report["transactions"], orders, "{of}: {report}");
        (report, take(&told))
    }
}

/// One line for whoever counts.
pub(super) fn print(found: &Value) {
    println!("SERVERS {found}");
}
