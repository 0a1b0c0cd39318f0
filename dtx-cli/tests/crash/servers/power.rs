//! Loss of power under the server: what a run was told is durable must be there when the server
//! comes back on what its disk had. The control is a server that is told to sync later.

use std::{
    fs::{self, Permissions},
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Mutex,
    thread,
};

use dtx_testkit::servers::Server;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    console,
    run::{Plan, Telling, fail_of, pattern_of, percent_of, print, rounds},
};
use crate::{
    home::Kind,
    orders::write_orders,
    power::{Disk, Snapshot},
    told::Told,
};

const ORDERS: usize = 900;

/// The size of the disk: a new database and what the orders write.
const DISK_BYTES: u64 = 400 << 20;

/// Where the cuts land, in percent of the orders.
const PERCENT: Range<usize> = 10..80;

/// How many cycles run side by side.
const WORKERS: usize = 2;

/// How the server is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// As the documents ask for.
    Safe,
    /// It acknowledges first and syncs later: Redis `everysec`, PostgreSQL
    /// `synchronous_commit = off`. The control.
    Unsafe,
}

#[derive(Debug)]
struct Cycle {
    kind: Kind,
    round: usize,
    setting: Setting,
}

/// A folder that the user of the server gets to.
fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.permissions(Permissions::from_mode(0o755)).tempdir().expect("a folder")
}

impl Cycle {
    fn percent(&self) -> usize {
        percent_of(self.round, PERCENT)
    }

    /// A server that may lose transactions takes those of one pattern alone.
    fn pattern(&self) -> &'static str {
        match (self.kind, self.setting) {
            (Kind::Postgres, Setting::Unsafe) => "0.5ps",
            _ => pattern_of(self.round).0,
        }
    }

    fn store_on(&self, server: &Server) -> String {
        let store = self.kind.store_on(server, "power");
        match (self.kind, self.setting) {
            (Kind::Postgres, Setting::Unsafe) => {
                format!("{store}&options=-csynchronous_commit%3Doff")
            }
            _ => store,
        }
    }

    fn start(&self, folder: &Path, store: &str) -> Telling {
        let options = ["--seed", &self.round.to_string(), "--fail", fail_of(self.round)];
        Plan::alone(self.pattern()).start(folder, store, &options)
    }

    fn run(&self) -> Value {
        let folder = folder();
        write_orders(folder.path(), ORDERS);
        let disk = Disk::new(folder.path(), DISK_BYTES).expect("a disk");
        let (snapshot, told) = self.run_and_cut(folder.path(), &disk);
        drop(disk);
        let lost = self.judge(folder.path(), &snapshot, &told);
        json!({ "part": "power", "store": self.kind.name(), "round": self.round,
            "setting": format!("{:?}", self.setting).to_lowercase(), "pattern": self.pattern(),
            "percent": self.percent(), "accepted": told.accepted.len(),
            "outcomes": told.outcomes.len(), "lost": lost })
    }

    fn run_and_cut(&self, folder: &Path, disk: &Disk) -> (Snapshot, Told) {
        let mut server = self.kind.start(&disk.path().join("data"));
        let run = self.start(folder, &self.store_on(&server));
        if (self.kind, self.setting) == (Kind::Redis, Setting::Unsafe) {
            assert!(run.has_told(1), "{self:?} ended before");
            // The store was opened by now, and would not have taken such a server.
            console::redis(&server, "CONFIG SET appendfsync everysec");
        }
        assert!(run.has_told(self.percent() * ORDERS / 100), "{self:?} ended before");
        // The run is killed while the server can sync nothing, so that it is told nothing more.
        let snapshot = disk.snapshot(|| run.process.kill()).expect("a snapshot");
        server.kill().expect("it is killed");
        let told = match self.setting {
            Setting::Safe => run.told_when_killed(),
            // It was told of more while its server could sync nothing, and may be done by now.
            Setting::Unsafe => run.told_at_last(),
        };
        (snapshot, told)
    }

    /// How much of what was told is not so.
    fn judge(&self, folder: &Path, snapshot: &Snapshot, told: &Told) -> usize {
        let disk = snapshot.mount().expect("the file system comes back");
        let data = disk.path().join("data");
        // A machine that comes back has no process of before, whose id this file has.
        let _ = fs::remove_file(data.join("data/postmaster.pid"));
        let mut server = self.kind.start(&data);
        let store = self.store_on(&server);
        let mut lost = told.missing_in(&store);
        if self.setting == Setting::Safe {
            let of = format!("{self:?}");
            self.start(folder, &store).report(ORDERS, &of);
            lost.extend(told.changed_in(&store));
            assert_eq!(lost, Vec::<String>::new(), "{of}");
        }
        server.kill().expect("it is killed");
        lost.len()
    }
}

/// Whether there can be disks here.
fn is_possible() -> bool {
    let folder = folder();
    let disk = Disk::new(folder.path(), DISK_BYTES);
    if let Err(reason) = &disk {
        println!("SERVERS SKIPPED: {reason}");
    }
    disk.is_ok()
}

/// Cycles of this setting, two at a time. Says what was lost in all.
fn cut(setting: Setting) -> Option<usize> {
    if !is_possible() {
        return None;
    }
    let kinds = Kind::servers_of_environment();
    let cycles =
        rounds().flat_map(|round| kinds.iter().map(move |&kind| Cycle { kind, round, setting }));
    let cycles = Mutex::new(cycles.collect::<Vec<_>>().into_iter());
    let lost = Mutex::new(0);
    let next = || cycles.lock().expect("nobody panics with it").next();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(cycle) = next() {
                    let found = cycle.run();
                    let count = found["lost"].as_u64().expect("a number");
                    print(&found);
                    *lost.lock().expect("nobody panics with it") += count as usize;
                }
            });
        }
    });
    Some(lost.into_inner().expect("nobody panics with it"))
}

#[test]
fn a_server_that_syncs_before_it_answers_has_lost_nothing() {
    assert!(cut(Setting::Safe).is_none_or(|lost| lost == 0));
}

/// The control: where nothing is lost, no power was cut.
#[test]
fn a_server_that_syncs_later_is_found_out() {
    assert!(cut(Setting::Unsafe).is_none_or(|lost| lost > 0), "nothing was lost");
}
