//! Processes that are killed while buyers buy.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinSet};

use crate::{
    hanging::{At, Hang},
    plan::NAMES,
    world::{Bought, World},
};

/// How many buyers there are in each region, at once.
const BUYERS: usize = 4;

/// How many units are brought in before each kill.
const UNITS: u64 = 30;

/// How regions are killed: at a write, or anywhere.
const HANGS: [Option<Hang>; 5] = [
    Some(Hang { at: At::Gift, lands: false }),
    Some(Hang { at: At::Hold, lands: true }),
    None,
    Some(Hang { at: At::Hold, lands: false }),
    Some(Hang { at: At::Gift, lands: true }),
];

/// Where units are brought in.
#[derive(Clone, Copy, Debug)]
struct Market {
    is_open: bool,
    /// Where nobody buys.
    is_asleep: Option<usize>,
}

/// Buys for as long as units are brought in.
async fn shop(world: Arc<World>, home: usize, mut market: watch::Receiver<Market>) {
    let mut turn = 0_u64;
    loop {
        let Market { is_open, is_asleep } = *market.borrow_and_update();
        if !is_open {
            return;
        }
        turn += 1;
        let waits = is_asleep == Some(home)
            || world.buy(home, 1 + turn % 2, turn.is_multiple_of(3)).await == Bought::SoldOut;
        if waits && market.changed().await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_killed_goes_on_with_what_its_store_has() {
    let world = World::start("kill", [UNITS; 3]).await;
    let (open, market) = watch::channel(Market { is_open: true, is_asleep: None });
    let mut shops = JoinSet::new();
    for home in 0..NAMES.len() {
        (0..BUYERS).for_each(|_| _ = shops.spawn(shop(world.clone(), home, market.clone())));
    }
    for hang in HANGS {
        for region in 0..NAMES.len() {
            let is_asleep = hang.and_then(|hang| (hang.at == At::Gift).then_some(region));
            let restock = async {
                world.restock(region, UNITS).await;
                open.send_replace(Market { is_open: true, is_asleep });
            };
            let kill = async {
                match hang {
                    Some(hang) => world.kill_at(region, hang).await,
                    None => world.kill(region),
                }
                world.restart(region).await;
            };
            tokio::join!(restock, kill);
        }
    }
    open.send_replace(Market { is_open: false, is_asleep: None });
    while let Some(ended) = shops.join_next().await {
        ended.expect("it does not panic");
    }
    world.sell_out().await;
    world.close(world.stock()).await;
}
