//! Leased grants: what a region had that is lost is sold by the others, but for its window.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    plan::{Ask, Leases, NAMES, Told},
    proxy::Line,
    world::{Bought, Setup, World},
};

const WINDOW: u64 = 8;
const LEASE: Duration = Duration::from_secs(3);

/// The buddy of both others. Its own buddy is the second region.
const BUDDY: usize = 0;
/// The region that is lost where its buddy is there.
const LOST: usize = 2;
const OTHERS: [usize; 2] = [0, 1];

/// What the lost region has, sells, and holds, before it is lost.
const STOCK: u64 = 60;
const SPENT: u64 = 20;
const HELD: u64 = 3;

/// What is brought in elsewhere once it is lost.
const MORE: u64 = 5;

/// How many buyers there are in each region, at once.
const BUYERS: usize = 3;

async fn start(test: &str, stock: [u64; 3]) -> Arc<World> {
    let leases = Some(Leases { window: WINDOW, lease: LEASE });
    World::with(test, Setup { leases, ..Setup::of(stock) }).await
}

fn unsold(world: &World) -> u64 {
    let unsold = world.stock().checked_sub(world.sold());
    unsold.unwrap_or_else(|| panic!("{} of {} were sold", world.sold(), world.stock()))
}

/// Waits until the buddy of a region, which has more than its window, has acknowledged all that it
/// has spent.
async fn until_acknowledged(world: &World, region: usize) {
    world.look("the buddy knows what is spent", async || world.free(region).await == WINDOW).await;
}

/// Sells and holds in the region that is to be lost, and waits until its buddy knows of it. Gives
/// the holds, and a moment before the lease that says so.
async fn spend(world: &World) -> ([u64; 2], Instant) {
    let is_spent = async || match world.buy(LOST, 1, true).await {
        Bought::Sold { crossed: false } => world.sold() == SPENT,
        // It has waited too long for credit.
        Bought::Unavailable(_) | Bought::Nothing => false,
        other => panic!("a buyer got {other:?}"),
    };
    world.look("it sells what it is to sell", is_spent).await;
    let first = world.hold(LOST, HELD).await;
    let began = Instant::now();
    let second = world.hold(LOST, HELD).await;
    until_acknowledged(world, LOST).await;
    ([first, second], began)
}

/// Waits until the buddy has taken what the lost region had left. It does not before the lease is
/// over.
async fn until_taken(world: &World, began: Instant) {
    world.look("the buddy takes what is left", async || world.free(BUDDY).await > 0).await;
    let took = began.elapsed();
    assert!(took >= LEASE, "taken after {took:?}");
}

/// Buys until other regions cannot be reached, and gives how many units it got and their names. It
/// is never told that all is sold.
async fn buy_until_missed(world: &World, home: usize) -> (u64, Vec<String>) {
    let mut got = 0;
    loop {
        match world.buy(home, 1, got % 2 == 0).await {
            Bought::Sold { .. } => got += 1,
            Bought::Unavailable(unreachable) => return (got, unreachable),
            Bought::SoldOut => panic!("{} says that all is sold", NAMES[home]),
            Bought::Nothing => {}
        }
    }
}

/// Buys until these regions and no others cannot be reached, and gives how many units it got. One
/// that is slow for once may be among them, and is there the next time.
async fn buy_until_these_are_missed(world: &World, home: usize, missed: &[&str]) -> u64 {
    let mut got = 0;
    world
        .look("these alone are missed", async || {
            let (more, unreachable) = buy_until_missed(world, home).await;
            got += more;
            unreachable == missed
        })
        .await;
    got
}

/// Several buyers at once in each of these regions, until so many units are sold in all and each
/// region says that those who are missed cannot be reached. Gives how many were sold.
async fn sell(world: &Arc<World>, homes: &[usize], all: u64, missed: &[&str]) -> u64 {
    let mut buyers = JoinSet::new();
    for home in homes.repeat(BUYERS) {
        let world = Arc::clone(world);
        buyers.spawn(async move { buy_until_missed(&world, home).await.0 });
    }
    let mut sold: u64 = buyers.join_all().await.iter().sum();
    // Those who waited too long for credit have said so too.
    world
        .look("all that can be sold is sold", async || {
            for home in homes {
                sold += buy_until_missed(world, *home).await.0;
            }
            sold >= all
        })
        .await;
    for home in homes {
        sold += buy_until_these_are_missed(world, *home, missed).await;
    }
    assert_eq!(sold, all, "sold in {homes:?}");
    sold
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_region_had_is_sold_but_for_its_window_and_it_goes_on_within_that() {
    let world = start("lease-kill", [0, 0, STOCK]).await;
    let ([sold, freed], began) = spend(&world).await;
    world.kill(LOST);
    until_taken(&world, began).await;
    for region in OTHERS {
        world.restock(region, MORE).await;
    }
    let taken = STOCK - SPENT - 2 * HELD - WINDOW;
    let others = sell(&world, &OTHERS, taken + 2 * MORE, &[NAMES[LOST]]).await;
    assert_eq!(world.sold(), SPENT + others);
    // It is back, with what it held and with its window. What others asked it for while it was
    // gone it has read, so some of that may be there now.
    world.restart(LOST).await;
    world.until_reached(LOST).await;
    world
        .look("what it was left is sold", async || {
            let bought = world.buy(LOST, 1, true).await;
            assert_ne!(bought, Bought::SoldOut, "{} were left", unsold(&world));
            unsold(&world) == 2 * HELD
        })
        .await;
    // All that is left is held.
    for home in OTHERS {
        world
            .look("none is free", async || world.buy(home, 1, false).await == Bought::SoldOut)
            .await;
    }
    assert_eq!(unsold(&world), 2 * HELD, "one of them sold what is held");
    world.take(LOST, sold, HELD).await;
    assert_eq!(world.ask(LOST, Ask::Cancel { id: freed }).await, Told::Cancelled);
    world.sell_out().await;
    let shares = world.close(STOCK + 2 * MORE).await;
    println!("sold in {NAMES:?}: {shares:?}");
    assert!(shares[LOST] <= SPENT + WINDOW + 2 * HELD, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_cut_off_sells_its_window_while_the_others_sell_the_rest() {
    let world = start("lease-cut", [0, 0, STOCK]).await;
    let (held, began) = spend(&world).await;
    for region in OTHERS {
        world.set(LOST, region, Line::Silent);
    }
    let taken = STOCK - SPENT - 2 * HELD - WINDOW;
    let cut_off = sell(&world, &[LOST], WINDOW, &[NAMES[0], NAMES[1]]);
    let others = async {
        until_taken(&world, began).await;
        sell(&world, &OTHERS, taken, &[NAMES[LOST]]).await;
    };
    tokio::join!(cut_off, others);
    // What it holds it sells without asking anybody.
    for id in held {
        world.take(LOST, id, HELD).await;
    }
    assert_eq!(world.sold(), STOCK, "all is sold, and nobody can know it");
    for (home, missed) in
        [(LOST, [NAMES[0], NAMES[1]].as_slice()), (0, &[NAMES[LOST]]), (1, &[NAMES[LOST]])]
    {
        assert_eq!(buy_until_these_are_missed(&world, home, missed).await, 0);
    }
    for region in OTHERS {
        world.set(LOST, region, Line::Open);
    }
    world.sell_out().await;
    let shares = world.close(STOCK).await;
    assert_eq!(shares[LOST], SPENT + WINDOW + 2 * HELD);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_whose_buddy_is_killed_sell_their_windows_until_it_is_back() {
    const EACH: u64 = 30;
    let world = start("lease-buddy", [EACH; 3]).await;
    for region in 0..NAMES.len() {
        until_acknowledged(&world, region).await;
    }
    world.kill(BUDDY);
    // Both have more, and nobody is there who could acknowledge it.
    sell(&world, &[1, 2], 2 * WINDOW, &[NAMES[BUDDY]]).await;
    world.restart(BUDDY).await;
    world.sell_out().await;
    world.close(3 * EACH).await;
}
