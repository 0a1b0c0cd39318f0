//! What is durable where when the client is told, for each mode and for what is drawn at random.

use std::{collections::BTreeSet, time::Duration};

use dtx_core::name::RegionName;
use proptest::prelude::*;

use crate::{
    model::RttMap,
    plan::{DataOperation, Durability, Kind, Mode, PlanMap, ROUNDS_MAX, Shape, TransactionPlan},
    sim::carry::{Carried, Ways, carry, is_outside, is_weaker},
};

const ZONES: Duration = Duration::from_millis(1);
const LAG: Duration = Duration::from_secs(2);

/// Messages that take what the map says, and then so many microseconds more, in turn.
struct Exact<'a> {
    map: &'a RttMap,
    late: &'a [u64],
    next: usize,
}

impl Exact<'_> {
    fn late(&mut self) -> u64 {
        self.next += 1;
        self.late.get(self.next % self.late.len().max(1)).copied().unwrap_or(0)
    }
}

impl Ways for Exact<'_> {
    fn one_way(&mut self, from: usize, to: usize) -> u64 {
        let rtt = self.map.rtt(from, to).expect("every pair is known");
        rtt.value.as_micros() as u64 / 2 + self.late()
    }

    fn zones(&mut self) -> u64 {
        ZONES.as_micros() as u64 + self.late()
    }
}

/// Regions on a line, 10 ms from each to the next.
fn line(regions: usize) -> RttMap {
    let names = (0..regions).map(|i| RegionName::new(format!("r{i:02}")).expect("a name"));
    let at = |name: &RegionName| name.as_str()[1..].parse::<u64>().expect("a number");
    RttMap::from_measured(names.collect(), |from, to| {
        Some(Duration::from_millis(10 * at(from).abs_diff(at(to))))
    })
}

/// Carries out what a map plans; `weaken` may make what has to be durable less.
fn run(
    map: &RttMap,
    shape: &Shape<'_>,
    late: &[u64],
    weaken: impl FnOnce(&mut Durability),
) -> (TransactionPlan, Carried) {
    let plans = PlanMap::new(map, ZONES, LAG).expect("every pair is known");
    let plan = plans.plan(shape).expect("a plan");
    let mut durability = plans.durability(shape, &plan);
    weaken(&mut durability);
    let delays: Vec<u64> =
        plans.delays(shape, &plan).iter().map(|delay| delay.as_micros() as u64).collect();
    let mut ways = Exact { map, late, next: 0 };
    let carried = carry((shape, &plan), &durability, &delays, &mut ways);
    (plan, carried)
}

fn write(home: usize, copies: &[usize]) -> DataOperation<'_> {
    DataOperation { write: true, home, copies, staleness: Duration::ZERO, bytes: 0, pooled: false }
}

fn set(regions: &[usize]) -> BTreeSet<usize> {
    regions.iter().copied().collect()
}

fn one(mode: Mode, operations: &[DataOperation<'_>]) -> (TransactionPlan, Carried) {
    let shape = Shape { client: 0, mode, operations, allowed: &[true; 8], rounds: 1 };
    let (plan, carried) = run(&line(8), &shape, &[], |_| {});
    // Without jitter it takes exactly what was expected: nothing more is waited for.
    assert_eq!(Duration::from_micros(carried.told), plan.latency, "{plan:?}");
    assert!(!is_weaker(&shape, &plan, &carried) && !is_outside(&shape, &carried), "{carried:?}");
    (plan, carried)
}

#[test]
fn strong_global_is_in_most_regions_and_so_is_its_decision() {
    let (plan, carried) = one(Mode::StrongGlobal, &[write(2, &[3, 7])]);
    assert_eq!(plan.kind, Kind::Local);
    // The near copy is enough; the far one has it later.
    assert_eq!(carried.then.writes, [set(&[2, 3])]);
    assert_eq!(carried.later.writes, [set(&[2, 3, 7])]);
    let (_, carried) = one(Mode::StrongGlobal, &[write(2, &[1, 3, 6, 7])]);
    assert_eq!(carried.then.writes, [set(&[1, 2, 3])]);
    let (plan, carried) = one(Mode::StrongGlobal, &[write(2, &[1, 3]), write(6, &[5, 7])]);
    assert_eq!(plan.kind, Kind::TwoPhase);
    assert!(carried.then.writes.iter().all(|held| held.len() == 3), "{carried:?}");
    assert!(carried.then.decision.contains(&plan.coordinator), "{carried:?}");
    assert!(carried.then.decision.len() >= 2, "{carried:?}");
}

#[test]
fn strong_regional_is_at_home_and_the_copies_follow() {
    let (plan, carried) = one(Mode::StrongRegional, &[write(2, &[3, 7])]);
    assert_eq!(plan.kind, Kind::Local);
    // The copy is sent when home is durable, so it cannot be there yet.
    assert_eq!(carried.then.writes, [set(&[2])]);
    assert_eq!(carried.later.writes, [set(&[2, 3, 7])]);
    let (plan, carried) = one(Mode::StrongRegional, &[write(2, &[7]), write(4, &[7])]);
    assert_eq!(plan.kind, Kind::TwoPhase);
    assert!(carried.then.writes[0].contains(&2) && carried.then.writes[1].contains(&4));
    assert_eq!(carried.then.decision, set(&[plan.coordinator]));
}

#[test]
fn eventual_global_is_at_the_nearest_copy_and_home_follows() {
    let (plan, carried) = one(Mode::EventualGlobal, &[write(7, &[1, 4]), write(6, &[3])]);
    assert_eq!((plan.kind, &plan.served_by[..]), (Kind::Eventual, &[1, 3][..]));
    assert!(carried.then.writes[1].contains(&3) && !carried.then.writes[0].contains(&7));
    assert_eq!(carried.later.writes, [set(&[1, 4, 7]), set(&[3, 6])]);
    assert!(carried.then.decision.is_empty());
}

#[test]
fn reads_alone_make_nothing_durable() {
    let read = DataOperation { write: false, staleness: LAG, ..write(7, &[1, 4]) };
    let (plan, carried) = one(Mode::StrongGlobal, &[read]);
    assert_eq!((plan.kind, plan.served_by), (Kind::ReadReplica, vec![1]));
    assert_eq!((carried.then, carried.touched), (carried.later, set(&[1])));
}

fn take(home: usize, copies: &[usize]) -> DataOperation<'_> {
    DataOperation { pooled: true, ..write(home, copies) }
}

#[test]
fn units_are_durable_in_the_region_that_serves_them_and_nowhere_else() {
    let read = DataOperation { write: false, staleness: LAG, ..write(7, &[3]) };
    for mode in [Mode::StrongRegional, Mode::EventualGlobal] {
        let (plan, carried) = one(mode, &[take(7, &[2, 4]), take(5, &[2]), read]);
        assert_eq!((plan.kind, &plan.served_by[..]), (Kind::Pool, &[2, 2, 3][..]));
        assert_eq!(carried.then.writes, [set(&[2]), set(&[2]), set(&[])]);
        assert_eq!(carried.then, carried.later);
        let (plan, carried) = one(mode, &[take(7, &[2, 4]), take(5, &[3])]);
        assert_eq!((plan.kind, &plan.served_by[..]), (Kind::TwoPhase, &[2, 3][..]));
        assert_eq!(carried.later.writes, [set(&[2]), set(&[3])]);
        assert_eq!(carried.then.decision, set(&[plan.coordinator]));
    }
    // There a part in one region is not enough, so it is no part.
    let (plan, carried) = one(Mode::StrongGlobal, &[take(2, &[3, 7])]);
    assert_eq!((plan.kind, &carried.then.writes[..]), (Kind::Local, &[set(&[2, 3])][..]));
    assert_eq!(carried.later.writes, [set(&[2, 3, 7])]);
}

/// Units that are taken where no part is, or in two regions without a decision, are found.
#[test]
fn units_that_are_not_there_are_found() {
    let operations = [take(2, &[3, 4]), take(6, &[3])];
    let mode = Mode::StrongRegional;
    let shape = Shape { client: 0, mode, operations: &operations, allowed: &[true; 8], rounds: 1 };
    let map = line(8);
    let plans = PlanMap::new(&map, ZONES, LAG).expect("every pair is known");
    let is_found = |kind: Kind, served_by: [usize; 2]| {
        let plan = plans.plan(&shape).expect("a plan");
        let plan = TransactionPlan { kind, served_by: served_by.to_vec(), ..plan };
        let durability = plans.durability(&shape, &plan);
        let mut ways = Exact { map: &map, late: &[], next: 0 };
        let carried = carry((&shape, &plan), &durability, &[0; 2], &mut ways);
        is_weaker(&shape, &plan, &carried)
    };
    assert!(!is_found(Kind::Pool, [3, 3]) && !is_found(Kind::TwoPhase, [2, 6]));
    // Region 5 holds no part; without a decision one pool may say no.
    assert!(is_found(Kind::TwoPhase, [5, 3]) && is_found(Kind::TwoPhase, [2, 2]));
    assert!(is_found(Kind::Pool, [2, 3]) && is_found(Kind::Local, [4, 6]));
}

/// Each round is durable before the next one begins, and the decision waits for all of them.
#[test]
fn each_round_is_gone_message_by_message() {
    let operations = [write(2, &[3, 4]), take(6, &[5, 7])];
    for mode in [Mode::StrongGlobal, Mode::StrongRegional, Mode::EventualGlobal] {
        for rounds in 1..=ROUNDS_MAX {
            let shape =
                Shape { client: 4, mode, operations: &operations, allowed: &[true; 8], rounds };
            let (plan, carried) = run(&line(8), &shape, &[], |_| {});
            assert_eq!(plan.kind, Kind::TwoPhase);
            assert_eq!(Duration::from_micros(carried.told), plan.latency, "{mode:?} {rounds}");
            assert!(!is_weaker(&shape, &plan, &carried), "{carried:?}");
        }
    }
}

/// Who is told too early is caught, whatever is left out.
#[test]
fn a_client_that_is_told_too_early_is_found() {
    let operations = [write(2, &[3, 4]), write(6, &[5, 7])];
    let strong = Shape {
        client: 4,
        mode: Mode::StrongGlobal,
        operations: &operations,
        allowed: &[true; 8],
        rounds: 1,
    };
    let is_found = |shape: &Shape<'_>, weaken: fn(&mut Durability)| {
        let (plan, carried) = run(&line(8), shape, &[], weaken);
        is_weaker(shape, &plan, &carried)
    };
    assert!(!is_found(&strong, |_| {}));
    assert!(is_found(&strong, |durability| durability.decision = None));
    assert!(is_found(&strong, |durability| {
        let decision = durability.decision.as_mut().expect("a decision");
        decision.needed = 1;
    }));
    let one = [write(2, &[3, 5, 6, 7])];
    let alone = Shape { operations: &one, ..strong };
    assert!(is_found(&alone, |durability| {
        durability.writes.iter_mut().flatten().for_each(|quorum| quorum.needed -= 1);
    }));
    let mut less = [true; 8];
    less[3] = false;
    let (_, carried) = run(&line(8), &strong, &[], |_| {});
    assert!(is_outside(&Shape { allowed: &less, ..strong }, &carried));
}

prop_compose! {
    /// Data of one operation: a home, copies without repeats, and what is done with it.
    fn data()(
        holders in prop::sample::subsequence((0..8_usize).collect::<Vec<_>>(), 1..=5).prop_shuffle(),
        write in prop::bool::weighted(0.7),
        stale in any::<bool>(),
        pooled in prop::bool::weighted(0.6),
    ) -> (Vec<usize>, bool, bool, bool) {
        (holders, write, stale, write && pooled)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is asked for: there is no plan, or one that keeps the mode and the allowed regions,
    /// however late each message is.
    #[test]
    fn never_a_weaker_mode_and_never_outside_the_allowed_regions(
        data in prop::collection::vec(data(), 1..6),
        mode in prop::sample::select(vec![
            Mode::StrongGlobal,
            Mode::StrongRegional,
            Mode::EventualGlobal,
        ]),
        allowed in prop::collection::vec(prop::bool::weighted(0.8), 8),
        client in 0..8_usize,
        rounds in 1..=ROUNDS_MAX,
        late in prop::collection::vec(0..200_000_u64, 1..40),
    ) {
        let operations: Vec<_> = data
            .iter()
            .map(|(holders, write, stale, pooled)| DataOperation {
                write: *write,
                home: holders[0],
                copies: &holders[1..],
                staleness: if *stale { LAG } else { Duration::ZERO },
                bytes: 0,
                pooled: *pooled,
            })
            .collect();
        let shape = Shape { client, mode, operations: &operations, allowed: &allowed, rounds };
        let map = line(8);
        let plans = PlanMap::new(&map, ZONES, LAG).expect("every pair is known");
        let is_strong = mode == Mode::StrongGlobal;
        let enough = |operation: &DataOperation<'_>| {
            let copies = operation.copies.iter().filter(|copy| allowed[**copy]).count();
            allowed[operation.home] && (!is_strong || !operation.write || copies >= 2)
        };
        let Ok(plan) = plans.plan(&shape) else {
            // It is refused only where it cannot be had.
            let allowed = allowed.iter().filter(|allowed| **allowed).count();
            let can_be_had = operations.iter().all(enough) && (!is_strong || allowed >= 3);
            prop_assert!(!can_be_had, "{shape:?}");
            return Ok(());
        };
        prop_assert!(operations.iter().all(enough), "{plan:?}");
        // When no message is late, it takes exactly what was expected.
        let (plan, carried) = run(&map, &shape, &[], |_| {});
        prop_assert_eq!(Duration::from_micros(carried.told), plan.latency, "{:?}", plan);
        prop_assert_eq!(plan.mode, mode);
        let (plan, carried) = run(&map, &shape, &late, |_| {});
        prop_assert!(!is_weaker(&shape, &plan, &carried), "{:?} {:?}", plan, carried);
        prop_assert!(!is_outside(&shape, &carried), "{:?} {:?}", plan, carried);
        let durability = plans.durability(&shape, &plan);
        let quorums = durability.writes.iter().chain([&durability.decision]).flatten();
        for quorum in quorums {
            prop_assert!(quorum.regions.iter().all(|region| allowed[*region]), "{:?}", quorum);
        }
        // In the end each holder that is allowed has each write, and units are taken from one part.
        let served = operations.iter().zip(&plan.served_by);
        for ((operation, server), held) in served.zip(&carried.later.writes) {
            let copies = operation.copies.iter().copied().filter(|copy| allowed[*copy]);
            let holders: BTreeSet<usize> = copies.chain([operation.home]).collect();
            prop_assert!(holders.contains(server), "{:?}", plan);
            let wanted = match operation {
                one if !one.write => BTreeSet::new(),
                one if one.pooled && !is_strong => set(&[*server]),
                _ => holders,
            };
            prop_assert_eq!(held, &wanted);
        }
    }
}
