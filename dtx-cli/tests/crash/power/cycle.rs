//! One cycle: a run on a disk, a cut, a restart, and what is left.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};

use dtx::{
    RedbStore,
    name::Namespace,
    store::{Catalog, StateStore, Status, TxRecord},
    transaction::Key,
};
use serde_json::{Value, json};

use super::{
    disk::{Disk, Snapshot},
    log::{self, Counts, Logs},
};
use crate::{orders::write_orders, process::Watched};

/// How many orders a run has.
const ORDERS: usize = 1_500;

/// The name of the run, in which the keys are.
const RUN: &str = "power";

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

/// What was told on the pipe.
#[derive(Debug, Default)]
struct Told {
    accepted: Vec<String>,
    outcomes: BTreeMap<String, Value>,
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

impl Cycle {
    pub(crate) fn run(&self) -> Found {
        let folder = tempfile::tempdir().expect("a folder");
        write_orders(folder.path(), ORDERS);
        let disk = Disk::new(folder.path()).expect("a disk");
        let (snapshot, told, logged) = self.run_and_cut(folder.path(), &disk);
        drop(disk);
        self.judge(folder.path(), &snapshot, &told, logged)
    }

    fn command(&self, folder: &Path, disk: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dtx"));
        let store = format!("redb:{}", disk.join("shop.redb").display());
        command.current_dir(folder).env_remove("RUST_LOG").args(["run", "--run", RUN, "--json"]);
        command.args(["--orders", "orders.csv", "--pattern", self.pattern, "--store", &store]);
        command.args(["--concurrency", "64", "--fail", self.fail, "--progress", "orders"]);
        command.args(["--seed", &self.seed.to_string()]);
        command
    }

    /// Runs until the moment, and takes what the disk has then.
    fn run_and_cut(&self, folder: &Path, disk: &Disk) -> (Snapshot, Told, Counts) {
        let told = Arc::new(Mutex::new(Told::default()));
        let logs = Arc::new(Mutex::new(Logs::new(disk.path())));
        let (reached, moments) = mpsc::channel();
        let listener = (told.clone(), logs.clone());
        let process = Watched::start(&mut self.command(folder, disk.path()), move |line| {
            // The kill may have torn the last line.
            let Ok(line) = serde_json::from_str::<Value>(line) else { return };
            let (told, logs) = &listener;
            let mut told = locked(told);
            if let Some(order) = line["accepted"].as_str() {
                told.accepted.push(order.to_owned());
            } else if let Some(order) = line["order"].as_str() {
                told.outcomes.insert(order.to_owned(), line["outcome"].clone());
                let count = told.outcomes.len();
                drop(told);
                locked(logs).add();
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
        let told = std::mem::take(&mut *locked(&told));
        (snapshot.0, told, snapshot.1)
    }

    fn judge(&self, folder: &Path, snapshot: &Snapshot, told: &Told, logged: Counts) -> Found {
        let disk = snapshot.mount().expect("the file system comes back");
        let logs = log::found(disk.path());
        let mut lost = Vec::new();
        let before = records(&disk.path().join("shop.redb"), &told.accepted);
        for order in &told.accepted {
            match (before.get(order), told.outcomes.get(order)) {
                (None, _) => lost.push(format!("order {order} was accepted")),
                (Some(record), Some(outcome)) if !is_fixed(record) => {
                    lost.push(format!("order {order} had the outcome {outcome}"));
                }
                _ => {}
            }
        }
        let again = Watched::start(&mut self.command(folder, disk.path()), |_| ()).wait();
        assert!(again.status.success(), "{self:?}: {again:?}");
        let report: Value = serde_json::from_str(&again.stdout).expect("one JSON object");
        assert_eq!(report["transactions"], ORDERS, "{self:?}: {report}");
        let after = records(&disk.path().join("shop.redb"), &told.accepted);
        for (order, outcome) in &told.outcomes {
            let now = after.get(order).and_then(outcome_of);
            if now.as_ref() != Some(outcome) {
                lost.push(format!("order {order} had the outcome {outcome}, and now {now:?}"));
            }
        }
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

/// Whether a record fixes an outcome.
fn is_fixed(record: &TxRecord) -> bool {
    record.verdict.is_some() || outcome_of(record).is_some()
}

fn outcome_of(record: &TxRecord) -> Option<Value> {
    match record.summary.status {
        Status::Finished(outcome) => Some(json!(outcome)),
        _ => None,
    }
}

/// The records of orders, as far as there are any.
fn records(path: &Path, orders: &[String]) -> BTreeMap<String, TxRecord> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
    runtime.block_on(async {
        let store = RedbStore::open(path).await.expect("the store opens after a loss of power");
        let mut found = BTreeMap::new();
        for order in orders {
            let namespace = Namespace::new(RUN).expect("a name");
            let key = Key { namespace, key: order.clone() };
            let Some(tx) = store.by_key(&key).await.expect("the store answers") else { continue };
            let record = store.load(&[tx]).await.expect("the store answers").remove(0);
            found.extend(record.map(|record| (order.clone(), record)));
        }
        store.close().await.expect("the store closes");
        found
    })
}
