//! How seldom an idle coordinator asks its store, and what wakes it.

use std::{collections::BTreeMap, time::Duration};

use dtx::{coordinator::CoordinatorSettings, ids::ShardCount, prelude::*};
use tokio::time::Instant;

use crate::kit::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn an_idle_coordinator_hardly_asks_its_store_and_wakes_when_there_is_work() {
    let world = World::with(1, 8, InMemoryTransport::new());
    let mut settings = CoordinatorSettings {
        scan_interval: SECOND / 2,
        scan_interval_max: 8 * SECOND,
        lease_ttl: 9 * SECOND,
        ..quick()
    };
    settings.healing.interval = 5 * SECOND;
    settings.healing.interval_max = 40 * SECOND;
    // The participants are elsewhere, so that what they ask the store for is not counted.
    let node = world.node(settings, &[]).await;
    let _hosts = world.node(quick(), &["a", "b", "c"]).await;
    node.run(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
    settle(&node).await;
    pass(2 * MINUTE).await;
    let idle = calls_in(&node, 2 * MINUTE).await;
    // 15 scans, 3 passes of the healer over 8 shards, and 40 renewals.
    assert!(idle["earliest"] <= 16 && idle["open"] <= 4 * 8, "{idle:?}");
    assert!(idle["renew"] <= 41 && !idle.contains_key("acquire"), "{idle:?}");
    assert!(idle["scan"] <= 16, "the holds: {idle:?}");
    let one = accept(1);
    let tx = one.tx;
    written(&world, one).await;
    eventually("it is found", async || node.dtx.get(tx).await.unwrap().unwrap().due.is_none())
        .await;
    // With something open it looks at its usual pace.
    node.script.rule(|_| Say::After(3 * MINUTE));
    node.submit(steps(Pattern::Saga, &["b"]).build().unwrap()).await;
    pass(10 * SECOND).await;
    let busy = calls_in(&node, MINUTE).await;
    let (busy, idle) = (busy["earliest"], idle["earliest"]);
    assert!(busy > 4 * idle, "{busy} in a minute, {idle} in two idle ones");
}

/// How often each call of the store is made while this time passes.
async fn calls_in(node: &Node, time: Duration) -> BTreeMap<&'static str, usize> {
    let before = node.store.calls();
    pass(time).await;
    let mut calls = node.store.calls();
    for (operation, count) in before {
        calls.entry(operation).and_modify(|now| *now -= count);
    }
    calls.retain(|_, count| *count > 0);
    calls
}

#[tokio::test(start_paused = true)]
async fn an_idle_coordinator_among_others_asks_twice_a_second_at_most() {
    let world = World::with(1, ShardCount::DEFAULT.get(), InMemoryTransport::new());
    let settings =
        CoordinatorSettings { spread_shards: Some(true), ..CoordinatorSettings::default() };
    let one = world.node(settings.clone(), &[]).await;
    let other = world.node(settings, &[]).await;
    pass(5 * MINUTE).await;
    for node in [&one, &other] {
        let calls = calls_in(node, 10 * MINUTE).await;
        let all: usize = calls.values().sum();
        assert!(calls["renew"] > 0 && calls["earliest"] > 0, "it is alive: {calls:?}");
        assert!(all <= 2 * 600, "{all} in ten minutes: {calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_of_the_store_makes_it_look_at_once() {
    let world = World::with(1, 8, InMemoryTransport::new());
    let settings = CoordinatorSettings {
        scan_interval: MINUTE,
        scan_interval_max: MINUTE,
        ..CoordinatorSettings::default()
    };
    let node = world.node(settings, &["a"]).await;
    pass(SECOND).await;
    for number in [1, 2] {
        let accepted = accept(number);
        let tx = accepted.tx;
        written(&world, accepted).await;
        let hinted_at = Instant::now();
        node.store.hint();
        eventually("it is done", async || node.dtx.get(tx).await.unwrap().unwrap().due.is_none())
            .await;
        assert!(hinted_at.elapsed() < SECOND, "{:?}", hinted_at.elapsed());
    }
    // Hints without end are one scan now and then.
    let before = node.store.calls();
    for _ in 0..1_000 {
        node.store.hint();
        pass(Duration::from_millis(1)).await;
    }
    let scans = node.store.calls()["earliest"] - before["earliest"];
    assert!((10..=51).contains(&scans), "{scans} scans for 1,000 hints in a second");
}
