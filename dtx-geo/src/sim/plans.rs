//! What plans are expected to take, beside what they take in simulation.

use std::time::Duration;

use serde::Serialize;

use crate::{
    model::{Jitter, JitterMap, Provider, Rng, RttMap, Shipped},
    plan::{DataOperation, Kind, Mode, PlanMap, ROUNDS_MAX, Shape, TransactionPlan},
    pool::Member,
    sim::{
        carry::{Carried, Ways, carry, is_outside, is_weaker},
        network::Network,
    },
};

/// Round trip to most of the zones of a region: the middle of what is measured between zones.
const ZONES: Duration = Duration::from_micros(760);
/// How far copies are behind.
const LAG: Duration = Duration::from_secs(1);
/// Transactions of each plan of which the median is taken.
const TRANSACTIONS: usize = 401;
/// Plans of each provider.
const PLANS: usize = 300;
/// The farthest that expected latencies may be from simulated ones on average, as a share.
const MEAN_OFF_MAX: f64 = 0.03;
/// What takes less is compared as if it took so long: inside a region a mean and a median differ by
/// some hundredths of a millisecond, which is a tenth of both.
const OFF_LEAST: Duration = Duration::from_millis(1);
/// The farthest that one may be.
const WORST_OFF_MAX: f64 = 0.10;

/// How far the expected latency of plans is from the simulated one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CostModel {
    /// Whose map.
    pub provider: &'static str,
    /// Transactions drawn at random, each planned and simulated.
    pub plans: usize,
    /// Those among them that need a two-phase commit.
    pub two_phase: usize,
    /// Those among them that take all their units in one region.
    pub pool: usize,
    /// How far the expected latency is from the simulated median, on average, as a share of that.
    pub mean_off: f64,
    /// The same of the worst one.
    pub worst_off: f64,
    /// How far plans are from the bound over all ways, on average.
    pub mean_gap: f64,
    /// How much sooner than with the coordinator at the client two-phase plans end, on average.
    pub sooner: f64,
    /// The same beside the coordinator in the home of most that is written.
    pub sooner_than_home: f64,
    /// The two-phase plans with one round, with two and with three.
    pub by_rounds: [ByRounds; ROUNDS_MAX as usize],
    /// Transactions that were carried out, and told with less durable than their mode promises.
    pub weaker: u64,
    /// Of these, transactions that came to a region that is not allowed.
    pub outside: u64,
}

/// What moving the coordinator gains in plans of so many rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ByRounds {
    /// Plans with a two-phase commit.
    pub two_phase: usize,
    /// How much sooner than with the coordinator at the client they end, on average.
    pub sooner: f64,
    /// The same beside the coordinator in the home of most that is written.
    pub sooner_than_home: f64,
}

impl CostModel {
    /// What must hold and does not.
    pub fn broken(&self) -> Vec<String> {
        let counted =
            [("told too early", self.weaker), ("outside the allowed regions", self.outside)];
        let counted = counted.into_iter().filter(|(_, count)| *count > 0);
        let mut broken: Vec<_> =
            counted.map(|(what, count)| format!("{}: {count} {what}", self.provider)).collect();
        if self.mean_off > MEAN_OFF_MAX || self.worst_off > WORST_OFF_MAX {
            broken.push(format!(
                "{}: expected and simulated latency are too far apart",
                self.provider
            ));
        }
        broken
    }
}

struct Drawn<'a> {
    network: &'a Network,
    zones: Jitter,
    rng: &'a mut Rng,
}

impl Ways for Drawn<'_> {
    fn one_way(&mut self, from: usize, to: usize) -> u64 {
        self.network.one_way(Member::of(from), Member::of(to), self.rng)
    }

    fn zones(&mut self) -> u64 {
        let trip = self.zones.one_way(self.rng) + self.zones.one_way(self.rng);
        trip.as_micros() as u64
    }
}

/// How long the client of a plan waits in the middle, and in 99 of 100 cases, when it is carried out
/// message by message: they vary as `jitter` says, zones as something that was not measured.
pub fn drawn_latency(
    map: &RttMap,
    jitter: &JitterMap,
    (plans, zones): (&PlanMap, Duration),
    (shape, plan): (&Shape<'_>, &TransactionPlan),
    (seed, transactions): (u64, usize),
) -> (Duration, Duration) {
    let network = Network::new(map.clone(), jitter);
    let mut rng = Rng::new(seed, 13);
    let mut drawn = Drawn { network: &network, zones: Jitter::of_mean(zones), rng: &mut rng };
    let mut samples = carried(plans, shape, plan, transactions.max(1), &mut drawn);
    samples.sort_unstable_by_key(|carried| carried.told);
    let at =
        |per_cent: usize| Duration::from_micros(samples[(samples.len() - 1) * per_cent / 100].told);
    (at(50), at(99))
}

/// Carries a plan out so often.
fn carried(
    plans: &PlanMap,
    shape: &Shape<'_>,
    plan: &TransactionPlan,
    transactions: usize,
    ways: &mut impl Ways,
) -> Vec<Carried> {
    let durability = plans.durability(shape, plan);
    let delays = plans.delays(shape, plan).into_iter().map(|delay| delay.as_micros() as u64);
    let delays: Vec<u64> = delays.collect();
    (0..transactions).map(|_| carry((shape, plan), &durability, &delays, ways)).collect()
}

/// Plans transactions drawn at random over the maps whose jitter was measured, and simulates them.
pub fn cost_model(seed: u64) -> Vec<CostModel> {
    [Provider::Aws, Provider::Gcp].map(|provider| of(provider, seed)).into()
}

fn of(provider: Provider, seed: u64) -> CostModel {
    let map = Shipped::rtt(provider).symmetric();
    let network = Network::new(map.clone(), &Shipped::jitter(provider));
    let plans = PlanMap::new(&map, ZONES, LAG).expect("every pair of a shipped map is known");
    let regions = map.regions().len();
    let mut rng = Rng::new(seed, 11);
    let mut model = CostModel {
        provider: provider.name(),
        plans: PLANS,
        two_phase: 0,
        pool: 0,
        mean_off: 0.0,
        worst_off: 0.0,
        mean_gap: 0.0,
        sooner: 0.0,
        sooner_than_home: 0.0,
        by_rounds: [ByRounds::default(); ROUNDS_MAX as usize],
        weaker: 0,
        outside: 0,
    };
    for _ in 0..PLANS {
        let copies: Vec<_> =
            (0..1 + rng.below(8)).map(|_| distinct(regions, 3, &mut rng)).collect();
        // In three tenths of them all that is written takes units, in the others a fifth of it. In
        // half of them all parts are in the same regions.
        let (all_pooled, one_place) = (rng.chance(300), rng.chance(500));
        let operations: Vec<_> = copies
            .iter()
            .map(|own| {
                let write = rng.chance(700);
                let pooled = write && (all_pooled || rng.chance(200));
                let holders = if pooled && one_place { &copies[0] } else { own };
                DataOperation {
                    write,
                    home: holders[0],
                    copies: &holders[1..],
                    staleness: LAG * rng.below(3) as u32,
                    bytes: 0,
                    pooled,
                }
            })
            .collect();
        let modes = [Mode::StrongGlobal, Mode::StrongRegional, Mode::EventualGlobal];
        let mode = modes[rng.below(3) as usize];
        let client = rng.below(regions as u64) as usize;
        let mut allowed: Vec<bool> = (0..regions).map(|_| rng.chance(600)).collect();
        copies.iter().flatten().for_each(|region| allowed[*region] = true);
        let rounds = 1 + rng.below(u64::from(ROUNDS_MAX)) as u32;
        let shape = Shape { client, mode, operations: &operations, allowed: &allowed, rounds };
        let mut drawn = Drawn { network: &network, zones: Jitter::of_mean(ZONES), rng: &mut rng };
        model.add(&plans, &shape, &mut drawn);
    }
    model.sooner /= model.two_phase.max(1) as f64;
    model.sooner_than_home /= model.two_phase.max(1) as f64;
    for row in &mut model.by_rounds {
        row.sooner /= row.two_phase.max(1) as f64;
        row.sooner_than_home /= row.two_phase.max(1) as f64;
    }
    model
}

impl CostModel {
    /// Plans a transaction, carries it out and compares.
    fn add(&mut self, plans: &PlanMap, shape: &Shape<'_>, drawn: &mut Drawn<'_>) {
        let plan = plans.plan(shape).expect("a test runs it: the regions of all data are allowed");
        let mut samples = carried(plans, shape, &plan, TRANSACTIONS, drawn);
        samples.sort_unstable_by_key(|carried| carried.told);
        self.weaker += samples.iter().filter(|one| is_weaker(shape, &plan, one)).count() as u64;
        self.outside += samples.iter().filter(|one| is_outside(shape, one)).count() as u64;
        let simulated = samples[TRANSACTIONS / 2].told as f64 / 1e6;
        let latency = plan.latency.as_secs_f64();
        let off = (latency - simulated).abs() / simulated.max(OFF_LEAST.as_secs_f64());
        self.mean_off += off / PLANS as f64;
        self.worst_off = self.worst_off.max(off);
        let bound = plans.bound(shape).expect("it was planned").as_secs_f64();
        self.mean_gap += (latency / bound - 1.0) / PLANS as f64;
        self.pool += usize::from(plan.kind == Kind::Pool);
        if plan.kind == Kind::TwoPhase {
            self.two_phase += 1;
            let at = |region| Some(1.0 - latency / plans.at(shape, region).ok()?.as_secs_f64());
            // Who waits may be where nothing may be coordinated: then there is no such baseline.
            let sooner = at(shape.client).unwrap_or(0.0);
            let than_home = at(most_written(shape)).unwrap_or(0.0);
            self.sooner += sooner;
            self.sooner_than_home += than_home;
            let row = &mut self.by_rounds[shape.rounds as usize - 1];
            row.two_phase += 1;
            row.sooner += sooner;
            row.sooner_than_home += than_home;
        }
    }
}

/// The home of most that is written; of equal ones the first.
fn most_written(shape: &Shape<'_>) -> usize {
    let mut written = vec![0; shape.allowed.len()];
    for operation in shape.operations.iter().filter(|operation| operation.write) {
        written[operation.home] += 1;
    }
    let most = written.iter().max().copied().unwrap_or(0);
    written.iter().position(|count| *count == most).unwrap_or(0)
}

/// So many different regions.
fn distinct(regions: usize, count: usize, rng: &mut Rng) -> Vec<usize> {
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        let region = rng.below(regions as u64) as usize;
        if !found.contains(&region) {
            found.push(region);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_as_far_as_the_middle_of_those_that_were_measured() {
        assert_eq!(ZONES, Shipped::zones(Provider::Ibm).median());
    }

    #[test]
    fn plans_take_what_they_are_expected_to() {
        for model in cost_model(1) {
            println!("{model:?}");
            assert_eq!(model.broken(), Vec::<String>::new());
            assert!(model.two_phase >= 50 && model.sooner > 0.0, "{model:?}");
            assert!(model.sooner_than_home > 0.0 && model.pool >= 30, "{model:?}");
            // From two rounds on it pays to leave the client.
            let [one, two, three] = model.by_rounds.map(|row| row.sooner);
            assert!(2.0 * one < two.min(three), "{model:?}");
        }
    }
}
