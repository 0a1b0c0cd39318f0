//! How transactions over regions are carried out: the best coordinator, and never a weaker mode.

use std::time::Duration;

use dtx_core::name::RegionName;
use dtx_geo::{
    model::{Provider, Rng, RttMap, Shipped},
    plan::{DataOperation, Kind, Mode, OPERATIONS_MAX, PlanError, PlanMap, Shape, TransactionPlan},
};

const ZONES: Duration = Duration::from_millis(1);
const LAG: Duration = Duration::from_secs(2);

/// Regions on a line, 10 ms from each to the next.
fn line(regions: usize) -> PlanMap {
    let names = (0..regions).map(|i| RegionName::new(format!("r{i:02}")).expect("a name"));
    let at = |name: &RegionName| name.as_str()[1..].parse::<u64>().expect("a number");
    let map = RttMap::from_measured(names.collect(), |from, to| {
        Some(Duration::from_millis(10 * at(from).abs_diff(at(to))))
    });
    PlanMap::new(&map, ZONES, LAG).expect("every pair is known")
}

fn write(home: usize, copies: &[usize]) -> DataOperation<'_> {
    DataOperation { write: true, home, copies, staleness: Duration::ZERO, bytes: 0, pooled: false }
}

fn read(home: usize, copies: &[usize], staleness: Duration) -> DataOperation<'_> {
    DataOperation { write: false, home, copies, staleness, bytes: 0, pooled: false }
}

fn plan(
    client: usize,
    mode: Mode,
    operations: &[DataOperation<'_>],
    allowed: &[bool],
) -> Result<TransactionPlan, PlanError> {
    line(allowed.len()).plan(&Shape { client, mode, operations, allowed, rounds: 1 })
}

fn seen(found: Result<TransactionPlan, PlanError>) -> (Kind, usize, u128) {
    let found = found.expect("a plan");
    (found.kind, found.coordinator, found.latency.as_millis())
}

#[test]
fn a_strong_write_is_durable_where_its_mode_says_before_the_client_is_told() {
    let (all, one) = ([true; 8], [write(2, &[3, 6])]);
    // To the home and back, and then to the zones, or to the nearest other copy.
    assert_eq!(seen(plan(0, Mode::StrongRegional, &one, &all)), (Kind::Local, 2, 21));
    assert_eq!(seen(plan(0, Mode::StrongGlobal, &one, &all)), (Kind::Local, 2, 30));
    // Of five copies, two others are needed.
    let five = [write(2, &[0, 3, 5, 6])];
    assert_eq!(seen(plan(0, Mode::StrongGlobal, &five, &all)), (Kind::Local, 2, 40));
    // The nearest copy takes it.
    let found = plan(7, Mode::EventualGlobal, &one, &all).expect("a plan");
    assert_eq!((found.kind, found.latency.as_millis()), (Kind::Eventual, 11));
    assert_eq!(found.served_by, [6]);
}

#[test]
fn a_read_goes_to_the_nearest_copy_that_is_fresh_enough() {
    let all = [true; 8];
    let reads = [read(7, &[1, 4], LAG), read(4, &[0], LAG - Duration::from_nanos(1))];
    let found = plan(0, Mode::StrongRegional, &reads, &all).expect("a plan");
    assert_eq!((found.kind, found.latency.as_millis()), (Kind::ReadReplica, 40));
    assert_eq!(found.served_by, [1, 4]);
}

#[test]
fn a_commit_over_two_homes_goes_to_the_middle() {
    let all = [true; 8];
    let both = [write(5, &[6, 7]), write(7, &[6, 5])];
    // One way to the coordinator, to both homes, and to its zones.
    let found = plan(0, Mode::StrongRegional, &both, &all);
    assert_eq!(seen(found), (Kind::TwoPhase, 0, 72));
    let two = [write(2, &[3, 4]), write(6, &[5, 4])];
    let found = plan(4, Mode::StrongGlobal, &two, &all);
    assert_eq!(seen(found), (Kind::TwoPhase, 4, 20 + 10 + 10));
}

#[test]
fn nothing_is_done_outside_the_allowed_regions_or_in_a_weaker_mode() {
    let mut allowed = [true; 8];
    let one = [write(2, &[3, 6])];
    allowed[3] = false;
    let weaker = plan(0, Mode::StrongGlobal, &one, &allowed);
    assert_eq!(weaker, Err(PlanError::Copies(0)));
    allowed[2] = false;
    assert_eq!(plan(0, Mode::StrongRegional, &one, &allowed), Err(PlanError::Home(0)));
    // The best coordinator would be 4.
    let mut allowed = [true; 8];
    allowed[4] = false;
    let two = [write(2, &[1, 3]), write(6, &[5, 7])];
    let found = plan(4, Mode::StrongRegional, &two, &allowed).expect("a plan");
    assert!(allowed[found.coordinator] && found.latency.as_millis() == 42, "{found:?}");
    let stale = [read(0, &[4, 5], LAG)];
    assert_eq!(plan(4, Mode::StrongGlobal, &stale, &allowed).expect("a plan").served_by, [5]);
    // A decision needs three regions, too.
    let reads = [read(1, &[], Duration::ZERO)];
    let shape = |allowed| Shape {
        client: 0,
        mode: Mode::StrongGlobal,
        operations: &reads,
        allowed,
        rounds: 1,
    };
    let three = line(3);
    assert!(three.at(&shape(&[true, true, true]), 0).is_ok());
    assert_eq!(three.at(&shape(&[true, true, false]), 0), Err(PlanError::Log));
    assert_eq!(three.at(&shape(&[true, true, false]), 2), Err(PlanError::Region));
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let all = [true; 8];
    let most = vec![write(1, &[2, 3]); OPERATIONS_MAX + 1];
    let plan = |operations: &[DataOperation<'_>]| plan(0, Mode::StrongGlobal, operations, &all);
    assert!(plan(&most[1..]).is_ok());
    assert_eq!(plan(&most), Err(PlanError::Operations(OPERATIONS_MAX + 1)));
    assert_eq!(plan(&[]), Err(PlanError::Operations(0)));
    assert_eq!(plan(&[write(1, &[2, 8])]), Err(PlanError::Region));
    assert_eq!(plan(&[write(1, &[2, 2])]), Err(PlanError::Twice(0)));
    assert_eq!(plan(&[write(1, &[2, 3]), write(1, &[1, 2])]), Err(PlanError::Twice(1)));
}

/// Over 48 regions, up to eight operations and three rounds no coordinator is better than that of the plan, and
/// none is below the bound.
#[test]
fn no_other_coordinator_is_better() {
    let map = Shipped::rtt(Provider::Azure);
    let plans = PlanMap::new(&map, ZONES, LAG).expect("every pair is known");
    let (allowed, mut rng) = ([true; 48], Rng::new(1, 12));
    for _ in 0..500 {
        let homes: Vec<_> = (0..2 + rng.below(7)).map(|_| rng.below(48) as usize).collect();
        let copies: Vec<_> = homes.iter().map(|home| [(home + 7) % 48, (home + 19) % 48]).collect();
        let operations: Vec<_> =
            homes.iter().zip(&copies).map(|(home, copies)| write(*home, copies)).collect();
        let (client, rounds) = (rng.below(48) as usize, 1 + rng.below(3) as u32);
        let shape = Shape {
            client,
            mode: Mode::StrongGlobal,
            operations: &operations,
            allowed: &allowed,
            rounds,
        };
        let found = plans.plan(&shape).expect("a plan");
        if found.kind == Kind::TwoPhase {
            let best = (0..48).map(|region| plans.at(&shape, region).expect("allowed")).min();
            assert_eq!(Some(found.latency), best);
        }
        assert!(plans.bound(&shape).expect("a plan") <= found.latency);
    }
}
