//! One cycle: a run on a disk, a cut, a restart, and what is left.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};

use serde_json::{Value, json};

use super::{
    disk::{Disk, Snapshot},
    log::{self, Counts, Logs},
};
use crate::{
    orders::write_orders,
    process::Watched,
    told::{RUN, Told},
};

/// The size of the disk.
pub(super) const DISK_BYTES: u64 = 96 << 20;

/// How many orders a run has.
const ORDERS: usize = 1_500;

/// After how much more a disk that forgets is gone, in percent of the orders.
const FORGOTTEN_PERCENT: usize = 10;

/// What the disk does to the writes that it acknowledged last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Keeps them.
    Honest,
    /// Loses them: the snapshot is older than the kill.
    Forgetful,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cycle {
    pub(crate) pattern: &'static str,
    pub(crate) fail: &'static str,
    pub(crate) seed: usize,
    /// When the power is cut, in percent of the outcomes.
    pub(crate) percent: usize,
    pub(crate) cut: Cut,
}

/// What was found after the restart.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) accepted: usize,
    pub(crate) outcomes: usize,
    /// What was told and is not so, in words.
    pub(crate) lost: Vec<String>,
    pub(crate) synced: usize,
    pub(crate) synced_lost: usize,
    pub(crate) unsynced: usize,
    pub(crate) unsynced_lost: usize,
}

impl Found {
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.outcomes += other.outcomes;
        self.unsynced_lost += other.unsynced_lost;
    }

    pub(crate) fn json(&self, cycle: &Cycle) -> Value {
        json!({
            "pattern": cycle.pattern, "fail": cycle.fail, "seed": cycle.seed,
            "percent": cycle.percent, "honest_disk": cycle.cut == Cut::Honest,
            "accepted": self.accepted, "outcomes": self.outcomes, "lost": self.lost.len(),
            "synced_lines": self.synced, "synced_lines_lost": self.synced_lost,
            "unsynced_lines": self.unsynced, "unsynced_lines_lost": self.unsynced_lost,
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address of the store on a disk.
fn store_on(disk: &Path) -> String {
    format!("redb:{}", disk.join("shop.redb").display())
}

impl Cycle {
    pub(crate) fn run(&self) -> Found {
        let folder = tempfile::tempdir().expect("a folder");
        write_orders(folder.path(), ORDERS);
        let disk = Disk::new(folder.path(), DISK_BYTES).expect("a disk");
        let (snapshot, told, logged) = self.run_and_cut(folder.path(), &disk);
        drop(disk);
        self.judge(folder.path(), &snapshot, &told, logged)
    }

    fn command(&self, folder: &Path, disk: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dtx"));
        let store = store_on(disk);
        command.current_dir(folder).env_remove("RUST_LOG").args(["run", "--run", RUN, "--json"]);
        command.args(["--orders", "orders.csv", "--pattern", self.pattern, "--store", &store]);
        command.args(["--concurrency", "64", "--fail", self.fail, "--progress", "orders"]);
        command.args(["--seed", &self.seed.to_string()]);
        command
    }

    /// Runs until the moment, and takes what the disk has then.
    fn run_and_cut(&self, folder: &Path, disk: &Disk) -> (Snapshot, Told, Counts) {
        let told = Arc::new(Mutex::new(Told::of(RUN)));
        let logs = Arc::new(Mutex::new(Logs::new(disk.path())));
        let (reached, moments) = mpsc::channel();
        let listener = (told.clone(), logs.clone());
        let process = Watched::start(&mut self.command(folder, disk.path()), move |line| {
            let (told, logs) = &listener;
            let mut told = locked(told);
            let before = told.outcomes.len();
            told.hear(line);
            let count = told.outcomes.len();
            drop(told);
            if count > before {
                locked(logs).add();
                // The kill comes while more lines are on their way.
                let _ = reached.send(count);
            }
        });
        let wait = |percent: usize| {
            let is_there = |count: &usize| *count * 100 >= percent * ORDERS;
            assert!(moments.iter().any(|count| is_there(&count)), "{self:?} ended before");
        };
        wait(self.percent);
        let snapshot = match self.cut {
            // Killed while its writes wait, so that it can acknowledge nothing that is not there.
            // The logs are judged by what they had before.
            Cut::Honest => {
                let counts = locked(&logs).counts;
                let snapshot = disk.snapshot(|| process.kill()).expect("a snapshot");
                (snapshot, counts)
            }
            Cut::Forgetful => {
                let snapshot = disk.snapshot(|| ()).expect("a snapshot");
                wait(self.percent + FORGOTTEN_PERCENT);
                process.kill();
                (snapshot, Counts::default())
            }
        };
        let ended = process.wait();
        assert!(ended.was_killed(), "{self:?}: {ended:?}");
        let told = std::mem::replace(&mut *locked(&told), Told::of(RUN));
        (snapshot.0, told, snapshot.1)
    }

    fn judge(&self, folder: &Path, snapshot: &Snapshot, told: &Told, logged: Counts) -> Found {
        let disk = snapshot.mount().expect("the file system comes back");
        let logs = log::found(disk.path());
        let store = store_on(disk.path());
        let mut lost = told.missing_in(&store);
        let again = Watched::start(&mut self.command(folder, disk.path()), |_| ()).wait();
        assert!(again.status.success(), "{self:?}: {again:?}");
        let report: Value = serde_json::from_str(&again.stdout).expect("one JSON object");
        assert_eq!(report["transactions"], ORDERS, "{self:?}: {report}");
        lost.extend(told.changed_in(&store));
        Found {
            accepted: told.accepted.len(),
            outcomes: told.outcomes.len(),
            lost,
            synced: logged.synced,
            synced_lost: logged.synced.saturating_sub(logs.synced),
            unsynced: logged.unsynced,
            unsynced_lost: logged.unsynced.saturating_sub(logs.unsynced),
        }
    }
}
