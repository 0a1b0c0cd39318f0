//! Two coordinators on one store: one is killed or stands still, and the other goes on.

use std::{thread, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    history::{Merged, now_us},
    run::{LEASE_SECONDS, Plan, Telling, pattern_of, print, rounds},
};
use crate::{
    home::{Kind, data_folder},
    orders::write_orders_to,
    told::Told,
};

/// The orders of the one that is struck.
const ORDERS: usize = 1_200;

/// After so many outcomes it is struck.
const STRUCK_AFTER: usize = 300;

/// The orders of the other. It loses so many messages that it works for longer than leases last,
/// however fast the machine is.
const ORDERS_OF_THE_OTHER: usize = 600;
const LOST_BY_THE_OTHER: &str = "0.3";

/// How long after the end of the leases the other may take.
const CARRY_ON_SECONDS: u64 = 2;

/// For how long a process stands still: longer than its leases.
const STILL: Duration = Duration::from_secs(LEASE_SECONDS + 3);

/// What happens to one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strike {
    Kill,
    Stop,
}

struct Round<'a> {
    kind: Kind,
    round: usize,
    strike: Strike,
    store: &'a str,
    folder: TempDir,
}

impl Drop for Round<'_> {
    /// Whoever looks for the reason of a failure needs what was written down.
    fn drop(&mut self) {
        if thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the histories are in {}", self.folder.path().display());
        }
    }
}

impl<'a> Round<'a> {
    fn new(kind: Kind, round: usize, strike: Strike, store: &'a str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write_orders_to(folder.path(), "first.csv", ORDERS);
        write_orders_to(folder.path(), "second.csv", ORDERS_OF_THE_OTHER);
        Self { kind, round, strike, store, folder }
    }

    fn start_first(&self, history: &str) -> Telling {
        let lose = if pattern_of(self.round).1 { "0.03" } else { "0" };
        self.start("first", "64", lose, history)
    }

    fn start(
        &self,
        name: &'static str,
        concurrency: &str,
        lose: &str,
        history: &str,
    ) -> Telling {
        let (pattern, is_faulty) = pattern_of(self.round);
        let seed = self.round.to_string();
        // What a process that stands still has done is written down late: a no of another
        // participant meanwhile would look as if it had come before.
        let refuse = if is_faulty && self.strike == Strike::Kill { "0.05" } else { "0" };
        let options = ["--history", history, "--seed", &seed, "--refuse", refuse, "--lose", lose];
        let plan = Plan { name, orders: &format!("{name}.csv"), concurrency, pattern };
        plan.start(self.folder.path(), self.store, &options)
    }

    /// Strikes the first, and says when, what it had told, and whose histories there are.
    fn strike(&self, first: Telling, second: &Telling, of: &str) -> (u64, Told, Vec<&str>) {
        let signal = match self.strike {
            Strike::Kill => Signal::KILL,
            Strike::Stop => Signal::STOP,
        };
        first.process.signal(signal);
        let struck_us = now_us();
        assert!(second.goes_on_for(STILL), "{of}: the second ended too early");
        match self.strike {
            Strike::Kill => {
                let told = first.told_when_killed();
                self.start_first("again.jsonl").report(ORDERS, of);
                (struck_us, told, vec!["first.jsonl", "second.jsonl", "again.jsonl"])
            }
            Strike::Stop => {
                first.process.signal(Signal::CONT);
                let told = first.report(ORDERS, of).1;
                (struck_us, told, vec!["first.jsonl", "second.jsonl"])
            }
        }
    }

    fn run(&self) -> Value {
        let of = format!("{} {:?} {}", self.kind.name(), self.strike, self.round);
        let first = self.start_first("first.jsonl");
        let second = self.start("second", "16", LOST_BY_THE_OTHER, "second.jsonl");
        assert!(second.has_told(1), "{of}: the second has done nothing");
        assert!(first.has_told(STRUCK_AFTER), "{of}: the first ended before");
        let (struck_us, told, files) = self.strike(first, &second, &of);
        let others = second.report(ORDERS_OF_THE_OTHER, &of).1;
        for told in [&told, &others] {
            assert_eq!(told.missing_in(self.store), Vec::<String>::new(), "{of}");
            assert_eq!(told.changed_in(self.store), Vec::<String>::new(), "{of}");
        }
        let killed = (self.strike == Strike::Kill).then_some("first.jsonl");
        let merged = Merged::read(self.folder.path(), &files, killed);
        merged.assert_valid(self.folder.path(), killed.map(|_| "kill"), &of);
        let leases = merged.leases_before(struck_us);
        assert_eq!(leases.len(), 2, "{of}: both have shards: {leases:?}");
        let (open, last_us) = merged.carried_on(struck_us);
        assert!(open > 0, "{of}: nothing was open");
        let most = Duration::from_secs(LEASE_SECONDS + CARRY_ON_SECONDS);
        let last = Duration::from_micros(last_us);
        assert!(last <= most, "{of}: the last of {open} had ended after {last:?}");
        json!({ "part": "pair", "store": self.kind.name(), "round": self.round,
            "strike": format!("{:?}", self.strike).to_lowercase(),
            "pattern": pattern_of(self.round).0,
            "accepted": told.accepted.len() + others.accepted.len(), "lost": 0,
            "open": open, "carried_on_ms": last.as_millis() as u64 })
    }
}

/// One of two coordinators is killed, or stands still for longer than its leases. Both stores and
/// both strikes side by side: most of the time they wait for leases to end.
#[test]
fn of_two_coordinators_one_is_struck_and_the_other_goes_on() {
    let kinds = Kind::servers_of_environment();
    let servers: Vec<_> = kinds
        .iter()
        .map(|kind| (*kind, kind.start(&data_folder(&format!("pairs-{}", kind.name())))))
        .collect();
    for round in rounds() {
        thread::scope(|scope| {
            for (kind, server) in &servers {
                for strike in [Strike::Kill, Strike::Stop] {
                    scope.spawn(move || {
                        let name = format!("p{round}_{strike:?}").to_lowercase();
                        let store = kind.store_on(server, &name);
                        print(&Round::new(*kind, round, strike, &store).run());
                    });
                }
            }
        });
    }
}
