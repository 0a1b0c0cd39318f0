//! Runs whose nodes lie in regions keep every promise, take their ways, and show what is wrong.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use dtx_core::{
    engine::Placement, name::RegionName, pattern::Phase, store::RecordKind, time::Timestamp,
    transaction::Operation,
};
use dtx_sim::{Draw, Fault, Faults, Mutation, Regions, Sim, history::What};

/// How many seeds.
const SEEDS: u64 = 1_000;
/// The way of the one test that measures it, in microseconds.
const WAY_US: u64 = 400_000;

fn names() -> [RegionName; 5] {
    ["a", "b", "c", "d", "e"].map(|name| RegionName::new(name).expect("a name"))
}

/// Up to 200 ms from one to the farthest, and a tenth more at random.
fn one_way(from: usize, to: usize, draw: &mut Draw) -> Duration {
    let micros = from.abs_diff(to) as u64 * 50_000;
    Duration::from_micros(micros + draw.below(micros / 10 + 1))
}

#[test]
fn over_regions_every_promise_holds() {
    let summary =
        Sim::explore(0..SEEDS).faults(Faults::all()).regions(Regions::new(names(), one_way)).run();
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
    let lost = summary.sometimes.get("region_losses").copied().unwrap_or(0);
    println!("{} runs, {lost} with lost regions: {:?}", summary.runs, summary.counters);
    assert!(lost > SEEDS / 4, "{lost} runs lost a region");
}

#[test]
fn a_run_over_regions_is_the_same_run_again_and_another_than_without() {
    let without = Sim::explore(0..1).faults(Faults::all());
    let over = without.clone().regions(Regions::new(names(), one_way));
    for seed in 0..20 {
        let (first, second) = (over.replay(seed), over.replay(seed));
        assert_eq!(first.trace_hash, second.trace_hash);
        assert_ne!(first.trace_hash, without.replay(seed).trace_hash);
    }
}

#[test]
fn no_region_is_lost_without_that_fault_or_without_regions() {
    let over = Sim::explore(0..200).regions(Regions::new(names(), one_way));
    let rest = Faults::all().without(Fault::RegionLoss);
    assert_eq!(over.clone().faults(rest).run().counters.region_losses, 0);
    assert_eq!(Sim::explore(0..200).faults(Faults::all()).run().counters.region_losses, 0);
    let alone = over.faults(Faults::none().with(Fault::RegionLoss)).run().counters;
    assert!(alone.region_losses > 0 && alone.crashes > alone.region_losses, "{alone:?}");
    assert_eq!((alone.partitions, alone.stalls, alone.duplicates), (0, 0, 0));
}

/// Commands, replies, and the calls to the store are all on their way.
#[test]
fn messages_and_calls_to_the_store_take_their_way() {
    let way = |_, _, _: &mut Draw| Duration::from_micros(WAY_US);
    let explorer = Sim::explore(0..1).faults(Faults::none()).regions(Regions::new(names(), way));
    let (mut replies, mut accepts, mut told) = (0, 0, 0);
    for seed in 0..50 {
        let journal = explorer.replay(seed).journal;
        let mut commands = BTreeMap::new();
        let mut begun = BTreeMap::new();
        let mut verdicts = BTreeMap::new();
        for line in &journal {
            let Some(tx) = line.tx else { continue };
            match &line.what {
                What::Submitted { .. } => drop(begun.entry(tx).or_insert(line.at_us)),
                What::Command { operation, phase, .. } => {
                    commands.entry((tx, *operation, *phase)).or_insert(line.at_us);
                }
                What::Reply { operation, phase, .. } if !phase.is_backward() => {
                    let asked = commands[&(tx, *operation, *phase)];
                    assert!(line.at_us >= asked + WAY_US, "seed {seed}: {line:?} of {asked}");
                    replies += 1;
                }
                What::Landed { record: RecordKind::Accepted, .. } => {
                    let asked = begun[&tx];
                    assert!(line.at_us >= asked + WAY_US, "seed {seed}: {line:?} of {asked}");
                    accepts += 1;
                }
                What::Landed { record: RecordKind::Verdict, .. } => {
                    verdicts.insert(tx, line.at_us);
                }
                What::Told { .. } if verdicts.contains_key(&tx) => {
                    let landed = verdicts[&tx];
                    assert!(line.at_us >= landed + WAY_US, "seed {seed}: {line:?} of {landed}");
                    told += 1;
                }
                _ => {}
            }
        }
    }
    assert!(replies > 1_000 && accepts > 300 && told > 100, "{replies}, {accepts}, {told}");
}

/// Says nothing of its own, and knows for whom it was made.
#[derive(Debug)]
struct Known(RegionName, Arc<Mutex<BTreeMap<RegionName, u64>>>);

impl Placement for Known {
    fn delays(&self, operations: &[&Operation], _: &[Phase]) -> Vec<Duration> {
        let named = operations.iter().all(|operation| operation.region().is_some());
        assert!(named, "the operations name their regions");
        *self.1.lock().expect("no run panics").entry(self.0.clone()).or_default() += 1;
        Vec::new()
    }

    fn timeout(&self, _: &Operation, _: Phase) -> Option<Duration> {
        None
    }

    fn answered(&self, _: &Operation, _: Phase, _: Timestamp, _: Duration) {}

    fn withdrawn(&self, _: &Operation, _: Phase) {}
}

#[test]
fn each_coordinator_has_the_placement_of_its_region() {
    let asked: Arc<Mutex<BTreeMap<_, _>>> = Arc::default();
    let counts = asked.clone();
    let regions = Regions::new(names(), one_way)
        .with_placement(move |region| Arc::new(Known(region.clone(), counts.clone())));
    let summary = Sim::explore(0..50).faults(Faults::none()).regions(regions).run();
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
    let asked = asked.lock().expect("no run panics");
    assert!(names().iter().all(|name| asked.contains_key(name)), "{asked:?}");
}

/// What the checks find without regions they find over regions too.
#[test]
fn over_regions_a_rule_that_is_taken_out_is_missed() {
    let rules = [
        (Mutation::NotFenced, 400),
        (Mutation::UnknownIsNo, 400),
        (Mutation::PivotBeforeRecord, 100),
        (Mutation::ForgottenEarly, 200),
        (Mutation::PinnedExpires, 400),
    ];
    for (mutation, seeds) in rules {
        let regions = Regions::new(names(), one_way);
        let summary = Sim::explore(0..seeds).mutant(mutation).regions(regions).run();
        assert!(summary.failed > 0, "{mutation:?} was not found in {seeds} seeds");
    }
}
