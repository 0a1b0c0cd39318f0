//! What plans cost and how often they fail, which are offered, and when one is left for another.

use std::time::Duration;

use dtx_core::name::RegionName;
use dtx_geo::{
    model::{Prices, Provider, Rng, RttMap, Shipped},
    plan::{
        Criterion, DataOperation, Keeper, Kind, LOOKS, Market, Mode, Offer, PlanMap, Risk,
        RiskError, Shape, Transfer,
    },
};

const ZONES: Duration = Duration::from_millis(1);
const LAG: Duration = Duration::from_secs(2);
const GB: u64 = 1_000_000_000;

fn write(home: usize, copies: &[usize], bytes: u64) -> DataOperation<'_> {
    DataOperation { write: true, home, copies, staleness: Duration::ZERO, bytes, pooled: false }
}

fn read(home: usize, copies: &[usize], bytes: u64) -> DataOperation<'_> {
    DataOperation { write: false, home, copies, staleness: LAG, bytes, pooled: false }
}

/// Regions on a line, so far from each to the next.
fn line(millis: &[u64]) -> RttMap {
    let names = (0..=millis.len()).map(|i| RegionName::new(format!("r{i}")).expect("a name"));
    let at = |name: &RegionName| {
        let index = name.as_str()[1..].parse::<usize>().expect("a number");
        millis[..index].iter().sum::<u64>()
    };
    RttMap::from_measured(names.collect(), |from, to| {
        Some(Duration::from_millis(at(from).abs_diff(at(to))))
    })
}

fn plans(map: &RttMap) -> PlanMap {
    PlanMap::new(map, ZONES, LAG).expect("every pair is known")
}

#[test]
fn data_is_paid_for_on_each_way_between_regions() {
    let map = Shipped::rtt(Provider::Aws);
    let at = |name: &str| map.index(name).expect("it is in the map");
    let (virginia, ohio, ireland) = (at("us-east-1"), at("us-east-2"), at("eu-west-1"));
    let copies = [ohio];
    let allowed = vec![true; map.regions().len()];
    let plans = plans(&map);
    let plan = |client, operations: &[DataOperation<'_>]| {
        let shape =
            Shape { client, mode: Mode::StrongRegional, operations, allowed: &allowed, rounds: 1 };
        let plan = plans.plan(&shape).expect("a plan");
        let usd = plans.usd(&shape, &plan, &map, &Shipped::prices());
        (plans.transfers(&shape, &plan), usd.expect("every price is known"))
    };
    // Written at home, copied to Ohio.
    let (transfers, usd) = plan(virginia, &[write(virginia, &copies, GB)]);
    assert_eq!(transfers, [Transfer { from: virginia, to: ohio, bytes: GB }]);
    assert!((usd - 0.01).abs() < 1e-9, "{usd}");
    // From Ireland it costs the way there besides.
    let (transfers, usd) = plan(ireland, &[write(virginia, &copies, GB)]);
    assert_eq!(transfers[0], Transfer { from: ireland, to: virginia, bytes: GB });
    assert!((usd - 0.03).abs() < 1e-9, "{usd}");
    // What is read comes back once.
    let (transfers, usd) = plan(ireland, &[read(virginia, &[], GB)]);
    assert_eq!(transfers, [Transfer { from: virginia, to: ireland, bytes: GB }]);
    assert!((usd - 0.02).abs() < 1e-9, "{usd}");
    assert_eq!(plan(virginia, &[read(virginia, &[], GB)]), (Vec::new(), 0.0));
    assert_eq!(plan(ireland, &[read(virginia, &[], 0)]), (Vec::new(), 0.0));
    // A price that nobody knows is not zero.
    let operations = [write(virginia, &copies, GB)];
    let mode = Mode::StrongRegional;
    let shape =
        Shape { client: virginia, mode, operations: &operations, allowed: &allowed, rounds: 1 };
    let found = plans.plan(&shape).expect("a plan");
    assert_eq!(plans.usd(&shape, &found, &map, &Prices::default()), None);
}

#[test]
fn a_probability_is_from_0_to_1() {
    assert!(Risk::new(0.0, 1.0, 0.5).is_ok());
    let wrong = |field, value| Err(RiskError { field, value });
    assert_eq!(Risk::new(1.01, 0.0, 0.0), wrong("region", 1.01));
    assert_eq!(Risk::new(0.0, -0.01, 0.0), wrong("zone", -0.01));
    assert!(Risk::new(0.0, 0.0, f64::NAN).is_err());
}

/// Whether a two-phase commit of writes can be carried out when these regions and ways work.
fn is_possible(
    shape: &Shape<'_>,
    (coordinator, log): (usize, [usize; 2]),
    up: impl Fn(usize) -> bool,
    way: impl Fn(usize, usize) -> bool,
) -> bool {
    let reaches = |from: usize, to: usize| up(to) && (from == to || way(from, to));
    let writes = shape.operations.iter().all(|operation| {
        let copies = operation.copies.iter().filter(|copy| reaches(operation.home, **copy)).count();
        reaches(coordinator, operation.home) && 2 * copies >= operation.copies.len()
    });
    reaches(shape.client, coordinator)
        && writes
        && log.iter().any(|other| reaches(coordinator, *other))
}

/// The failure is compared with that over every state of six regions and of the ways between them.
#[test]
fn a_failure_is_never_understated_and_hardly_overstated() {
    let map = line(&[10, 20, 30, 40, 50]);
    let (plans, mut rng) = (plans(&map), Rng::new(1, 31));
    let (region, link) = (0.03, 0.0);
    let risk = Risk::new(region, 0.0, link).expect("probabilities");
    let mut farthest = 0.0_f64;
    for _ in 0..200 {
        let homes: Vec<usize> = (0..2).map(|_| rng.below(6) as usize).collect();
        if homes[0] == homes[1] {
            continue;
        }
        let copies = homes.iter().map(|home| [(home + 1) % 6, (home + 3) % 6]).collect::<Vec<_>>();
        let operations: Vec<_> =
            homes.iter().zip(&copies).map(|(home, copies)| write(*home, copies, 1)).collect();
        let (client, mode) = (rng.below(6) as usize, Mode::StrongGlobal);
        let shape = Shape { client, mode, operations: &operations, allowed: &[true; 6], rounds: 1 };
        let plan = plans.plan(&shape).expect("a plan");
        let mut others: Vec<usize> = (0..6).filter(|other| *other != plan.coordinator).collect();
        others.sort_by_key(|to| map.rtt(plan.coordinator, *to).expect("known").value);
        let at = (plan.coordinator, [others[0], others[1]]);
        let exact: f64 = (0..64_u32)
            .filter(|state| !is_possible(&shape, at, |r| state >> r & 1 == 1, |_, _| true))
            .map(|state| {
                let up = state.count_ones() as i32;
                (1.0 - region).powi(up) * region.powi(6 - up)
            })
            .sum();
        let found = plans.failure(&shape, &plan, &risk);
        assert!(found >= exact - 1e-12, "{found} is less than {exact}: {shape:?}");
        farthest = farthest.max(found / exact - 1.0);
    }
    println!("overstated by at most {:.2} %", farthest * 100.0);
    assert!(farthest < 0.05, "{farthest}");
}

#[test]
fn each_part_that_can_fail_is_counted() {
    let map = line(&[10, 20, 30]);
    let plans = plans(&map);
    let failure = |mode, client, operations: &[DataOperation<'_>], risk: (f64, f64, f64)| {
        let shape = Shape { client, mode, operations, allowed: &[true; 4], rounds: 1 };
        let plan = plans.plan(&shape).expect("a plan");
        plans.failure(&shape, &plan, &Risk::new(risk.0, risk.1, risk.2).expect("probabilities"))
    };
    let close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-12, "{found} and not {expected}");
    };
    let one = [write(1, &[2, 3], 1)];
    close(failure(Mode::StrongRegional, 1, &one, (0.0, 0.0, 0.0)), 0.0);
    close(failure(Mode::StrongRegional, 1, &one, (0.1, 0.0, 0.0)), 0.1);
    // Two or three of three zones fail.
    close(failure(Mode::StrongRegional, 1, &one, (0.0, 0.1, 0.0)), 0.001 + 3.0 * 0.01 * 0.9);
    // The way from the client.
    close(failure(Mode::StrongRegional, 0, &one, (0.0, 0.0, 0.1)), 0.1);
    // One of two copies is enough; each is its region and the way there.
    close(failure(Mode::StrongGlobal, 1, &one, (0.1, 0.0, 0.0)), 1.0 - 0.9 * (1.0 - 0.01));
    close(failure(Mode::StrongGlobal, 1, &one, (0.0, 0.0, 0.1)), 0.01);
    // A region that serves both is needed once.
    let both = [read(1, &[], 1), read(1, &[], 1)];
    close(failure(Mode::StrongRegional, 1, &both, (0.1, 0.0, 0.0)), 0.1);
}

/// The prices make every region dear to send from but the last.
fn prices(regions: usize) -> Prices {
    let mut text = String::from("src,dst,usd_per_gb\n");
    for from in 0..regions {
        for to in (0..regions).filter(|to| *to != from) {
            let price = if from == regions - 1 { 0.01 } else { 0.1 };
            text.push_str(&format!("aws/r{from},aws/r{to},{price}\n"));
        }
    }
    Prices::load(&text).expect("it loads")
}

#[test]
fn none_of_the_offers_is_better_in_everything_and_all_others_are_worse() {
    let map = line(&[10, 20, 15, 40]);
    let (plans, prices, mut rng) = (plans(&map), prices(5), Rng::new(1, 32));
    let risk = Risk::new(0.01, 0.001, 0.005).expect("probabilities");
    let market = Market { map: &map, prices: &prices, risk };
    let better = |one: &Offer, other: &Offer| {
        let (one, other) = [one, other]
            .map(|offer| (offer.plan.latency, offer.usd.expect("known"), offer.failure))
            .into();
        one.0 <= other.0 && one.1 <= other.1 && one.2 <= other.2 && one != other
    };
    let mut several = 0;
    for _ in 0..300 {
        let homes = [rng.below(5) as usize, rng.below(5) as usize];
        let copies = homes.map(|home| [(home + 1) % 5, (home + 2) % 5]);
        let operations = [write(homes[0], &copies[0], GB), write(homes[1], &copies[1], 3 * GB)];
        let shape = Shape {
            client: rng.below(5) as usize,
            mode: Mode::StrongGlobal,
            operations: &operations,
            allowed: &[true; 5],
            rounds: 1,
        };
        let offers = plans.offers(&shape, &market, Criterion::Latency).expect("offers");
        assert_eq!(offers[0].plan.latency, plans.plan(&shape).expect("a plan").latency);
        several += usize::from(offers.len() > 1);
        for (at, offer) in offers.iter().enumerate() {
            assert!(!offers.iter().any(|other| better(other, offer)));
            assert!(at == 0 || offers[at - 1].plan.latency <= offer.plan.latency);
        }
        if offers[0].plan.kind != Kind::TwoPhase {
            assert_eq!(offers.len(), 1);
            continue;
        }
        for coordinator in 0..5 {
            let latency = plans.at(&shape, coordinator).expect("allowed");
            let is_offered = offers.iter().any(|offer| offer.plan.coordinator == coordinator);
            let as_soon = offers.iter().any(|offer| offer.plan.latency <= latency);
            assert!(is_offered || as_soon, "{coordinator}");
        }
        for (by, least) in [
            (
                Criterion::Money,
                offers.iter().filter_map(|offer| offer.usd).fold(f64::MAX, f64::min),
            ),
            (Criterion::Failure, offers.iter().map(|offer| offer.failure).fold(f64::MAX, f64::min)),
        ] {
            let first = &plans.offers(&shape, &market, by).expect("offers")[0];
            let found = if by == Criterion::Money { first.usd } else { Some(first.failure) };
            assert_eq!(found, Some(least), "{by:?}");
        }
    }
    assert!(several > 30, "only {several} have a choice");
}

#[test]
fn an_unknown_price_is_not_compared() {
    let map = line(&[10, 20, 15, 40]);
    let plans = plans(&map);
    let risk = Risk::new(0.0, 0.0, 0.0).expect("probabilities");
    let (known, unknown) = (prices(5), Prices::default());
    let operations = [write(0, &[1, 2], GB), write(1, &[2, 3], GB)];
    let mode = Mode::StrongGlobal;
    let shape = Shape { client: 4, mode, operations: &operations, allowed: &[true; 5], rounds: 1 };
    let offers = |prices| {
        let market = Market { map: &map, prices, risk };
        plans.offers(&shape, &market, Criterion::Money).expect("offers")
    };
    assert!(offers(&known).len() > 1);
    let found = offers(&unknown);
    assert_eq!((found.len(), found[0].usd), (1, None));
    assert_eq!(found[0].plan.latency, plans.plan(&shape).expect("a plan").latency);
}

/// Two homes on a line, and two places for the coordinator that take turns in being nearer.
fn turning(near_micros: u64) -> PlanMap {
    let names = ["a", "b", "c", "d"].map(|name| RegionName::new(name).expect("a name"));
    let map = RttMap::from_measured(names.into(), |from, to| {
        let micros = match (from.as_str(), to.as_str()) {
            (a, b) if a == b => 0,
            ("a", "c") | ("c", "a") | ("a", "d") | ("d", "a") => 100_000,
            ("b", _) | (_, "b") => near_micros,
            _ => 200_000,
        };
        Some(Duration::from_micros(micros))
    });
    plans(&map)
}

#[test]
fn a_plan_is_left_for_a_gain_that_stays_and_at_once_when_it_is_not_allowed() {
    let operations = [write(2, &[], 1), write(3, &[], 1)];
    let mode = Mode::StrongRegional;
    let (all, without_b) = ([true; 4], [true, false, true, true]);
    let shape = Shape { client: 0, mode, operations: &operations, allowed: &all, rounds: 1 };
    // From the client 0 + 100 + 2; over b twice the way there and 2.
    let even = turning(51_000);
    let mut keeper = Keeper::new(&even, &shape).expect("a plan");
    assert_eq!((keeper.held().coordinator, keeper.held().latency.as_millis()), (0, 102));
    // 96.9 is sooner by one twentieth and no more, however often.
    for _ in 0..10 * LOOKS {
        assert_eq!(keeper.look(&turning(47_450), &shape).expect("a plan").coordinator, 0);
    }
    // A little more, but not for long enough.
    for _ in 0..5 {
        for _ in 1..LOOKS {
            assert_eq!(keeper.look(&turning(47_449), &shape).expect("a plan").coordinator, 0);
        }
        assert_eq!(keeper.look(&even, &shape).expect("a plan").coordinator, 0);
    }
    for look in 1..=LOOKS {
        let coordinator = keeper.look(&turning(47_449), &shape).expect("a plan").coordinator;
        assert_eq!(coordinator, usize::from(look == LOOKS));
    }
    // The latency is that of the newer map.
    let later = keeper.look(&turning(48_000), &shape).expect("a plan");
    assert_eq!((later.coordinator, later.latency.as_millis()), (1, 98));
    // Not allowed any more.
    let fewer = Shape { allowed: &without_b, ..shape };
    assert_eq!(keeper.look(&turning(47_449), &fewer).expect("a plan").coordinator, 0);
    // What cannot be planned leaves it as it is.
    let none = Shape { allowed: &[true, true, false, true], ..shape };
    assert!(keeper.look(&even, &none).is_err());
    assert_eq!(keeper.held().coordinator, 0);
}

/// What was planned for a weaker mode is no plan for a stronger one, however soon it is.
#[test]
fn a_plan_of_another_mode_is_left_at_once() {
    let map = line(&[10, 20, 15, 40]);
    let plans = plans(&map);
    let operations = [write(0, &[1, 2], 1), write(3, &[1, 2], 1)];
    let shape =
        |mode| Shape { client: 0, mode, operations: &operations, allowed: &[true; 5], rounds: 1 };
    let mut keeper = Keeper::new(&plans, &shape(Mode::StrongRegional)).expect("a plan");
    let strong = shape(Mode::StrongGlobal);
    let held = keeper.look(&plans, &strong).expect("a plan");
    assert_eq!((held.mode, held), (Mode::StrongGlobal, &plans.plan(&strong).expect("a plan")));
}
