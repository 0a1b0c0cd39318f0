//! All ways over the same transactions.

use std::collections::BTreeMap;

use crate::{
    model::{Provider, Rng},
    phase::{Schedule, place},
    sim::phases::{
        bound::Possible,
        result::{PhaseComparison, PhaseRow, PhaseTally, PlaceRow, Way},
        transaction::transact,
        world::{Draw, Known, Paths, WARM_UP},
    },
};

/// Sets of participants and coordinator.
const SETS: usize = 50;
/// Transactions of each.
const TRANSACTIONS: usize = 1_000;
/// The providers whose jitter was measured.
const PROVIDERS: [Provider; 2] = [Provider::Aws, Provider::Gcp];
/// Participants of a transaction.
const PARTICIPANTS: [usize; 3] = [2, 3, 5];
/// More jitter, in milliseconds.
const JITTERS: [u64; 4] = [5, 10, 20, 40];

/// Runs the phases of many transactions in all ways over the maps whose jitter was measured.
pub fn compare_phases(seed: u64) -> PhaseComparison {
    let mut rows = Vec::new();
    let mut places = Vec::new();
    for provider in PROVIDERS {
        for relayed in [false, true] {
            let paths = Paths::new(provider, relayed, 0);
            let of = |participants| (provider.name(), relayed, 0, participants);
            rows.extend(PARTICIPANTS.map(|count| row(&paths, of(count), seed)));
        }
        let paths = Paths::new(provider, false, 0);
        for participants in PARTICIPANTS {
            for rounds in 1..=3 {
                let gain = gain(&paths, participants, rounds, seed);
                places.push(PlaceRow { provider: provider.name(), participants, rounds, gain });
            }
        }
    }
    for jitter in JITTERS {
        let paths = Paths::new(Provider::Gcp, false, jitter);
        rows.push(row(&paths, (Provider::Gcp.name(), false, jitter, 5), seed));
    }
    PhaseComparison { seed, rows, places }
}

/// A coordinator and participants in different regions, drawn at random.
fn set(paths: &Paths, participants: usize, rng: &mut Rng) -> (usize, Vec<usize>) {
    let count = paths.map.regions().len();
    let coordinator = rng.below(count as u64) as usize;
    let mut regions: Vec<_> = (0..count).collect();
    for at in 0..participants {
        let other = at + rng.below((count - at) as u64) as usize;
        regions.swap(at, other);
    }
    regions.truncate(participants);
    (coordinator, regions)
}

fn row(
    paths: &Paths,
    (provider, relayed, jitter_ms, participants): (&'static str, bool, u64, usize),
    seed: u64,
) -> PhaseRow {
    let mut rng = Rng::new(seed, 6);
    let mut tallies = Way::ALL.map(|_| PhaseTally::new());
    let mut possible = Possible::default();
    for _ in 0..SETS {
        let (coordinator, regions) = set(paths, participants, &mut rng);
        possible.add(&run_set(paths, coordinator, &regions, &mut tallies, &mut rng));
    }
    let [eager, ideal, ..] = &tallies;
    let outcome = |tally: &PhaseTally| tally.outcome(eager, ideal);
    let ways = Way::ALL.into_iter().zip(tallies.iter().map(outcome));
    PhaseRow {
        provider,
        relayed,
        jitter_ms,
        participants,
        sets: SETS,
        transactions: TRANSACTIONS,
        fixed_max: possible.fixed_share(),
        any_max: possible.any_share(),
        ways: BTreeMap::from_iter(ways),
    }
}

/// Gives how long each answer took, by transaction and participant.
fn run_set(
    paths: &Paths,
    coordinator: usize,
    regions: &[usize],
    tallies: &mut [PhaseTally],
    rng: &mut Rng,
) -> Vec<Vec<u64>> {
    let mut known: Vec<_> = regions.iter().map(|_| Known::default()).collect();
    for _ in 0..WARM_UP {
        for (known, region) in known.iter_mut().zip(regions) {
            known.learn(&paths.draw(coordinator, *region, rng));
        }
    }
    let farthest = regions.iter().filter_map(|region| paths.closed.rtt(coordinator, *region));
    let bound = farthest.map(|rtt| rtt.value.as_micros() as u64).max().unwrap_or(0);
    let mut schedule = Schedule::default();
    let mut answers = Vec::with_capacity(TRANSACTIONS);
    for _ in 0..TRANSACTIONS {
        let draws: Vec<_> =
            regions.iter().map(|region| paths.draw(coordinator, *region, rng)).collect();
        for (way, tally) in Way::ALL.into_iter().zip(tallies.iter_mut()) {
            tally.add(bound, &transact(way, &known, &draws, &mut schedule));
        }
        for (known, draw) in known.iter_mut().zip(&draws) {
            known.learn(draw);
        }
        answers.push(draws.iter().map(Draw::answer).collect());
    }
    let eager_p99 = tallies[0].set_p99();
    tallies.iter_mut().for_each(|tally| tally.end_set(eager_p99));
    answers
}

fn gain(paths: &Paths, participants: usize, rounds: u32, seed: u64) -> f64 {
    const DRAWS: usize = 2_000;
    let mut rng = Rng::new(seed, 7);
    let (mut at_client, mut best) = (0.0, 0.0);
    for _ in 0..DRAWS {
        let (client, regions) = set(paths, participants, &mut rng);
        let farthest = regions.iter().filter_map(|region| paths.map.rtt(client, *region));
        let farthest = farthest.map(|rtt| rtt.value.as_secs_f64()).fold(0.0, f64::max);
        let found = place(&paths.map, client, &regions, rounds);
        at_client += farthest * f64::from(rounds);
        best += found.expect("every pair of a shipped map is known").latency.as_secs_f64();
    }
    1.0 - best / at_client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_run() {
        let paths = Paths::new(Provider::Gcp, true, 0);
        let run = |seed| {
            let mut rng = Rng::new(seed, 6);
            let mut tallies = Way::ALL.map(|_| PhaseTally::new());
            let (coordinator, regions) = set(&paths, 3, &mut rng);
            assert!(regions[0] != regions[1] && regions[1] != regions[2]);
            run_set(&paths, coordinator, &regions, &mut tallies, &mut rng);
            tallies[3].outcome(&tallies[0], &tallies[1])
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
