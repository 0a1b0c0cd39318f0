//! A workload through regional pools, beside what others do.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    model::{Provider, Rng, RttMap, Shipped},
    pool::{Answer, Grants, HoldId, Input, Member, PoolMap, PoolSettings},
    sim::{
        Comparison, Outcome, Throughput, Workload, baseline,
        network::Network,
        result::Tally,
        world::{Event, Told, World},
    },
};

/// From a client to its region and back, in microseconds.
pub(super) const LOCAL: u64 = 250;
/// How long a client looks at what it holds before it confirms, in microseconds.
const THINK: u64 = 20_000;
/// How long after the last request answers may still come, in microseconds.
const AFTER: u64 = 5_000_000;

/// The regions of the comparisons.
const REGIONS: [&str; 8] = [
    "us-east-1",
    "us-west-2",
    "eu-west-1",
    "eu-central-1",
    "ap-northeast-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "sa-east-1",
];

/// The world of a comparison.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) map: RttMap,
    pub(super) network: Network,
    settings: PoolSettings,
}

impl Setup {
    /// Eight regions of AWS, with the round trips and the jitter that come with the library.
    /// Commits take no time: they would add the same to every way to sell.
    pub fn aws8(grants: Grants) -> Self {
        let map = Shipped::rtt(Provider::Aws).symmetric();
        let map = map.select(&REGIONS).expect("a test runs it: the regions are in the map");
        let network = Network::new(map.clone(), &Shipped::jitter(Provider::Aws));
        let settings = PoolSettings {
            retry_window: Duration::from_secs(1),
            grants,
            ..PoolSettings::default()
        };
        Self { map, network, settings }
    }
}

#[derive(Clone, Copy, Debug)]
enum Own {
    Request(usize),
    Confirm(HoldId, Member),
}

/// Runs a workload through the pool and through what others do.
pub fn compare(workload: Workload, setup: &Setup, seed: u64) -> Comparison {
    let requests = workload.requests(setup.map.regions().len(), seed);
    let stock = (requests.len() as f64 * workload.stock()) as u64;
    let mut baselines = BTreeMap::new();
    baselines.insert("one_global_pool", baseline::global(setup, &requests, stock, seed));
    baselines.insert("static_split", baseline::split(setup, &requests, stock));
    for (name, policy) in baseline::PULLS {
        baselines.insert(name, baseline::pull(setup, &requests, stock, seed, policy));
    }
    Comparison {
        workload: workload.name().to_owned(),
        seed,
        pools: pools(setup, &requests, stock, seed),
        throughput: throughput(setup, seed),
        baselines,
    }
}

/// The stock of a region at the begin: every way to sell begins with the same.
pub(super) fn part_of(stock: u64, regions: usize, region: usize) -> u64 {
    stock / regions as u64 + u64::from((region as u64) < stock % regions as u64)
}

fn pools(setup: &Setup, requests: &[(u64, usize)], stock: u64, seed: u64) -> Outcome {
    let map = PoolMap::new(&setup.map).expect("every pair of the shipped map is known");
    let mut world = World::new(setup.network.clone(), map, setup.settings, (0, 0), seed);
    for member in world.members() {
        world.start(member);
        let units = part_of(stock, setup.map.regions().len(), member.index());
        world.input(member, Input::Mint { units });
    }
    // The first digests are out before the first request.
    let begin = world.now + 1_000_000;
    for (index, (at, _)) in requests.iter().enumerate() {
        world.at(begin + at, Event::Own(Own::Request(index)));
    }
    let mut run = Run { tally: Tally::new(requests.len()), begin, requests, stock };
    let until = begin + requests.last().map_or(0, |last| last.0) + AFTER;
    while let Some(told) = world.next(until) {
        run.take(&mut world, told);
    }
    let left: i64 = world.nodes.iter().map(|node| node.disk.free()).sum();
    let in_flight = stock as i64
        - left
        - world.nodes.iter().map(|n| (n.disk.sold() + n.disk.held()) as i64).sum::<i64>();
    let mut outcome = run.tally.finish(stock, world.moves);
    // What is free at the end is left over, unless somebody was refused.
    let missed = outcome.requests - outcome.sold;
    outcome.stranded = in_flight.unsigned_abs() + left.unsigned_abs().min(missed);
    outcome
}

struct Run<'a> {
    tally: Tally,
    begin: u64,
    requests: &'a [(u64, usize)],
    stock: u64,
}

impl Run<'_> {
    fn take(&mut self, world: &mut World<Own>, told: Told<Own>) {
        match told {
            Told::Own(Own::Request(index)) => {
                let home = Member::of(self.requests[index].1);
                let (id, ttl) = (HoldId(index as u128), Duration::from_secs(60));
                world.input(home, Input::Reserve { id, units: 1, ttl });
            }
            Told::Own(Own::Confirm(id, at)) => {
                world.input(at, Input::Confirm { id });
            }
            Told::Answer { node, id, answer } => self.answer(world, node, id, answer),
        }
    }

    fn answer(&mut self, world: &mut World<Own>, node: Member, id: HoldId, answer: Answer) {
        let (asked, _) = self.requests[id.0 as usize];
        let micros = world.now - (self.begin + asked) + LOCAL;
        match answer {
            Answer::Reserved { at, crossed, .. } => {
                self.tally.sold(!crossed && at == node, micros);
                world.at(world.now + THINK, Event::Own(Own::Confirm(id, at)));
            }
            Answer::SoldOut { .. } => {
                self.tally.not_sold(micros);
                // No hold ends here without a sale, so what is left now was left all the time.
                let taken = world.nodes.iter().map(|node| node.disk.sold() + node.disk.held());
                let is_false = taken.sum::<u64>() < self.stock;
                self.tally.outcome.false_sold_out += u64::from(is_false);
            }
            Answer::Unavailable { .. } | Answer::Busy => {
                self.tally.not_sold(micros);
                self.tally.outcome.refused += 1;
            }
            _ => {}
        }
    }
}

/// Reservations per second of regional pools and of one global pool, measured in the same world
/// with the same commits: a fixed number of clients, each of whom asks for the next unit, in a
/// region drawn at random, as soon as the last one was answered.
pub fn throughput(setup: &Setup, seed: u64) -> Throughput {
    const CLIENTS: u64 = 128;
    const COMMIT: u64 = 1_000;
    const SPAN: u64 = 500_000;
    let regions = setup.map.regions().len();
    let map = PoolMap::new(&setup.map).expect("every pair of the shipped map is known");
    let settings = PoolSettings { retry_window: Duration::from_millis(1), ..setup.settings };
    let mut world = World::new(setup.network.clone(), map, settings, (COMMIT, COMMIT), seed);
    for member in world.members() {
        world.start(member);
        world.input(member, Input::Mint { units: 1_000_000 });
    }
    let begin = world.now + 1_000_000;
    (0..CLIENTS).for_each(|client| world.at(begin, Event::Own(Own::Request(client as usize))));
    let mut rng = Rng::new(seed, 5);
    let (mut done, mut ids) = (0_u64, 0_u128);
    while let Some(told) = world.next(begin + SPAN) {
        match told {
            Told::Own(Own::Request(_)) => {
                ids += 1;
                let home = Member::of(rng.below(regions as u64) as usize);
                let ttl = Duration::from_millis(1);
                world.input(home, Input::Reserve { id: HoldId(ids), units: 1, ttl });
            }
            Told::Answer { .. } => {
                done += 1;
                world.at(world.now + LOCAL, Event::Own(Own::Request(0)));
            }
            Told::Own(Own::Confirm(..)) => {}
        }
    }
    let pools_per_s = done as f64 * 1e6 / SPAN as f64;
    let mut waited = 0;
    const SAMPLES: u64 = 20_000;
    for _ in 0..SAMPLES {
        let home = Member::of(rng.below(regions as u64) as usize);
        waited += LOCAL + COMMIT + baseline::round_trip(setup, home, &mut rng);
    }
    let global_per_s = CLIENTS as f64 * 1e6 * SAMPLES as f64 / waited as f64;
    Throughput {
        clients: CLIENTS,
        commit_ms: COMMIT as f64 / 1e3,
        global_per_s,
        pools_per_s,
        ratio: pools_per_s / global_per_s,
        regions: regions as u64,
    }
}
