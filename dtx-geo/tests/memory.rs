//! A reserve from the own part takes no memory, and neither does a schedule.

use std::{sync::Arc, time::Duration};

use dtx_core::time::Timestamp;
use dtx_geo::{
    model::{Provider, Shipped},
    phase::{Aim, Latency, Part, Schedule},
    pool::{Answer, Cells, Effect, HoldId, Input, Member, PoolMap, PoolRegion, PoolSettings, Step},
};

const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "sa-east-1"];

#[test]
fn a_home_reserve_allocates_nothing() {
    let map = Shipped::rtt(Provider::Aws).select(&REGIONS).expect("they are in the map");
    let map = Arc::new(PoolMap::new(&map).expect("every pair is known"));
    let settings = PoolSettings { holds_max: 4_096, ..PoolSettings::default() };
    let (own, empty) = ((Member(0), 0), Cells::new(REGIONS.len()));
    let (mut step, mut now) = (Step::default(), Timestamp::from_millis(1));
    let started = PoolRegion::start(own, map, settings, empty, now, &mut step);
    let mut part = started.expect("the settings are valid");
    part.step(now, Input::Mint { units: 1_000_000 }, &mut step);
    let ttl = Duration::from_secs(60);
    let mut reserve = |id: u128, units: u64| {
        now = now + Duration::from_micros(500);
        part.step(now, Input::Reserve { id: HoldId(id), units, ttl }, &mut step);
        step.effects.first().copied()
    };
    // The first ones size the vectors of the step.
    let mut last = None;
    for id in 0..100 {
        last = reserve(id, 1);
    }
    assert!(last.is_some());
    let counted = allocation_counter::measure(|| {
        for id in 100..3_100 {
            last = reserve(id, 1);
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(matches!(last, Some(Effect::Answer { answer: Answer::Reserved { .. }, .. })));
    // The bound on holds, at it and one past it.
    for id in 3_100..4_096 {
        last = reserve(id, 1);
    }
    assert!(matches!(last, Some(Effect::Answer { answer: Answer::Reserved { .. }, .. })));
    let refused = reserve(4_096, 1);
    assert!(matches!(refused, Some(Effect::Answer { answer: Answer::Busy, .. })), "{refused:?}");
}

#[test]
fn a_schedule_takes_memory_the_first_time_only() {
    let after: Vec<_> =
        (0..16_usize).map(|part| if part < 4 { vec![] } else { vec![part - 4] }).collect();
    let parts: Vec<_> = (0..16)
        .map(|part| {
            let latency = Latency::exact(Duration::from_millis(10 * (part as u64 + 1)));
            Part { latency, locks: part % 3 != 0, after: &after[part] }
        })
        .collect();
    let mut schedule = Schedule::default();
    schedule.compute(&parts, Aim::Locks).expect("a valid phase");
    let counted = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            schedule.compute(&parts, Aim::Locks).expect("a valid phase");
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert_eq!(schedule.length(), Duration::from_millis(40 + 80 + 120 + 160));
}
