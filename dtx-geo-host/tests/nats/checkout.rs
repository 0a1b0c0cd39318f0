//! Checkouts: a coordinator in one region, which pays in another one and takes from the pool of
//! all.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    plan::{Ask, BUYS, NAMES, PAYS, PRICE, Told},
    proxy::Line,
    world::{Setup, World},
};

const STOCK: [u64; 3] = [6, 27, 27];
const CENTS: u64 = 100_000;

/// Longer than a test.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// Submits so many checkouts of one unit, each with a key of its own.
pub(crate) fn submit(
    world: &Arc<World>,
    name: &str,
    count: u64,
    deadline: Duration,
) -> JoinSet<String> {
    let mut checkouts = JoinSet::new();
    for number in 0..count {
        let (world, key) = (world.clone(), format!("{name}-{number}"));
        let ask = Ask::Checkout { key, units: 1, cents: PRICE, deadline };
        checkouts.spawn(async move { ended(world.ask(BUYS, ask).await) });
    }
    checkouts
}

fn ended(told: Told) -> String {
    match told {
        Told::Ended(outcome) => outcome,
        other => panic!("a checkout was answered {other:?}"),
    }
}

pub(crate) async fn pay(world: &World, key: &str, cents: u64) -> String {
    let ask = Ask::Checkout { key: key.into(), units: 0, cents, deadline: LONG };
    ended(world.ask(BUYS, ask).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkouts_sell_what_they_say_while_a_way_is_cut_and_their_coordinator_is_killed() {
    let world = World::with("checkout", Setup { cents: Some(CENTS), ..Setup::of(STOCK) }).await;
    // Units stay where so many look at them, and are held there for the checkouts.
    let lookers = world.lookers(&[1, 2]);
    let first = submit(&world, "first", 10, LONG).join_all().await;
    assert_eq!(first, ["committed"; 10], "there is enough of everything");
    // Who pays cannot be reached: those in a hurry give up, and the others wait.
    world.set(BUYS, PAYS, Line::Silent);
    let mut patient = submit(&world, "patient", 8, LONG);
    let hasty = submit(&world, "hasty", 4, Duration::from_secs(3)).join_all().await;
    assert_eq!(hasty, ["aborted"; 4], "nobody can pay");
    world.set(BUYS, PAYS, Line::Broken);
    world.kill(BUYS);
    world.restart(BUYS).await;
    let hasty = submit(&world, "hastier", 4, Duration::from_secs(3)).join_all().await;
    assert_eq!(hasty, ["aborted"; 4], "nobody can pay");
    assert!(patient.try_join_next().is_none(), "nobody can pay");
    world.set(BUYS, PAYS, Line::Open);
    assert_eq!(patient.join_all().await, ["committed"; 8], "they have waited for it");
    lookers.stop().await;
    // What was held for the others is free again.
    world.until_none_held().await;
    let mut committed = 18;
    let mut left = submit(&world, "left", 44, LONG);
    while let Some(outcome) = left.join_next().await {
        committed += u64::from(outcome.expect("it does not panic") == "committed");
    }
    let mut number = 0;
    world
        .look("all is sold", async || {
            number += 1;
            let last = submit(&world, &format!("last-{number}"), 1, LONG).join_all().await;
            committed += u64::from(last == ["committed"]);
            committed == STOCK.iter().sum::<u64>()
        })
        .await;
    assert_eq!(submit(&world, "late", 1, LONG).join_all().await, ["aborted"], "all is sold");
    // What was paid is the price of what was sold.
    assert_eq!(pay(&world, "rest", CENTS - committed * PRICE).await, "committed");
    assert_eq!(pay(&world, "more", 1).await, "aborted");
    let shares = world.close(committed).await;
    println!("sold in {NAMES:?}: {shares:?}");
    assert!(shares[1] + shares[2] > 0, "no checkout has crossed");
}
