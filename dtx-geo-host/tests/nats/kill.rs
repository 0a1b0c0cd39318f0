//! Processes that are killed while buyers buy.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinSet};

use crate::{
    hanging::Hang,
    plan::NAMES,
    world::{Bought, World},
};

/// How many buyers there are in each region, at once.
const BUYERS: usize = 4;

/// How many units are brought in before each kill.
const UNITS: u64 = 30;

/// Whether units are brought in, and how often they were.
#[derive(Clone, Copy, Debug)]
struct Market {
    is_open: bool,
    restocks: u32,
}

/// Buys for as long as units are brought in.
async fn shop(world: Arc<World>, home: usize, mut market: watch::Receiver<Market>) {
    let mut turn = 0_u64;
    while market.borrow_and_update().is_open {
        turn += 1;
        let bought = world.buy(home, 1 + turn % 2, turn % 3 == 0).await;
        if bought == Bought::SoldOut && market.changed().await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_killed_goes_on_with_what_its_store_has() {
    let world = World::start("kill", [UNITS; 3]).await;
    let (open, market) = watch::channel(Market { is_open: true, restocks: 0 });
    let mut shops = JoinSet::new();
    for home in 0..NAMES.len() {
        (0..BUYERS).for_each(|_| _ = shops.spawn(shop(world.clone(), home, market.clone())));
    }
    for when in [Some(Hang::Before), Some(Hang::After), None, Some(Hang::Before)] {
        for region in 0..NAMES.len() {
            // All want what is here alone, so that it is given and held for others.
            world.restock(region, UNITS).await;
            open.send_modify(|market| market.restocks += 1);
            match when {
                Some(when) => world.kill_at(region, when).await,
                None => world.kill(region),
            }
            world.restart(region).await;
        }
    }
    open.send_modify(|market| market.is_open = false);
    while let Some(ended) = shops.join_next().await {
        ended.expect("it does not panic");
    }
    world.sell_out().await;
    world.close(world.stock()).await;
}
