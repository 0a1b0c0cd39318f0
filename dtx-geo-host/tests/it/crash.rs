//! A process that is gone, or a write that fails, at every write.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use dtx_geo::pool::{Answer, HoldId, PoolSettings};

use crate::{
    link::Net,
    store::Break,
    watch::Sums,
    world::{TTL, World},
};

/// How long one question waits before it is asked again.
const WAIT: Duration = Duration::from_millis(900);

/// Asks until there is an answer, also of a process that was started meanwhile.
macro_rules! settle {
    ($world:ident, $index:expr, $handle:ident => $ask:expr) => {{
        let mut attempts = 0;
        loop {
            $world.mend().await;
            let $handle = $world.at($index);
            if let Ok(Ok(told)) = tokio::time::timeout(WAIT, $ask).await {
                if !matches!(told.answer, Answer::Busy | Answer::Unavailable { .. }) {
                    break told;
                }
            }
            attempts += 1;
            assert!(attempts < 200, "no answer");
        }
    }};
}

/// Reserves in two regions more than they have, sells some, cancels some, and sells what is left.
async fn run(how: Break, region: usize, at: u64, faulty: u32) -> bool {
    let net = Net::new(at, faulty);
    let broken = |index| (index == region).then_some((how, at));
    let mut world = World::broken([6, 6, 6], PoolSettings::default(), net, broken).await;
    let mut sold = 0;
    for id in 0..10_u128 {
        let (hold, units, home) = (HoldId(id), 1 + (id / 2 % 2) as u64, (id % 2) as usize);
        let reserved = settle!(world, home, node => node.reserve(hold, units, TTL));
        if !matches!(reserved.answer, Answer::Reserved { .. }) {
            continue;
        }
        let pinned = settle!(world, home, node => node.pin(hold));
        match (pinned.answer, id % 3) {
            (Answer::Pinned, 0) => {
                let told = settle!(world, home, node => node.cancel(hold));
                assert!(matches!(told.answer, Answer::Cancelled | Answer::NotHere), "{told:?}");
            }
            (Answer::Pinned, _) => {
                let told = settle!(world, home, node => node.confirm(hold));
                assert_eq!(told.answer, Answer::Confirmed);
                world.watch.sold(told.at, hold, units);
                sold += units;
            }
            (Answer::Expired | Answer::NotHere, _) => {}
            other => panic!("{other:?}"),
        }
    }
    let was_reached =
        world.regions[region].rows.writes.load(SeqCst) > at || world.regions[region].node.is_none();
    world.net.calm();
    world.mend().await;
    // Holds of reserves that were answered elsewhere end by themselves; then nothing is open.
    world.pass(TTL * 3).await;
    world.mend().await;
    let sums = world.watch.sums();
    assert_eq!((sums.held, sums.sold), (0, sold), "{how:?} of {region} at {at}");
    assert_eq!(sums.free + sums.moving, 18 - sold as i64);
    for id in 100..200 {
        world.mend().await;
        let since = world.watch.now();
        let told = settle!(world, 0, node => node.reserve(HoldId(id), 1, TTL));
        if let Answer::SoldOut { .. } = told.answer {
            world.watch.sold_out(since, 1);
            break;
        }
        let told = settle!(world, 0, node => node.confirm(HoldId(id)));
        assert_eq!(told.answer, Answer::Confirmed);
    }
    assert_eq!(world.watch.sums(), Sums { free: 0, held: 0, sold: 18, moving: 0 });
    was_reached
}

async fn every_write(how: Break, faulty: u32) {
    for region in 0..2 {
        let mut reached = 0;
        for at in 0..60 {
            if !run(how, region, at, faulty).await {
                break;
            }
            reached += 1;
        }
        println!("{how:?}: {reached} writes of region {region}");
        assert!(reached >= 8, "{reached} writes of region {region}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_every_write_breaks_nothing() {
    every_write(Break::CrashBefore, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_every_write_breaks_nothing() {
    every_write(Break::CrashAfter, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_every_write_breaks_nothing_over_a_bad_network() {
    every_write(Break::CrashAfter, 150).await;
}

#[tokio::test(start_paused = true)]
async fn every_write_that_fails_is_made_again() {
    every_write(Break::Fail, 0).await;
}

#[tokio::test(start_paused = true)]
async fn every_write_whose_answer_is_lost_is_made_once() {
    every_write(Break::LoseAnswer, 0).await;
}
