//! Buyers in all regions, whose ways to each other are long.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::{
    plan::NAMES,
    world::{Bought, World},
};

/// How many buyers there are in each region, at once, and how often each of them buys at most.
const BUYERS: [(usize, u64); 3] = [(1, 15), (1, 15), (8, u64::MAX)];

/// What the buyers of a run have come by.
#[derive(Debug, Default)]
struct Shown {
    home: u64,
    crossed: u64,
}

/// Buys until all is sold. Every second purchase is pinned, every third one is of three units.
async fn shop(world: Arc<World>, home: usize, most: u64) -> Shown {
    let mut shown = Shown::default();
    for turn in 0..most {
        let units = if turn % 3 == 2 { 3 } else { 1 };
        match world.buy(home, units, turn % 2 == 0).await {
            Bought::Sold { crossed: true } => shown.crossed += 1,
            Bought::Sold { crossed: false } => shown.home += 1,
            Bought::SoldOut if units == 1 => break,
            _ => {}
        }
    }
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_sell_each_unit_once() {
    let world = World::start("sales", [70, 80, 0]).await;
    // Units stay where so many look at them, and those who want them elsewhere get them there.
    let lookers = world.lookers(&[0, 1]);
    let mut shops = JoinSet::new();
    for (home, (buyers, most)) in BUYERS.into_iter().enumerate() {
        (0..buyers).for_each(|_| _ = shops.spawn(shop(world.clone(), home, most)));
    }
    // The last units are for those who buy.
    world.look("most are sold", async || world.sold() >= 100).await;
    lookers.stop().await;
    let mut shown = Shown::default();
    while let Some(one) = shops.join_next().await {
        let one = one.expect("it does not panic");
        shown.home += one.home;
        shown.crossed += one.crossed;
    }
    println!("{shown:?}");
    assert!(shown.home > 0 && shown.crossed > 0, "{shown:?}");
    world.sell_out().await;
    let shares = world.close(150).await;
    println!("sold in {NAMES:?}: {shares:?}");
}
