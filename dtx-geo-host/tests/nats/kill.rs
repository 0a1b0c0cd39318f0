//! Processes that are killed while buyers buy.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::{
    plan::NAMES,
    world::{Bought, World},
};

/// How many buyers there are in each region, at once.
const BUYERS: usize = 4;

/// Buys until all is sold, or so many units are.
async fn shop(world: Arc<World>, home: usize, until: u64) {
    for turn in 0_u64.. {
        let bought = world.buy(home, 1 + turn % 2, turn % 3 == 0).await;
        if bought == Bought::SoldOut || world.sold() >= until {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_killed_goes_on_with_what_its_store_has() {
    let world = World::start("kill", [150, 150, 150]).await;
    let mut shops = JoinSet::new();
    for home in 0..NAMES.len() {
        (0..BUYERS).for_each(|_| _ = shops.spawn(shop(world.clone(), home, 440)));
    }
    for (region, after) in [(0, 60), (1, 160), (2, 260), (1, 360)] {
        world.until_sold(after).await;
        world.kill(region);
        world.restart(region).await;
    }
    while let Some(ended) = shops.join_next().await {
        ended.expect("it does not panic");
    }
    world.sell_out().await;
    world.close(450).await;
}
