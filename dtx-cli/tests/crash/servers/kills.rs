//! kill -9 of the server under load: it is started again on the same data, and the run goes on.

use std::{thread, time::Instant};

use dtx_testkit::servers::Server;
use serde_json::{Value, json};

use super::{
    history::Merged,
    run::{Folder, Plan, fail_of, pattern_of, print, rounds},
};
use crate::{
    home::{Kind, data_folder},
    orders::write_orders,
};

const ORDERS: usize = 1_500;

/// How often the server is killed in one run.
const KILLS: usize = 5;

/// After how many outcomes each kill comes: spread over the run, at other places in each round.
fn moments(round: usize) -> Vec<usize> {
    let step = ORDERS / (KILLS + 1);
    (1..=KILLS).map(|kill| kill * step - round * 37 % step).collect()
}

fn run(kind: Kind, server: &mut Server, round: usize) -> Value {
    let of = format!("{} {round}", kind.name());
    let folder = Folder::new();
    write_orders(folder.path(), ORDERS);
    let store = kind.store_on(server, &format!("k{round}"));
    let (pattern, fail) = (pattern_of(round).0, fail_of(round));
    let seed = round.to_string();
    let options = ["--history", "run.jsonl", "--seed", &seed, "--fail", fail];
    let run = Plan::alone(pattern).start(folder.path(), &store, &options);
    let mut down_ms = Vec::new();
    for moment in moments(round) {
        assert!(run.has_told(moment), "{of}: it ended before");
        let begun = Instant::now();
        server.kill().expect("it is killed");
        server.restart().expect("it starts again");
        down_ms.push(begun.elapsed().as_millis() as u64);
    }
    let (report, told) = run.report(ORDERS, &of);
    assert_eq!(told.missing_in(&store), Vec::<String>::new(), "{of}");
    assert_eq!(told.changed_in(&store), Vec::<String>::new(), "{of}");
    Merged::read(folder.path(), &["run.jsonl"], None).assert_valid(folder.path(), None, &of);
    json!({ "part": "kill", "store": kind.name(), "round": round, "pattern": pattern,
        "fail": fail, "kills": down_ms.len(), "down_ms": down_ms,
        "accepted": told.accepted.len(), "outcomes": told.outcomes.len(), "lost": 0,
        "invariants": report["invariants"] })
}

#[test]
fn a_server_that_is_killed_under_load_has_lost_nothing() {
    thread::scope(|scope| {
        for kind in Kind::servers_of_environment() {
            scope.spawn(move || {
                let mut server = kind.start(&data_folder(&format!("kills-{}", kind.name())));
                for round in rounds() {
                    print(&run(kind, &mut server, round));
                }
            });
        }
    });
}

#[test]
fn the_kills_of_a_round_are_apart_and_inside_the_run() {
    for round in 0..100 {
        let moments = moments(round);
        assert!(moments.windows(2).all(|pair| pair[0] < pair[1]), "{moments:?}");
        assert!(moments[0] >= 1 && moments[KILLS - 1] < ORDERS, "{moments:?}");
    }
}
