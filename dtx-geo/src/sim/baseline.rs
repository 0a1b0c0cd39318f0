//! What others do, under the same requests on the same network.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{
    model::Rng,
    pool::Member,
    sim::{
        Outcome, Setup,
        pools::{LOCAL, part_of},
        result::Tally,
    },
};

/// One pool in the first region: every request goes there.
pub(super) fn global(setup: &Setup, requests: &[(u64, usize)], stock: u64, seed: u64) -> Outcome {
    let mut rng = Rng::new(seed, 3);
    let server = Member(0);
    let mut arrivals: Vec<_> = requests
        .iter()
        .map(|(at, region)| {
            let home = Member::of(*region);
            let there = way(setup, home, server, &mut rng);
            (at + there, there + way(setup, server, home, &mut rng), *region)
        })
        .collect();
    arrivals.sort_unstable();
    let mut tally = Tally::new(requests.len());
    let mut left = stock;
    for (_, round_trip, region) in arrivals {
        if left > 0 {
            left -= 1;
            tally.sold(region == 0, round_trip + LOCAL);
        } else {
            tally.not_sold(round_trip + LOCAL);
        }
    }
    tally.finish(stock, 0)
}

/// From a region to the one global pool and back.
pub(super) fn round_trip(setup: &Setup, home: Member, rng: &mut Rng) -> u64 {
    way(setup, home, Member(0), rng) + way(setup, Member(0), home, rng)
}

fn way(setup: &Setup, from: Member, to: Member, rng: &mut Rng) -> u64 {
    if from == to { 0 } else { setup.network.one_way(from, to, rng) }
}

/// Each region has its part, and nothing moves.
pub(super) fn split(setup: &Setup, requests: &[(u64, usize)], stock: u64) -> Outcome {
    let regions = setup.map.regions().len();
    let mut parts: Vec<_> = (0..regions).map(|region| part_of(stock, regions, region)).collect();
    let mut tally = Tally::new(requests.len());
    for (_, region) in requests {
        if parts[*region] > 0 {
            parts[*region] -= 1;
            tally.sold(true, LOCAL);
        } else {
            // It is refused as if all were sold.
            tally.outcome.false_sold_out += u64::from(parts.iter().any(|part| *part > 0));
            tally.not_sold(LOCAL);
        }
    }
    let left = parts.iter().sum::<u64>();
    let mut outcome = tally.finish(stock, 0);
    outcome.stranded = left.min(outcome.requests - outcome.sold);
    outcome
}

/// When a region without units asks whom for how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pull {
    /// Asks when a timer ends, and not when a request finds nothing, in microseconds.
    timer: Option<u64>,
    /// Asks the region that had most, as of the last timer of all, and not the nearest.
    richest: bool,
}

/// The policies, by name.
pub(super) const PULLS: [(&str, Pull); 2] = [
    // In the manner of Antidote's manager of bounded counters.
    ("pull_on_timer_from_richest", Pull { timer: Some(100_000), richest: true }),
    ("pull_on_demand_from_nearest", Pull { timer: None, richest: false }),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Request(usize),
    Timer(usize),
    Asked { from: usize, at: usize, need: u64 },
    Granted { to: usize, from: usize, units: u64 },
}

/// Each region has its part, and one that has none asks another one for units.
pub(super) fn pull(
    setup: &Setup,
    requests: &[(u64, usize)],
    stock: u64,
    seed: u64,
    policy: Pull,
) -> Outcome {
    let regions = setup.map.regions().len();
    let mut run = PullRun {
        setup,
        requests,
        policy,
        rng: Rng::new(seed, 4),
        parts: (0..regions).map(|region| part_of(stock, regions, region)).collect(),
        waiting: vec![Vec::new(); regions],
        asking: vec![false; regions],
        asked: vec![0; regions],
        queue: BinaryHeap::new(),
        tally: Tally::new(requests.len()),
        moves: 0,
        in_flight: 0,
    };
    for (index, (at, _)) in requests.iter().enumerate() {
        run.queue.push(Reverse((*at, Event::Request(index))));
    }
    if let Some(timer) = policy.timer {
        (0..regions).for_each(|region| run.queue.push(Reverse((timer, Event::Timer(region)))));
    }
    let until = requests.last().map_or(0, |last| last.0) + 10_000_000;
    while let Some(Reverse((now, event))) = run.queue.pop() {
        if now > until {
            break;
        }
        run.take(now, event);
    }
    let left: u64 = run.parts.iter().sum::<u64>() + run.in_flight;
    for waiting in run.waiting.iter().flatten() {
        run.tally.not_sold(until - waiting);
    }
    let moves = run.moves;
    let mut outcome = run.tally.finish(stock, moves);
    outcome.stranded = left.min(outcome.requests - outcome.sold);
    outcome
}

struct PullRun<'a> {
    setup: &'a Setup,
    requests: &'a [(u64, usize)],
    policy: Pull,
    rng: Rng,
    parts: Vec<u64>,
    /// When each request came that waits.
    waiting: Vec<Vec<u64>>,
    asking: Vec<bool>,
    /// How many others a region has asked in vain since it last had units.
    asked: Vec<usize>,
    queue: BinaryHeap<Reverse<(u64, Event)>>,
    tally: Tally,
    moves: u64,
    in_flight: u64,
}

impl PullRun<'_> {
    fn take(&mut self, now: u64, event: Event) {
        match event {
            Event::Request(index) => {
                let (at, region) = self.requests[index];
                self.waiting[region].push(at);
                self.serve(now, region);
                if self.policy.timer.is_none() {
                    self.ask(now, region);
                }
            }
            Event::Timer(region) => {
                self.ask(now, region);
                let timer = self.policy.timer.unwrap_or(u64::MAX);
                self.queue.push(Reverse((now + timer, Event::Timer(region))));
            }
            Event::Asked { from, at, need } => {
                // Half of what is there, or all that is wanted, whichever is less.
                let units = need.min(self.parts[at].div_ceil(2));
                self.parts[at] -= units;
                self.in_flight += units;
                self.moves += u64::from(units > 0);
                let back = way(self.setup, Member::of(at), Member::of(from), &mut self.rng);
                let granted = Event::Granted { to: from, from: at, units };
                self.queue.push(Reverse((now + back, granted)));
            }
            Event::Granted { to, units, .. } => {
                self.in_flight -= units;
                self.parts[to] += units;
                self.asking[to] = false;
                self.asked[to] = if units > 0 { 0 } else { self.asked[to] + 1 };
                self.serve(now, to);
                if self.policy.timer.is_none() {
                    self.ask(now, to);
                }
            }
        }
    }

    fn serve(&mut self, now: u64, region: usize) {
        let units = self.parts[region].min(self.waiting[region].len() as u64);
        self.parts[region] -= units;
        for at in self.waiting[region].drain(..units as usize) {
            self.tally.sold(true, now - at + LOCAL);
        }
    }

    fn ask(&mut self, now: u64, region: usize) {
        let need = self.waiting[region].len() as u64;
        let others = (0..self.parts.len()).filter(|other| *other != region);
        if need == 0 || self.asking[region] {
            return;
        }
        let mut donors: Vec<_> = others.collect();
        if self.policy.richest {
            donors.sort_by_key(|donor| (Reverse(self.parts[*donor]), *donor));
        } else {
            donors.sort_by_key(|donor| {
                (self.setup.map.rtt(region, *donor).map(|rtt| rtt.value), *donor)
            });
        }
        let at = donors[self.asked[region] % donors.len()];
        self.asking[region] = true;
        let there = way(self.setup, Member::of(region), Member::of(at), &mut self.rng);
        self.queue.push(Reverse((now + there, Event::Asked { from: region, at, need })));
    }
}
