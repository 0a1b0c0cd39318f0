//! Ways that are cut, and healed.

use crate::{
    plan::NAMES,
    proxy::Line,
    world::{Bought, World},
};

/// Buys in a region until it says that others cannot be reached, and gives their names. It never
/// says that all is sold.
async fn buy_until_cut(world: &World, home: usize) -> Vec<String> {
    loop {
        match world.buy(home, 1, false).await {
            Bought::Unavailable(unreachable) => return unreachable,
            Bought::SoldOut => panic!("{} says that all is sold", NAMES[home]),
            Bought::Sold { .. } | Bought::Nothing => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_cut_off_sells_its_own_and_says_whom_it_cannot_reach() {
    let world = World::start("cut", [30, 20, 10]).await;
    // Nobody tells the one that the other is away, and the other way is broken.
    world.set(2, 0, Line::Silent);
    world.set(2, 1, Line::Broken);
    for _ in 0..5 {
        assert_eq!(world.buy(2, 1, true).await, Bought::Sold { crossed: false });
        // Those who are not cut off from each other may move their units.
        for home in [0, 1] {
            let bought = world.buy(home, 1, true).await;
            assert!(matches!(bought, Bought::Sold { .. }), "{}: {bought:?}", NAMES[home]);
        }
    }
    assert_eq!(world.sold(), 15);
    assert_eq!(buy_until_cut(&world, 2).await, [NAMES[0], NAMES[1]]);
    assert_eq!(world.sold(), 20, "all that it had was sold");
    assert!(world.way(2, 1).refused() > 0, "it goes on trying");
    // One of the two comes back, and what it has can be bought. The third one is still missed.
    world.set(2, 1, Line::Open);
    world
        .look("another region gives", async || {
            matches!(world.buy(2, 1, true).await, Bought::Sold { .. })
        })
        .await;
    let mut unreachable = buy_until_cut(&world, 2).await;
    // What was asked before the way was open again may say so afterwards.
    while unreachable.len() > 1 {
        unreachable = buy_until_cut(&world, 2).await;
    }
    assert_eq!(unreachable, [NAMES[0]]);
    world.set(2, 0, Line::Open);
    world.sell_out().await;
    world.close(60).await;
}
