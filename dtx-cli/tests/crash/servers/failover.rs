//! Failover: the server is lost with its disk, and a copy that followed it takes its place. What a
//! run was told must be there. The control is a copy that fell behind, as one that is not waited
//! for may.

use std::{
    ops::Range,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use dtx_testkit::servers::{PostgresStandby, Server};
use serde_json::{Value, json};

use super::{
    console,
    run::{Folder, Plan, Telling, fail_of, pattern_of, percent_of, print, rounds},
};
use crate::{
    home::{Kind, data_folder},
    orders::write_orders,
};

const ORDERS: usize = 900;

/// Where the server is lost, in percent of the orders.
const PERCENT: Range<usize> = 25..80;

/// Where a copy that falls behind stops to follow, in percent of the orders.
const BEHIND_PERCENT: usize = 10;

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the copy follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    /// The server waits for it before it answers: PostgreSQL with a synchronous standby.
    InStep,
    /// It is not waited for. The control.
    Behind,
}

#[derive(Debug)]
struct Failover {
    kind: Kind,
    round: usize,
    follows: Follows,
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        thread::yield_now();
    }
}

impl Failover {
    fn percent(&self) -> usize {
        percent_of(self.round, PERCENT)
    }

    /// With a Redis that has a replica, and may lose what it acknowledged, only 0.5PS is begun.
    fn pattern(&self) -> &'static str {
        match self.kind {
            Kind::Redis => "0.5ps",
            _ => pattern_of(self.round).0,
        }
    }

    fn folder(&self, part: &str) -> PathBuf {
        data_folder(&format!("failover-{}-{:?}-{part}", self.kind.name(), self.follows))
    }

    /// A server that follows the other.
    fn follow(&self, primary: &Server) -> Server {
        let folder = self.folder("copy");
        if self.kind == Kind::Redis {
            let copy = self.kind.start(&folder);
            console::redis(&copy, &format!("REPLICAOF 127.0.0.1 {}", primary.port()));
            let is_up = || console::redis(&copy, "INFO replication").contains("link_status:up");
            until("the copy follows", is_up);
            return copy;
        }
        let copy = PostgresStandby::follow(&folder, primary.port(), "copy").expect("it follows");
        if self.follows == Follows::InStep {
            console::postgres(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'");
            console::postgres(primary, "SELECT pg_reload_conf()");
        }
        let state = match self.follows {
            Follows::InStep => "sync_state = 'sync'",
            Follows::Behind => "sync_state = 'async'",
        };
        let count = format!("SELECT count(*) FROM pg_stat_replication WHERE {state}");
        until("the copy follows", || console::postgres(primary, &count) == "1");
        copy
    }

    /// Makes the copy the server.
    fn promote(&self, copy: &Server) {
        match self.kind {
            Kind::Redis => drop(console::redis(copy, "REPLICAOF NO ONE")),
            _ => assert_eq!(console::postgres(copy, "SELECT pg_promote(true, 60)"), "t"),
        }
    }

    fn start(&self, folder: &Folder, store: &str) -> Telling {
        let options = ["--seed", &self.round.to_string(), "--fail", fail_of(self.round)];
        Plan::alone(self.pattern()).start(folder.path(), store, &options)
    }

    fn run(&self) -> Value {
        let of = format!("{self:?}");
        let folder = Folder::new();
        write_orders(folder.path(), ORDERS);
        let mut primary = self.kind.start(&self.folder("primary"));
        let mut copy = self.follow(&primary);
        let run = self.start(&folder, &self.kind.store_on(&primary, "failover"));
        if self.follows == Follows::Behind {
            assert!(run.has_told(BEHIND_PERCENT * ORDERS / 100), "{of}: it ended before");
            copy.kill().expect("it is killed");
        }
        assert!(run.has_told(self.percent() * ORDERS / 100), "{of}: it ended before");
        primary.kill().expect("it is killed");
        run.process.kill();
        let told = run.told_when_killed();
        copy.restart().expect("it starts again");
        self.promote(&copy);
        let store = self.kind.store_on(&copy, "failover");
        let mut lost = told.missing_in(&store);
        if self.follows == Follows::InStep {
            self.start(&folder, &store).report(ORDERS, &of);
            lost.extend(told.changed_in(&store));
            assert_eq!(lost, Vec::<String>::new(), "{of}");
        }
        json!({ "part": "failover", "store": self.kind.name(), "round": self.round,
            "copy": format!("{:?}", self.follows).to_lowercase(), "pattern": self.pattern(),
            "percent": self.percent(), "accepted": told.accepted.len(),
            "outcomes": told.outcomes.len(), "lost": lost.len() })
    }
}

/// Rounds on these, one after another. Says what was lost in all.
fn fail_over(kinds: &[Kind], follows: Follows) -> u64 {
    let mut lost = 0;
    for round in rounds() {
        for &kind in kinds {
            let found = Failover { kind, round, follows }.run();
            lost += found["lost"].as_u64().expect("a number");
            print(&found);
        }
    }
    lost
}

/// Redis has no such copy: it does not wait for one before it answers.
#[test]
fn a_copy_that_is_waited_for_has_all_that_was_acknowledged() {
    let mut kinds = Kind::servers_of_environment();
    kinds.retain(|kind| *kind == Kind::Postgres);
    assert_eq!(fail_over(&kinds, Follows::InStep), 0);
}

/// The control: where nothing is lost, there was no failover.
#[test]
fn a_copy_that_fell_behind_is_found_out() {
    assert!(fail_over(&Kind::servers_of_environment(), Follows::Behind) > 0, "nothing was lost");
}
