//! Does one thing a number of times, so that its instructions can be counted: those of 1,000 times
//! less those of none. `cargo xtask ci` counts them and knows how many there may be.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{env, hint::black_box, sync::Arc, time::Duration};

use dtx_core::time::Timestamp;
use dtx_geo::{
    model::{Provider, Rng, Shipped},
    phase::{Aim, Latency, Part, Schedule},
    plan::{DataOperation, Mode, PlanMap, Shape, replicas},
    pool::{Cells, HoldId, Input, Member, PoolMap, PoolRegion, PoolSettings, Step},
};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [what, times] = arguments.as_slice() else {
        println!("give `plan`, `place-3`, `place-5`, `schedule` or `reserve`, and how often");
        return;
    };
    let times = times.parse().unwrap();
    match what.as_str() {
        "plan" => plan(times),
        "place-3" => place(3, times),
        "place-5" => place(5, times),
        "schedule" => schedule(times),
        "reserve" => reserve(times),
        _ => panic!("{what} is nothing that is counted"),
    }
}

/// A transaction of eight writes over the 48 regions of Azure.
fn plan(times: u32) {
    let map = Shipped::rtt(Provider::Azure);
    let zones = Duration::from_micros(760);
    let plans = PlanMap::new(&map, zones, Duration::from_secs(1)).unwrap();
    let regions = map.regions().len();
    let (allowed, mut rng) = (vec![true; regions], Rng::new(1, 21));
    for _ in 0..times {
        let homes: [usize; 8] = std::array::from_fn(|_| rng.below(regions as u64) as usize);
        let copies = homes.map(|home| [(home + 7) % regions, (home + 19) % regions]);
        let operations: [DataOperation<'_>; 8] = std::array::from_fn(|at| DataOperation {
            write: true,
            home: homes[at],
            copies: &copies[at],
            staleness: Duration::ZERO,
            bytes: 0,
            pooled: false,
        });
        let client = rng.below(regions as u64) as usize;
        let shape = Shape {
            client,
            mode: Mode::StrongGlobal,
            operations: &operations,
            allowed: &allowed,
            rounds: 1,
        };
        black_box(plans.plan(black_box(&shape)).unwrap());
    }
}

/// Replicas among the 48 regions of Azure.
fn place(count: usize, times: u32) {
    let map = Shipped::rtt(Provider::Azure);
    let allowed: Vec<usize> = (0..map.regions().len()).collect();
    let mut rng = Rng::new(1, 22);
    for _ in 0..times {
        let weights: Vec<f64> = allowed.iter().map(|_| rng.exponential(1.0)).collect();
        black_box(replicas(&map, &weights, &allowed, count).unwrap());
    }
}

/// A phase of sixteen participants, of which twelve wait for another.
fn schedule(times: u32) {
    let after: Vec<_> =
        (0..16_usize).map(|part| if part < 4 { vec![] } else { vec![part - 4] }).collect();
    let parts: Vec<_> = (0..16)
        .map(|part| {
            let latency = Latency::exact(Duration::from_millis(10 * (part as u64 + 1)));
            Part { latency, locks: part % 3 != 0, after: &after[part] }
        })
        .collect();
    let mut schedule = Schedule::default();
    for _ in 0..times {
        schedule.compute(black_box(&parts), Aim::Locks).unwrap();
    }
    black_box(&schedule);
}

/// A reserve from the own part of a pool over three regions.
fn reserve(times: u32) {
    let map = Shipped::rtt(Provider::Aws).select(&["us-east-1", "eu-west-1", "sa-east-1"]);
    let map = Arc::new(PoolMap::new(&map.unwrap()).unwrap());
    let settings = PoolSettings { holds_max: 4_096, ..PoolSettings::default() };
    let (mut step, mut now) = (Step::default(), Timestamp::from_millis(1));
    let own = (Member(0), 0);
    let mut part = PoolRegion::start(own, map, settings, Cells::new(3), now, &mut step).unwrap();
    part.step(now, Input::Mint { units: 1_000_000 }, &mut step);
    let ttl = Duration::from_secs(60);
    for id in 0..times {
        now = now + Duration::from_micros(500);
        let input = Input::Reserve { id: HoldId(u128::from(id)), units: 1, ttl };
        part.step(now, black_box(input), &mut step);
    }
    black_box(&step);
}
