//! Several coordinators on one store: how they share its shards, and what becomes of a share when
//! its coordinator leaves, dies, or stands still.

use std::{collections::BTreeMap, time::Duration};

use dtx::{
    coordinator::CoordinatorSettings,
    ids::ShardCount,
    prelude::*,
    store::{Filter, Status},
};
use tokio::time::Instant;

use crate::kit::*;

const SHARDS: usize = 16;
const SECOND: Duration = Duration::from_secs(1);

fn sharing() -> CoordinatorSettings {
    CoordinatorSettings { spread_shards: Some(true), ..quick() }
}

fn world() -> World {
    World::with(2, SHARDS as u16, InMemoryTransport::new())
}

fn owned(nodes: &[&Node]) -> Vec<usize> {
    nodes.iter().map(|node| node.dtx.info().shards_owned).collect()
}

async fn spread(nodes: &[&Node], wanted: &[usize]) {
    eventually("the shards are shared out", async || {
        let mut found = owned(nodes);
        found.sort_unstable();
        found == wanted
    })
    .await;
}

/// Some transactions of every pattern, from these nodes in turn.
async fn submit(nodes: &[&Node], rounds: usize) -> usize {
    let mut count = 0;
    for round in 0..rounds {
        for pattern in Pattern::ALL {
            let node = nodes[(round + count) % nodes.len()];
            // A node may have given its shard away in the very moment.
            for _ in 0..20 {
                let one = chain(pattern, &["a", "b", "c"]).build().unwrap();
                if within(node.dtx.submit(one)).await.is_ok() {
                    count += 1;
                    break;
                }
                pass(Duration::from_millis(100)).await;
            }
        }
    }
    count
}

async fn all_sound(node: &Node, least: usize) {
    settle(node).await;
    assert!(is_written_ahead(&node.log));
    let page = node.dtx.list(&Filter { limit: 10_000, ..Filter::default() }).await.unwrap();
    assert!(page.items.len() >= least, "{} of {least}", page.items.len());
    for record in page.items {
        let Status::Finished(outcome) = record.summary.status else {
            panic!("{} is {:?}", record.tx, record.summary.status)
        };
        let effects = node.script.effects(record.tx);
        assert!(is_sound(outcome, &effects), "{} {outcome} {effects:?}", record.summary.pattern);
        // Handed over and back, it is still no poison.
        assert!(record.summary.resumes <= 8, "{}", record.summary.resumes);
    }
}

#[tokio::test(start_paused = true)]
async fn the_shards_are_shared_out_when_one_joins_and_when_one_leaves() {
    let world = world();
    let hosts = world.node(quick(), &["a", "b", "c"]).await;
    within(hosts.dtx.shutdown(Duration::ZERO)).await;
    let first = world.node(sharing(), &["a", "b", "c"]).await;
    assert_eq!(owned(&[&first]), [SHARDS], "alone it has all");
    world.script.rule(|_| Say::After(Duration::from_millis(300)));
    let mut count = submit(&[&first], 2).await;
    let second = world.node(sharing(), &[]).await;
    spread(&[&first, &second], &[8, 8]).await;
    count += submit(&[&first, &second], 2).await;
    let third = world.node(sharing(), &[]).await;
    let begun = Instant::now();
    spread(&[&first, &second, &third], &[5, 5, 6]).await;
    assert!(begun.elapsed() <= 3 * SECOND, "{:?}", begun.elapsed());
    count += submit(&[&first, &second, &third], 2).await;
    // One that leaves gives its share back at once.
    within(second.dtx.shutdown(Duration::ZERO)).await;
    let begun = Instant::now();
    spread(&[&first, &third], &[8, 8]).await;
    assert!(begun.elapsed() <= 2 * SECOND, "{:?}", begun.elapsed());
    all_sound(&first, count).await;
    // Steady: nobody gives anything back any more.
    let before = owned(&[&first, &third]);
    for _ in 0..20 {
        pass(SECOND).await;
        assert_eq!(owned(&[&first, &third]), before);
    }
}

#[tokio::test(start_paused = true)]
async fn the_share_of_a_dead_one_is_taken_over_within_its_lease_and_two_seconds() {
    for ttl in [3 * SECOND, 10 * SECOND] {
        let world = world();
        let settings = CoordinatorSettings { lease_ttl: ttl, ..sharing() };
        let first = world.node(settings.clone(), &["a", "b", "c"]).await;
        let second = world.node(settings.clone(), &[]).await;
        let third = world.node(settings, &[]).await;
        spread(&[&first, &second, &third], &[5, 5, 6]).await;
        world.script.rule(|_| Say::After(Duration::from_millis(700)));
        let count = submit(&[&second, &third], 3).await;
        second.freeze(true);
        let died = Instant::now();
        drop(second);
        spread(&[&first, &third], &[8, 8]).await;
        let took = died.elapsed();
        assert!(took <= ttl + 2 * SECOND, "{took:?} with a lease of {ttl:?}");
        all_sound(&first, count).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_given_back_is_not_driven_again_under_the_same_epoch() {
    let world = world();
    let settings = CoordinatorSettings { lease_ttl: 300 * SECOND, ..sharing() };
    let first = world.node(settings.clone(), &["a", "b", "c"]).await;
    world.script.rule(|_| Say::After(Duration::from_millis(300)));
    let mut count = submit(&[&first], 6).await;
    first.store.fail_releases(true);
    let second = world.node(settings, &[]).await;
    spread(&[&first], &[8]).await;
    within(second.dtx.shutdown(Duration::ZERO)).await;
    // For the store the first one still has what it could not give back.
    pass(10 * SECOND).await;
    assert_eq!(owned(&[&first]), [8], "taken with the memory of what was dropped");
    first.store.fail_releases(false);
    spread(&[&first], &[SHARDS]).await;
    count += submit(&[&first], 6).await;
    all_sound(&first, count).await;
    let shards = ShardCount::new(SHARDS as u16).unwrap();
    let mut accepted = BTreeMap::new();
    for seen in world.log.lock().unwrap().iter() {
        let Seen::Sent(sent) = seen else { continue };
        let of = (sent.tx.shard(shards), sent.sequence);
        let tx = *accepted.entry(of).or_insert(sent.tx);
        assert_eq!(tx, sent.tx, "two transactions were accepted as {of:?}");
    }
    assert!(accepted.len() >= count, "{} of {count}", accepted.len());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_given_back_keeps_nobody_from_what_is_free() {
    let world = world();
    let settings = CoordinatorSettings { lease_ttl: 300 * SECOND, ..sharing() };
    let first = world.node(settings.clone(), &[]).await;
    let second = world.node(settings.clone(), &[]).await;
    spread(&[&first, &second], &[8, 8]).await;
    first.store.fail_releases(true);
    let third = world.node(settings, &[]).await;
    pass(10 * SECOND).await;
    let dropped = 8 - owned(&[&first])[0];
    assert!(dropped >= 2, "a third is for each of them");
    // They leave what they have. What the first one dropped and could not give back stays so.
    for other in [second, third] {
        within(other.dtx.shutdown(Duration::ZERO)).await;
    }
    spread(&[&first], &[SHARDS - dropped]).await;
    first.store.fail_releases(false);
    spread(&[&first], &[SHARDS]).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_stood_still_for_longer_than_its_lease_harms_nothing_and_joins_again() {
    for seed in 0..4_u64 {
        let world = world();
        let first = world.node(sharing(), &["a", "b", "c"]).await;
        let second = world.node(sharing(), &[]).await;
        spread(&[&first, &second], &[8, 8]).await;
        let slow = Duration::from_millis(400 + 250 * seed);
        world.script.rule(move |_| Say::After(slow));
        let mut count = submit(&[&second], 3).await;
        // It stands still in the middle of its work, for longer than its lease.
        pass(Duration::from_millis(90 * seed)).await;
        second.freeze(true);
        eventually("its share is taken over", async || first.dtx.info().shards_owned == SHARDS)
            .await;
        count += submit(&[&first], 1).await;
        pass(SECOND * (seed as u32)).await;
        // It wakes with everything that it was about to write and to send.
        second.freeze(false);
        spread(&[&first, &second], &[8, 8]).await;
        count += submit(&[&first, &second], 1).await;
        all_sound(&first, count).await;
        let both = owned(&[&first, &second]);
        assert_eq!(both.iter().sum::<usize>(), SHARDS, "no shard has two owners in the books");
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_store_is_not_shared_the_others_stand_by() {
    let world = world();
    let first = world.node(quick(), &[]).await;
    let second = world.node(quick(), &[]).await;
    pass(10 * SECOND).await;
    assert_eq!(owned(&[&first, &second]), [SHARDS, 0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_and_goes_all_the_time_does_not_poison_what_is_open() {
    let world = world();
    let first = world.node(sharing(), &["a", "b", "c"]).await;
    world.script.rule(|_| Say::After(2 * SECOND));
    let count = submit(&[&first], 3).await;
    for _ in 0..3 {
        let guest = world.node(sharing(), &[]).await;
        spread(&[&first, &guest], &[8, 8]).await;
        within(guest.dtx.shutdown(Duration::ZERO)).await;
        spread(&[&first], &[SHARDS]).await;
    }
    all_sound(&first, count).await;
}
