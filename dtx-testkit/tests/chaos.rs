//! Each knob of the layer of faults does what it says.
#![allow(missing_docs)]

use std::{sync::Arc, time::Duration};

use dtx_core::{
    error::{Effect, ErrorKind},
    ids::{HolderId, ShardId},
    store::{CommitResult, LeaseRequest, MemoryStore, StateStore},
};
use dtx_testkit::{
    chaos::{Chaos, ChaosSettings},
    store::{Pen, one, tx},
};
use tokio::time::Instant;

const DELAY: Duration = Duration::from_millis(10);

fn chaos(settings: ChaosSettings) -> Chaos {
    Chaos::new(ChaosSettings { seed: 7, ..settings }).expect("the knobs are in range")
}

/// How many of so many handlers fail.
async fn injected(chaos: &Chaos, calls: usize) -> usize {
    let mut failed = 0;
    for _ in 0..calls {
        failed += usize::from(chaos.inject("payment").await.is_err());
    }
    failed
}

#[tokio::test(start_paused = true)]
async fn with_all_knobs_at_zero_nothing_goes_wrong() {
    let chaos = chaos(ChaosSettings::default());
    assert_eq!(injected(&chaos, 1_000).await, 0);
    let counts = chaos.counts();
    assert_eq!((counts.calls, counts.failures, counts.timeouts), (1_000, 0, 0));
    assert_eq!((counts.cut, counts.delay_ms), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_failure_rate_is_how_often_a_call_fails() {
    for (rate, least, most) in [(1.0, 2_000, 2_000), (0.25, 400, 600)] {
        let chaos = chaos(ChaosSettings { failure_rate: rate, ..ChaosSettings::default() });
        let failed = injected(&chaos, 2_000).await;
        assert!((least..=most).contains(&failed), "{rate}: {failed}");
        assert_eq!(chaos.counts().failures, failed as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_changes_nothing_and_one_past_its_time_may_have() {
    let (memory, mut pen) = (MemoryStore::new(), Pen::new(1));
    let failing = chaos(ChaosSettings { failure_rate: 1.0, ..ChaosSettings::default() });
    let CommitResult::Failed(error) = one(&failing.store(memory.clone()), &pen.accept(tx(1))).await
    else {
        panic!("it fails")
    };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
    assert_eq!(memory.load(&[tx(1)]).await.expect("a record")[0], None);

    let late = chaos(ChaosSettings {
        timeout_rate: 1.0,
        network_delay: DELAY,
        ..ChaosSettings::default()
    });
    let (store, begun) = (late.store(memory.clone()), Instant::now());
    for number in 1..=200 {
        let result = one(&store, &pen.accept(tx(number))).await;
        let CommitResult::Failed(error) = result else { panic!("it is too late") };
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    }
    let took = begun.elapsed();
    assert!(took >= DELAY * 10 * 200 && took <= DELAY * 11 * 200 + DELAY * 200, "{took:?}");
    let ids: Vec<_> = (1..=200).map(tx).collect();
    let landed = memory.load(&ids).await.expect("records").into_iter().flatten().count();
    assert!((60..=140).contains(&landed), "some of them have landed: {landed}");
    assert_eq!(late.counts().timeouts, 200);
}

#[tokio::test(start_paused = true)]
async fn the_delay_of_the_network_is_added_to_every_call() {
    let chaos = chaos(ChaosSettings { network_delay: DELAY, ..ChaosSettings::default() });
    let store = chaos.store(MemoryStore::new());
    let begun = Instant::now();
    for _ in 0..200 {
        let call = Instant::now();
        store.now().await.expect("a clock");
        assert!(call.elapsed() <= DELAY + Duration::from_millis(2), "{:?}", call.elapsed());
    }
    let mean = begun.elapsed() / 200;
    assert!(mean > DELAY / 4 && mean < DELAY, "{mean:?}");
}

#[tokio::test(start_paused = true)]
async fn the_partition_rate_is_the_part_of_its_time_in_which_a_link_is_cut() {
    let length = Duration::from_millis(100);
    let chaos = chaos(ChaosSettings {
        partition_rate: 0.3,
        partition_length: length,
        ..ChaosSettings::default()
    });
    let (mut cut, mut apart) = (0, 0);
    for _ in 0..500 {
        let first = chaos.inject("a").await.is_err();
        assert_eq!(chaos.inject("a").await.is_err(), first, "all along a piece of time");
        cut += usize::from(first);
        apart += usize::from(chaos.inject("b").await.is_err() != first);
        tokio::time::advance(length).await;
    }
    assert!((100..=200).contains(&cut), "{cut}");
    assert!(apart > 100, "links are cut apart from each other: {apart}");
    assert!(chaos.counts().cut > 0 && chaos.counts().failures == 0);
    chaos.calm(true);
    assert_eq!(injected(&chaos, 100).await, 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_draws_the_same_faults() {
    let settings = ChaosSettings { failure_rate: 0.5, ..ChaosSettings::default() };
    let run = async |seed| {
        let chaos = Chaos::new(ChaosSettings { seed, ..settings.clone() }).expect("in range");
        let mut drawn = Vec::new();
        for _ in 0..64 {
            drawn.push(chaos.inject("a").await.is_err());
        }
        drawn
    };
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_knob_at_its_end_is_taken_and_one_past_it_is_named() {
    let of = |failure_rate, timeout_rate, partition_rate| {
        let settings = ChaosSettings {
            failure_rate,
            timeout_rate,
            partition_rate,
            ..ChaosSettings::default()
        };
        Chaos::new(settings).map(drop).map_err(|error| error.knob)
    };
    assert_eq!(of(1.0, 1.0, 1.0), Ok(()));
    assert_eq!(of(1.01, 0.0, 0.0), Err("failure_rate"));
    assert_eq!(of(0.0, -0.01, 0.0), Err("timeout_rate"));
    assert_eq!(of(0.0, 0.0, f64::NAN), Err("partition_rate"));
    let never = ChaosSettings { partition_length: Duration::ZERO, ..ChaosSettings::default() };
    assert_eq!(Chaos::new(never).map(drop).map_err(|error| error.knob), Err("partition_length"));
}

#[tokio::test(start_paused = true)]
async fn leases_fail_like_everything_else() {
    let failing = chaos(ChaosSettings { failure_rate: 1.0, ..ChaosSettings::default() });
    let memory = Arc::new(MemoryStore::new());
    let store = failing.store(MemoryStore::clone(&memory));
    let request =
        LeaseRequest { holder: HolderId(1), shards: vec![ShardId(0)], ttl: Duration::from_secs(1) };
    store.acquire(&request).await.expect_err("it fails");
    failing.calm(true);
    assert_eq!(store.acquire(&request).await.expect("it is free").len(), 1);
}
