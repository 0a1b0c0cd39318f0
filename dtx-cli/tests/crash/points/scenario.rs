//! Pieces of work that are killed: `dtx run` of each pattern with faults, and the upkeep of a
//! store; each of them from its beginning, and each taken up again after an earlier kill.

use std::{collections::BTreeMap, fmt, fs, path::Path, process::Command};

use serde_json::Value;

use super::upkeep;
use crate::{
    home::{Home, Kind},
    orders::write_orders,
    process::{Ended, Watched},
    told::{RUN, Told},
};

const PATTERNS: [&str; 6] = ["0.5ps", "saga", "1.5ps", "2ps", "3ps", "2pc"];

/// How many orders a run has.
const ORDERS: usize = 60;

/// Where the process dies whose work is then taken up: in the middle of every piece of work.
fn earlier_death(kind: Kind) -> &'static str {
    match kind {
        Kind::Redb => "redb.batch.durable:14",
        Kind::Postgres | Kind::Redis => "host.ack.before:6",
    }
}

/// One piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scenario {
    work: Work,
    /// An earlier process was killed in the middle of it.
    is_resumed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Run(&'static str),
    Upkeep,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.work {
            Work::Run(pattern) => write!(f, "run {pattern}")?,
            Work::Upkeep => write!(f, "upkeep")?,
        }
        if self.is_resumed { write!(f, " resumed") } else { Ok(()) }
    }
}

impl Scenario {
    pub(crate) fn all() -> Vec<Self> {
        let works = PATTERNS.map(Work::Run).into_iter().chain([Work::Upkeep]);
        works.flat_map(|work| [false, true].map(|is_resumed| Self { work, is_resumed })).collect()
    }

    fn command(self, folder: &Path, store: &str) -> Command {
        match self.work {
            Work::Upkeep => upkeep::command(store),
            Work::Run(pattern) => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_dtx"));
                command.current_dir(folder).env_remove("RUST_LOG").args(["run", "--json"]);
                command.args(["--orders", "orders.csv", "--pattern", pattern, "--store", store]);
                command.args(["--concurrency", "32", "--seed", "7"]);
                command.args(["--refuse", "0.2", "--lose", "0.03"]);
                command.args(["--run", RUN, "--progress", "orders"]);
                command
            }
        }
    }

    /// Brings a new store to where the work begins.
    fn prepare(self, home: &Home, folder: &Path) -> String {
        write_orders(folder, ORDERS);
        let store = home.store(folder);
        if self.is_resumed {
            let earlier = self.run(folder, &store, ("DTX_CRASH_POINT", earlier_death(home.kind)));
            assert!(earlier.was_killed(), "{self} was done before: {earlier:?}");
        }
        store
    }

    fn run(self, folder: &Path, store: &str, (name, value): (&str, &str)) -> Ended {
        Watched::start(self.command(folder, store).env(name, value), |_| ()).wait()
    }

    /// The places that come by, and how often at the least.
    pub(crate) fn survey(self, home: &Home) -> BTreeMap<String, u64> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = self.prepare(home, folder.path());
        let file = folder.path().join("survey");
        let asked = ("DTX_CRASH_SURVEY", file.to_str().expect("a path of text"));
        let ended = self.run(folder.path(), &store, asked);
        self.assert_sound(&ended);
        let text = fs::read_to_string(file).expect("the survey was written");
        let counts = text.lines().filter_map(|line| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_owned(), count.parse().ok()?))
        });
        // The counts of a place only grow.
        counts.collect()
    }

    /// Kills the work at a visit of a point, then does it again to its end. Says whether the
    /// point was reached as often as that.
    pub(crate) fn die_at(self, home: &Home, point: &str, visit: u64) -> bool {
        let folder = tempfile::tempdir().expect("a folder");
        let store = self.prepare(home, folder.path());
        let place = format!("{point}:{visit}");
        let died = self.run(folder.path(), &store, ("DTX_CRASH_POINT", &place));
        if died.was_killed() {
            let told = format!("crash point {point}");
            assert!(died.stderr.contains(&told), "{self} was killed elsewhere: {died:?}");
            let mut told = Told::of(RUN);
            died.stderr.iter().for_each(|line| told.hear(line));
            assert_eq!(told.missing_in(&store), Vec::<String>::new(), "{self} at {point}:{visit}");
            let again = Watched::start(&mut self.command(folder.path(), &store), |_| ()).wait();
            self.assert_sound_after(&again, point, visit);
            assert_eq!(told.changed_in(&store), Vec::<String>::new(), "{self} at {point}:{visit}");
            return true;
        }
        self.assert_sound(&died);
        false
    }

    fn assert_sound_after(self, ended: &Ended, point: &str, visit: u64) {
        println!("{self}: killed at {point}:{visit}");
        self.assert_sound(ended);
    }

    /// The exit code says that everything holds, counted again from the participants' rows.
    fn assert_sound(self, ended: &Ended) {
        assert!(ended.status.success(), "{self}: {ended:?}");
        if let Work::Run(_) = self.work {
            let report: Value = serde_json::from_str(&ended.stdout).expect("one JSON object");
            assert_eq!(report["transactions"], ORDERS, "{self}: {report}");
        }
    }
}
