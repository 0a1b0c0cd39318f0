//! What a region does over its store and its transport.

use std::{sync::Arc, sync::atomic::Ordering::SeqCst, time::Duration};

use dtx_core::store::ParticipantStore;
use dtx_geo::pool::{Answer, Grants, HoldId, Member, NUMBER_MAX, PoolSettings};
use dtx_geo_host::{PoolError, PoolNode, PoolNodeSettings, PoolSpec};

use crate::{
    link::Net,
    watch::Sums,
    world::{NAMES, TTL, World, disk, map, spec},
};

fn settings() -> PoolSettings {
    PoolSettings::default()
}

#[tokio::test(start_paused = true)]
async fn all_units_are_sold_once_wherever_they_are_asked_for() {
    let world = World::new([40, 40, 40], settings(), Net::new(1, 0)).await;
    let mut crossed = 0;
    for id in 0..120 {
        let answer = world.reserve(2, id, 1).await;
        let Answer::Reserved { crossed: is_crossed, .. } = answer else {
            panic!("{id}: {answer:?}")
        };
        crossed += u32::from(is_crossed);
        assert_eq!(world.confirm(2, id, 1).await.answer, Answer::Confirmed);
    }
    assert_eq!(world.reserve(2, 200, 1).await, Answer::SoldOut { left: 0 });
    assert_eq!(world.reserve(0, 201, 1).await, Answer::SoldOut { left: 0 });
    assert_eq!(world.watch.sums(), Sums { free: 0, held: 0, sold: 120, moving: 0 });
    assert!(crossed < 120, "units move to where they are asked for");
}

#[tokio::test(start_paused = true)]
async fn many_steps_land_in_one_write() {
    let world = World::new([500, 0, 0], settings(), Net::new(2, 0)).await;
    let before = world.regions[0].rows.writes.load(SeqCst);
    let mut tasks = tokio::task::JoinSet::new();
    for id in 0..400 {
        let handle = world.at(0);
        tasks.spawn(async move { handle.reserve(HoldId(id), 1, TTL).await });
    }
    while let Some(told) = tasks.join_next().await {
        let told = told.expect("it does not panic").expect("it runs");
        assert!(matches!(told.answer, Answer::Reserved { crossed: false, .. }), "{told:?}");
    }
    let writes = world.regions[0].rows.writes.load(SeqCst) - before;
    assert!(writes <= 8, "{writes} writes for 400 reserves");
    assert_eq!(world.watch.sums().held, 400);
}

#[tokio::test(start_paused = true)]
async fn a_region_begins_again_with_its_rows() {
    let mut world = World::new([10, 10, 10], settings(), Net::new(3, 0)).await;
    assert!(matches!(world.reserve(0, 1, 4).await, Answer::Reserved { .. }));
    assert!(matches!(world.reserve(0, 2, 3).await, Answer::Reserved { .. }));
    let told = world.at(0).pin(HoldId(2)).await.expect("it runs");
    assert_eq!(told.answer, Answer::Pinned);
    world.restart(0).await;
    assert_eq!(world.at(0).state().await.expect("it runs").held, 7);
    // The same id is the same hold.
    assert!(matches!(world.reserve(0, 1, 4).await, Answer::Reserved { .. }));
    assert_eq!(world.at(0).state().await.expect("it runs").held, 7);
    // The time of one is over; the other one is pinned.
    world.pass(TTL + Duration::from_secs(1)).await;
    assert_eq!(world.at(0).state().await.expect("it runs").held, 3);
    assert_eq!(world.confirm(0, 1, 4).await.answer, Answer::Expired);
    world.restart(0).await;
    assert_eq!(world.confirm(0, 2, 3).await.answer, Answer::Confirmed);
    assert_eq!(world.confirm(0, 2, 3).await.answer, Answer::Confirmed);
    assert_eq!(world.at(0).state().await.expect("it runs").sold, 3);
}

#[tokio::test(start_paused = true)]
async fn holds_end_while_nobody_drives_their_region() {
    let mut world = World::new([10, 0, 0], settings(), Net::new(4, 0)).await;
    assert!(matches!(world.reserve(0, 1, 4).await, Answer::Reserved { .. }));
    world.crash(0);
    world.regions[0].clock.advance(Duration::from_secs(3_600));
    world.restart(0).await;
    world.pass(Duration::from_millis(150)).await;
    assert_eq!(world.at(0).state().await.expect("it runs").held, 0);
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_a_region_does_not_go_back() {
    let mut world = World::new([10, 0, 0], settings(), Net::new(5, 0)).await;
    world.pass(Duration::from_secs(50)).await;
    // The clock of the store stands still; what the region saw last is later.
    assert!(matches!(world.reserve(0, 1, 4).await, Answer::Reserved { .. }));
    world.restart(0).await;
    world.pass(TTL + Duration::from_secs(1)).await;
    assert_eq!(world.at(0).state().await.expect("it runs").held, 0);
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_one_drives_the_region() {
    let mut world = World::new([10, 0, 0], settings(), Net::new(6, 0)).await;
    let (mut first, handle) = (world.regions[0].node.take().expect("it runs"), world.at(1));
    let old = first.handle().clone();
    assert!(matches!(
        old.reserve(HoldId(1), 6, TTL).await.expect("it runs").answer,
        Answer::Reserved { .. }
    ));
    let link = world.net.link(NAMES[0]);
    let (rows, own) = (world.regions[0].rows.clone(), world.regions[0].spec.clone());
    let second = PoolNode::start(rows, link, own, PoolNodeSettings::default()).await;
    let second = second.expect("it takes the region over");
    // What the first one would say of its own is told no more, be it a write or not.
    let (write, question) = tokio::join!(old.reserve(HoldId(2), 4, TTL), old.state());
    assert!(matches!(write, Err(PoolError::Stopped)), "{write:?}");
    assert!(matches!(question, Err(PoolError::Stopped)), "{question:?}");
    assert!(matches!(first.ended().await, Err(PoolError::Taken)));
    assert!(matches!(first.ended().await, Err(PoolError::Stopped)));
    let told = second.handle().reserve(HoldId(3), 4, TTL).await.expect("it runs");
    assert!(matches!(told.answer, Answer::Reserved { .. }), "{told:?}");
    assert_eq!(second.handle().state().await.expect("it runs").free, 0);
    drop(handle);
    second.stop().await.expect("it ends in order");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_taken_finds_out_without_anything_to_do() {
    let mut world = World::new([10, 0, 0], settings(), Net::new(7, 0)).await;
    let mut first = world.regions[0].node.take().expect("it runs");
    let link = world.net.link(NAMES[0]);
    let (rows, own) = (world.regions[0].rows.clone(), world.regions[0].spec.clone());
    let second = PoolNode::start(rows, link, own, PoolNodeSettings::default()).await;
    let _second = second.expect("it takes the region over");
    let ended = tokio::time::timeout(Duration::from_secs(3), first.ended()).await;
    assert!(matches!(ended, Ok(Err(PoolError::Taken))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hold_elsewhere_is_pinned_and_sold_over_a_bad_network() {
    let mut crossed = 0;
    for seed in 0..40 {
        let mut world = World::new([0, 8, 0], settings(), Net::new(seed, 250)).await;
        let id = u128::from(seed);
        let Answer::Reserved { at, .. } = world.reserve(0, id, 2).await else { continue };
        crossed += u32::from(at != Member(0));
        let told = world.at(0).pin(HoldId(id)).await.expect("it runs");
        assert_eq!(told.answer, Answer::Pinned);
        assert_eq!(told.at, at);
        // Past every time that a clock knows, and through a restart of both.
        world.pass(Duration::from_secs(1_200)).await;
        world.restart(0).await;
        world.restart(usize::from(at.0)).await;
        let told = world.confirm(0, id, 2).await;
        assert_eq!((told.answer, told.at), (Answer::Confirmed, at));
        assert!(world.watch.cells(at).sold() >= 2);
    }
    assert!(crossed >= 5, "{crossed} of 40 were elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_pinned_hold_elsewhere_can_be_cancelled() {
    let world = World::new([0, 3, 0], settings(), Net::new(9, 0)).await;
    let answer = world.reserve(0, 1, 3).await;
    let Answer::Reserved { at, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(world.at(0).pin(HoldId(1)).await.expect("it runs").answer, Answer::Pinned);
    assert_eq!(world.at(0).cancel(HoldId(1)).await.expect("it runs").answer, Answer::Cancelled);
    assert_eq!(world.watch.cells(at).held(), 0);
    assert_eq!(world.at(0).confirm(HoldId(1)).await.expect("it runs").answer, Answer::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn without_the_others_none_here_is_never_sold_out() {
    let world = World::new([5, 5, 5], settings(), Net::new(10, 0)).await;
    world.net.isolate(NAMES[2], &NAMES);
    world.pass(Duration::from_secs(5)).await;
    for id in 0..5 {
        assert!(matches!(world.reserve(2, id, 1).await, Answer::Reserved { .. }));
    }
    let answer = world.reserve(2, 9, 1).await;
    let Answer::Unavailable { unreachable, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(unreachable.iter().collect::<Vec<_>>(), [Member(0), Member(1)]);
    world.net.heal();
    world.pass(Duration::from_secs(1)).await;
    assert!(matches!(world.reserve(2, 10, 1).await, Answer::Reserved { .. }));
}

#[tokio::test(start_paused = true)]
async fn units_of_a_lost_region_are_sold_by_its_buddy_but_for_the_window() {
    let grants = Grants::Leased { window: 6, lease: Duration::from_secs(2) };
    let mut world =
        World::new([40, 0, 0], PoolSettings { grants, ..settings() }, Net::new(11, 0)).await;
    world.pass(Duration::from_secs(3)).await;
    world.crash(0);
    world.pass(Duration::from_secs(10)).await;
    let left: i64 = (1..3).map(|region| world.watch.cells(Member(region)).free()).sum();
    assert_eq!(left, 34);
    world.restart(0).await;
    world.pass(Duration::from_secs(3)).await;
    assert_eq!(world.watch.sums().free + world.watch.sums().moving, 40);
}

#[tokio::test(start_paused = true)]
async fn a_region_without_its_disk_begins_as_the_next_incarnation() {
    let mut world = World::new([20, 20, 0], settings(), Net::new(12, 0)).await;
    world.crash(0);
    let (empty, clock) = disk();
    (world.regions[0].disk, world.regions[0].clock) = (empty.clone(), clock);
    let start = |spec: PoolSpec| {
        let store: Arc<dyn ParticipantStore> = Arc::new(empty.clone());
        PoolNode::start(store, world.net.link(NAMES[0]), spec, PoolNodeSettings::default())
    };
    // An empty store is no empty region: what the others gave before must not come again.
    let missing = start(world.regions[0].spec.clone()).await;
    assert!(matches!(missing, Err(PoolError::NotCreated)), "{missing:?}");
    let next = world.regions[0].spec.clone().incarnation(1);
    PoolNode::create(&empty, &next, 0).await.expect("it is created");
    let twice = PoolNode::create(&empty, &next, 0).await;
    assert!(matches!(twice, Err(PoolError::Exists)), "{twice:?}");
    let old = start(world.regions[0].spec.clone()).await;
    assert!(matches!(old, Err(PoolError::Incarnation { stored: 1, given: 0 })), "{old:?}");
    world.watch.lost_disk(Member(0));
    world.regions[0].spec = next;
    world.restart(0).await;
    world.pass(Duration::from_secs(3)).await;
    let answer = world.reserve(0, 1, 1).await;
    assert!(matches!(answer, Answer::Reserved { .. }), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn rows_of_another_pool_are_refused() {
    let (store, _) = disk();
    let store: Arc<dyn ParticipantStore> = Arc::new(store);
    PoolNode::create(&*store, &spec(NAMES[0], settings()), 5).await.expect("it is created");
    let reordered = map().select(&[NAMES[0], NAMES[2], NAMES[1]]).expect("they are in the map");
    let other = PoolSpec::new("cds", &reordered, NAMES[0], settings()).expect("it can be");
    let read = PoolNode::read(store.clone(), &other).await;
    assert!(matches!(read, Err(PoolError::OtherPool)), "{read:?}");
    assert!(PoolNode::read(store, &spec(NAMES[0], settings())).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn stock_is_brought_in_up_to_a_total() {
    let world = World::new([5, 0, 0], settings(), Net::new(13, 0)).await;
    let at = world.at(0);
    assert_eq!(at.restock(5).await.expect("it runs").minted, 5);
    let over = at.restock(NUMBER_MAX).await;
    assert!(matches!(over, Err(PoolError::TooMany(NUMBER_MAX))), "{over:?}");
    let over = at.reserve(HoldId(1), NUMBER_MAX, TTL).await;
    assert!(matches!(over, Err(PoolError::TooMany(NUMBER_MAX))), "{over:?}");
    let (store, _) = disk();
    let spec = spec(NAMES[1], settings());
    let over = PoolNode::create(&store, &spec, NUMBER_MAX).await;
    assert!(matches!(over, Err(PoolError::TooMany(NUMBER_MAX))), "{over:?}");
    PoolNode::create(&store, &spec, NUMBER_MAX - 1).await.expect("it is created");
}
