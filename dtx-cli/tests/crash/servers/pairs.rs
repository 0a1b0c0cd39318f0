//! Two coordinators on one store: one is killed or stands still, and the other goes on.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    history::{Merged, now_us},
    run::{Folder, LEASE_SECONDS, Plan, Telling, pattern_of, print, rounds},
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

/// The orders of the other, of which it has one at a time so that they last. When they are done
/// before the leases of the first have ended, the next one goes on. An order that loses a message
/// waits for the time-out of an attempt, so there are fewer where messages are lost.
const ORDERS_OF_OTHERS: usize = 1_000;
const ORDERS_OF_OTHERS_FAULTY: usize = 50;

/// How much longer it works until the next attempt to strike it while something is open.
const LATER: Duration = Duration::from_micros(300);

/// How long after the end of the leases the other may take: on a quiet machine, and in `ci`, which
/// shares its machine with others.
const CARRY_ON_SECONDS: u64 = 2;
const CARRY_ON_SECONDS_BUSY: u64 = 20;

/// For how long a process stands still: longer than its leases.
const STILL: Duration = Duration::from_secs(LEASE_SECONDS + 3);

/// The name of one of the others.
fn other(number: usize) -> String {
    format!("other-{number}")
}

fn history_of(number: usize) -> String {
    format!("{}.jsonl", other(number))
}

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
    folder: Folder,
    pattern: &'static str,
    is_faulty: bool,
}

impl<'a> Round<'a> {
    fn new(kind: Kind, round: usize, strike: Strike, store: &'a str) -> Self {
        let folder = Folder::new();
        let (pattern, is_faulty) = pattern_of(round);
        let round = Self { kind, round, strike, store, folder, pattern, is_faulty };
        write_orders_to(round.folder.path(), "first.csv", ORDERS);
        write_orders_to(round.folder.path(), "other.csv", round.orders_of_others());
        round
    }

    fn orders_of_others(&self) -> usize {
        if self.is_faulty { ORDERS_OF_OTHERS_FAULTY } else { ORDERS_OF_OTHERS }
    }

    fn first(&self, history: &str) -> Telling {
        self.start("first", "first.csv", "64", history)
    }

    /// One of the others, which are counted from 0.
    fn other(&self, number: usize) -> Telling {
        self.start(&other(number), "other.csv", "1", &history_of(number))
    }

    fn start(&self, name: &str, orders: &str, concurrency: &str, history: &str) -> Telling {
        let seed = self.round.to_string();
        // What a process that stands still has done is written down late: a no of another
        // participant meanwhile would look as if it had come before.
        let refuse = if self.is_faulty && self.strike == Strike::Kill { "0.05" } else { "0" };
        let lose = if self.is_faulty { "0.03" } else { "0" };
        let options = ["--history", history, "--seed", &seed, "--refuse", refuse, "--lose", lose];
        let plan = Plan { name, orders, concurrency, pattern: self.pattern };
        plan.start(self.folder.path(), self.store, &options)
    }

    /// Strikes the first, and gives the moment. On a fast store it works in step, and has nothing
    /// open between two batches: then it goes on until it has.
    fn strike(&self, first: &Telling, of: &str) -> u64 {
        let file = "first.jsonl";
        assert!(first.has_told(STRUCK_AFTER), "{of}: the first ended before");
        for attempt in 0.. {
            // What it tells, it tells at the end of a batch: a bit later each time.
            let end = Instant::now() + LATER * attempt;
            assert!(first.goes_on_until(end), "{of}: the first ended before");
            first.process.stop();
            let struck_us = now_us();
            let history = Merged::read(self.folder.path(), &[file], Some(file));
            if !history.open_at(struck_us).is_empty() {
                if self.strike == Strike::Kill {
                    first.process.signal(Signal::KILL);
                }
                return struck_us;
            }
            first.process.signal(Signal::CONT);
        }
        unreachable!("it ends before so many attempts")
    }

    /// Others work one after another, until the first has been struck for long enough.
    fn go_on(&self, mut other: Telling, of: &str) -> Vec<Told> {
        let (orders, end) = (self.orders_of_others(), Instant::now() + STILL);
        let mut told = Vec::new();
        while !other.goes_on_until(end) {
            told.push(other.report(orders, of).1);
            other = self.other(told.len());
        }
        told.push(other.report(orders, of).1);
        told
    }

    fn run(&self) -> Value {
        let of = format!("{} {:?} {}", self.kind.name(), self.strike, self.round);
        let first = self.first("first.jsonl");
        let second = self.other(0);
        assert!(second.has_told(1), "{of}: the second has done nothing");
        let struck_us = self.strike(&first, &of);
        let mut all = self.go_on(second, &of);
        let mut files: Vec<_> = (0..all.len()).map(history_of).collect();
        files.insert(0, "first.jsonl".to_owned());
        all.push(match self.strike {
            Strike::Kill => {
                files.push("again.jsonl".to_owned());
                let told = first.told_when_killed();
                self.first("again.jsonl").report(ORDERS, &of);
                told
            }
            Strike::Stop => {
                first.process.signal(Signal::CONT);
                first.report(ORDERS, &of).1
            }
        });
        for told in &all {
            assert_eq!(told.missing_in(self.store), Vec::<String>::new(), "{of}");
            assert_eq!(told.changed_in(self.store), Vec::<String>::new(), "{of}");
        }
        let killed = (self.strike == Strike::Kill).then_some("first.jsonl");
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let merged = Merged::read(self.folder.path(), &files, killed);
        merged.assert_valid(self.folder.path(), killed.map(|_| "kill"), &of);
        let leases = merged.leases_before(struck_us);
        assert!(leases.len() > 1, "{of}: both have shards: {leases:?}");
        let (open, last_us) = merged.carried_on(struck_us);
        assert!(open > 0, "{of}: nothing was open");
        let is_busy = std::env::var("DTX_TIER").is_ok_and(|tier| tier == "ci");
        let most = if is_busy { CARRY_ON_SECONDS_BUSY } else { CARRY_ON_SECONDS };
        let most = Duration::from_secs(LEASE_SECONDS + most);
        let last = Duration::from_micros(last_us);
        assert!(last <= most, "{of}: the last of {open} had ended after {last:?}");
        json!({ "part": "pair", "store": self.kind.name(), "round": self.round,
            "strike": format!("{:?}", self.strike).to_lowercase(),
            "pattern": self.pattern,
            "accepted": all.iter().map(|told| told.accepted.len()).sum::<usize>(), "lost": 0,
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
