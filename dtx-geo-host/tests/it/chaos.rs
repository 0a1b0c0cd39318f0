//! Regions under every kind of fault, by seeds.

use std::time::Duration;

use dtx_geo::{
    model::Rng,
    pool::{Answer, Grants, HoldId, PoolSettings},
};

use crate::{
    link::Net,
    world::{NAMES, TTL, World},
};

/// How long one question waits before it is asked again.
const WAIT: Duration = Duration::from_millis(900);

/// What the run has come by.
#[derive(Debug, Default)]
struct Shown {
    sold: u64,
    crossed: u64,
    restarts: u64,
    cuts: u64,
    sold_out: u64,
    unavailable: u64,
}

async fn buy(world: &World, rng: &mut Rng, id: u128, shown: &mut Shown) {
    let (home, units) = (rng.below(3) as usize, 1 + rng.below(3));
    let (hold, since) = (HoldId(id), world.watch.now());
    let handle = world.at(home);
    let reserve = handle.reserve(hold, units, TTL);
    let Ok(Ok(told)) = tokio::time::timeout(Duration::from_secs(4), reserve).await else { return };
    match told.answer {
        Answer::Reserved { crossed, .. } => shown.crossed += u64::from(crossed),
        Answer::SoldOut { .. } => {
            shown.sold_out += 1;
            return world.watch.sold_out(since, units);
        }
        Answer::Unavailable { .. } => {
            shown.unavailable += 1;
            return;
        }
        _ => return,
    }
    match rng.below(4) {
        0 => _ = tokio::time::timeout(WAIT, handle.cancel(hold)).await,
        // Its time will be over.
        1 => {}
        _ => {
            if let Ok(Ok(told)) = tokio::time::timeout(WAIT, handle.confirm(hold)).await
                && told.answer == Answer::Confirmed
            {
                shown.sold += units;
                world.watch.sold(told.at, hold, units);
            }
        }
    }
}

async fn fault(world: &mut World, rng: &mut Rng, shown: &mut Shown) {
    let region = rng.below(3) as usize;
    match rng.below(6) {
        0 | 1 => {
            shown.restarts += 1;
            world.crash(region);
            world.pass(Duration::from_millis(rng.below(3_000))).await;
            world.restart(region).await;
        }
        2 => {
            shown.cuts += 1;
            world.net.isolate(NAMES[region], &NAMES);
        }
        3 => world.net.heal(),
        _ => world.pass(Duration::from_millis(rng.below(1_500))).await,
    }
}

async fn run(seed: u64, shown: &mut Shown) {
    let mut rng = Rng::new(seed, 5);
    let grants = match seed % 2 {
        0 => Grants::Permanent,
        _ => Grants::Leased { window: 6, lease: Duration::from_millis(1_500) },
    };
    let settings = PoolSettings { grants, ..PoolSettings::default() };
    let stock = [rng.below(30), rng.below(30), rng.below(30)];
    let mut world = World::new(stock, settings, Net::new(seed, 120)).await;
    for id in 0..60 {
        buy(&world, &mut rng, id, shown).await;
        if rng.chance(300) {
            fault(&mut world, &mut rng, shown).await;
        }
    }
    world.net.calm();
    world.pass(TTL * 4).await;
    let sums = world.watch.sums();
    let all: u64 = stock.iter().sum();
    assert_eq!((sums.held, sums.moving), (0, 0), "seed {seed}: {sums:?}");
    assert_eq!(sums.free + sums.sold as i64, all as i64, "seed {seed}: {sums:?}");
}

#[tokio::test(start_paused = true)]
async fn faults_of_all_kinds_break_no_invariant() {
    let mut shown = Shown::default();
    for seed in 0..60 {
        run(seed, &mut shown).await;
    }
    println!("{shown:?}");
    let Shown { sold, crossed, restarts, cuts, sold_out, unavailable } = shown;
    assert!(sold > 500 && crossed > 20 && restarts > 100, "{shown:?}");
    assert!(cuts > 50 && sold_out > 20 && unavailable > 20, "{shown:?}");
}
