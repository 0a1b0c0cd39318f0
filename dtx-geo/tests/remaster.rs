//! Moving the homes of what is written: what it saves, what it takes, and where it may go.

use std::time::Duration;

use dtx_core::name::RegionName;
use dtx_geo::{
    model::{Prices, Rng, RttMap},
    plan::{DataOperation, HomeMove, Kind, Mode, PlanError, PlanMap, Remaster, Shape},
};

const ZONES: Duration = Duration::from_millis(1);
const LAG: Duration = Duration::from_secs(2);
const GB: u64 = 1_000_000_000;
const ALL: &[bool] = &[true; 8];

/// Regions on a line, 10 ms from each to the next.
fn line() -> RttMap {
    let names = (0..8).map(|i| RegionName::new(format!("r{i}")).expect("a name"));
    let at = |name: &RegionName| name.as_str()[1..].parse::<u64>().expect("a number");
    RttMap::from_measured(names.collect(), |from, to| {
        Some(Duration::from_millis(10 * at(from).abs_diff(at(to))))
    })
}

fn plans(map: &RttMap) -> PlanMap {
    PlanMap::new(map, ZONES, LAG).expect("every pair is known")
}

/// Ten cents for each GB between any two of the first seven regions.
fn prices() -> Prices {
    let mut text = String::from("src,dst,usd_per_gb\n");
    for (from, to) in (0..49).map(|pair| (pair / 7, pair % 7)).filter(|(from, to)| from != to) {
        text.push_str(&format!("aws/r{from},aws/r{to},0.1\n"));
    }
    Prices::load(&text).expect("it loads")
}

fn write(home: usize, copies: &[usize]) -> DataOperation<'_> {
    let staleness = Duration::ZERO;
    DataOperation { write: true, home, copies, staleness, bytes: GB, pooled: false }
}

fn take(home: usize, copies: &[usize]) -> DataOperation<'_> {
    DataOperation { pooled: true, ..write(home, copies) }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn found(shape: &Shape<'_>, repeats: u64) -> Option<Remaster> {
    let (map, prices) = (line(), prices());
    let wanted = HomeMove { repeats, data: &[], map: &map, prices: &prices };
    plans(&map).remaster(shape, &wanted).expect("a plan")
}

fn to(shape: &Shape<'_>, region: usize, data: &[u64]) -> Option<Remaster> {
    let (map, prices) = (line(), prices());
    let wanted = HomeMove { repeats: 0, data, map: &map, prices: &prices };
    let all = plans(&map).remasters(shape, &wanted).expect("a plan");
    all.into_iter().find(|found| found.region == region)
}

fn shape<'a>(client: usize, mode: Mode, operations: &'a [DataOperation<'a>]) -> Shape<'a> {
    Shape { client, mode, operations, allowed: ALL, rounds: 1 }
}

#[test]
fn homes_in_one_region_need_no_agreement() {
    // Two homes: 50 to the farther one, and the zones twice.
    let two = [write(3, &[1, 2]), write(5, &[3])];
    let shape = shape(0, Mode::StrongRegional, &two);
    let moved = to(&shape, 3, &[]).expect("it is allowed");
    // One home moves, over 20 ms, to where it has a copy; 31 instead of 52.
    assert_eq!((moved.moved, moved.takes, moved.usd), (vec![1], ms(20), Some(0.0)));
    assert_eq!((moved.plan.kind, moved.plan.coordinator), (Kind::Local, 3));
    assert_eq!((moved.plan.latency, moved.saving, moved.break_even), (ms(31), ms(21), Some(1)));
    // Both to the client: 50 for the farther, and 1 instead of 52.
    let moved = to(&shape, 0, &[]).expect("it is allowed");
    assert_eq!((moved.moved, moved.takes, moved.saving), (vec![0, 1], ms(50), ms(51)));
    assert_eq!((moved.usd, moved.break_even), (Some(0.2), Some(1)));
    // Away from the client nothing is saved.
    let moved = to(&shape, 7, &[]).expect("it is allowed");
    assert_eq!((moved.saving, moved.break_even), (Duration::ZERO, None));
    // The mode is the one that was asked for, whatever is moved.
    assert_eq!(moved.plan.mode, Mode::StrongRegional);
}

#[test]
fn the_best_region_depends_on_how_often_it_is_repeated() {
    let one = [write(5, &[1])];
    let shape = shape(0, Mode::StrongRegional, &one);
    // 51 each now. Moved by d regions: 10 d + n (51 - 10 d), so all the way from two on.
    assert_eq!(found(&shape, 0), None);
    assert_eq!(found(&shape, 1), None);
    let best = found(&shape, 2).expect("it pays");
    assert_eq!((best.region, best.takes, best.break_even), (0, ms(50), Some(1)));
    assert_eq!(best.plan.latency, ms(1));
    // A client, a home near to it, and one near to that alone.
    let names = ["a", "b", "c"].map(|name| RegionName::new(name).expect("a name"));
    let map = RttMap::from_measured(names.into(), |from, to| match (from.as_str(), to.as_str()) {
        (from, to) if from == to => Some(ms(0)),
        ("a", "c") | ("c", "a") => Some(ms(50)),
        _ => Some(ms(10)),
    });
    let (two, prices) = ([write(1, &[]), write(2, &[])], prices());
    let shape = Shape { operations: &two, allowed: &[true; 3], ..shape };
    let best = |repeats| {
        let wanted = HomeMove { repeats, data: &[], map: &map, prices: &prices };
        let best = plans(&map).remaster(&shape, &wanted).expect("a plan")?;
        Some((best.region, best.takes, best.plan.latency))
    };
    // 22 each now. To the near home 10 and 11 each, to the client 50 and 1 each.
    assert_eq!(best(0), None);
    for (repeats, wanted) in [(1, (1, ms(10), ms(11))), (3, (1, ms(10), ms(11)))] {
        assert_eq!(best(repeats), Some(wanted));
    }
    // At four they are equal, and the first is taken.
    assert_eq!(best(4), Some((0, ms(50), ms(1))));
    assert_eq!(best(u64::MAX), Some((0, ms(50), ms(1))));
}

#[test]
fn data_is_paid_for_where_there_is_no_copy() {
    let two = [write(3, &[2]), write(5, &[3])];
    let shape = shape(0, Mode::StrongRegional, &two);
    let usd = |region, data: &[u64]| to(&shape, region, data).expect("it is allowed").usd;
    let close = |found: Option<f64>, wanted: f64| {
        assert!(found.is_some_and(|usd| (usd - wanted).abs() < 1e-9), "{found:?} {wanted}");
    };
    close(usd(3, &[]), 0.0);
    // Home 5 is not in 2, and 3 is.
    close(usd(2, &[]), 0.1);
    close(usd(2, &[7 * GB, 30 * GB]), 3.0);
    close(usd(0, &[7 * GB, 30 * GB]), 3.7);
    // One size is given, the other one is what is written.
    close(usd(0, &[7 * GB]), 0.8);
    // What is not known is not zero.
    assert_eq!(usd(7, &[]), None);
}

#[test]
fn parts_of_pools_do_not_move() {
    let both = [write(5, &[2]), take(6, &[2])];
    let regional = shape(0, Mode::StrongRegional, &both);
    let moved = to(&regional, 2, &[]).expect("it is allowed");
    assert_eq!((moved.moved, moved.plan.kind), (vec![0], Kind::Local));
    let units = [both[1]];
    let alone = Shape { operations: &units, ..regional };
    assert!((0..8).all(|region| to(&alone, region, &[]).is_none()));
    assert_eq!(found(&alone, u64::MAX), None);
    // In `StrongGlobal` they are written as anything else.
    let three = [write(5, &[2, 3]), take(6, &[2, 3])];
    let strong = shape(0, Mode::StrongGlobal, &three);
    assert_eq!(to(&strong, 2, &[]).expect("it is allowed").moved, [0, 1]);
}

#[test]
fn what_cannot_be_planned_cannot_be_moved() {
    let few = [write(5, &[2])];
    let strong = shape(0, Mode::StrongGlobal, &few);
    let (map, prices) = (line(), prices());
    let wanted = HomeMove { repeats: 9, data: &[], map: &map, prices: &prices };
    assert_eq!(plans(&map).remaster(&strong, &wanted), Err(PlanError::Copies(0)));
    assert_eq!(plans(&map).remasters(&strong, &wanted), Err(PlanError::Copies(0)));
}

/// The transaction with the homes of all that is written, and takes no units, in a region.
fn by_hand(shape: &Shape<'_>, region: usize) -> Vec<(usize, Vec<usize>)> {
    let each = shape.operations.iter().map(|one| {
        let units = one.pooled && shape.mode != Mode::StrongGlobal;
        if !one.write || units || one.home == region {
            return (one.home, one.copies.to_vec());
        }
        let mut copies = one.copies.to_vec();
        copies.retain(|copy| *copy != region);
        copies.push(one.home);
        (region, copies)
    });
    each.collect()
}

/// Over all regions: none that is not allowed, none better than the one found, each as when it is
/// planned by hand, and the count at which it has paid for itself is the least one.
#[test]
fn no_other_move_is_better_and_none_leaves_the_allowed_regions() {
    let (map, prices, mut rng) = (line(), prices(), Rng::new(1, 51));
    let plans = plans(&map);
    let modes = [Mode::StrongGlobal, Mode::StrongRegional, Mode::EventualGlobal];
    let (mut paid, mut refused) = (0, 0);
    for _ in 0..1_500 {
        let mut place = || rng.below(8) as usize;
        let (homes, client) = ([place(), place(), place()], place());
        let copies = homes.map(|home| [(home + 1) % 8, (home + 2) % 8, (home + 5) % 8]);
        let operations: [DataOperation<'_>; 3] = std::array::from_fn(|at| {
            let write = at == 0 || rng.chance(700);
            let pooled = write && rng.chance(200);
            DataOperation { write, pooled, ..self::write(homes[at], &copies[at]) }
        });
        let mut allowed: Vec<bool> = (0..8).map(|_| rng.chance(700)).collect();
        homes.iter().for_each(|home| allowed[*home] = true);
        let (mode, rounds) = (modes[rng.below(3) as usize], 1 + rng.below(3) as u32);
        let shape = Shape { client, mode, operations: &operations, allowed: &allowed, rounds };
        let repeats = rng.below(6);
        let wanted = HomeMove { repeats, data: &[], map: &map, prices: &prices };
        let Ok(before) = plans.plan(&shape) else { continue };
        let now = before.latency * repeats as u32;
        let mut least = now;
        let mut moves = plans.remasters(&shape, &wanted).expect("a plan").into_iter().peekable();
        for region in (0..8).filter(|region| allowed[*region]) {
            let by_hand = by_hand(&shape, region);
            let after: Vec<_> = operations
                .iter()
                .zip(&by_hand)
                .map(|(one, (home, copies))| DataOperation { home: *home, copies, ..*one })
                .collect();
            if after == operations {
                continue;
            }
            let moved = moves.next_if(|moved| moved.region == region).expect("it is looked at");
            let plan = plans.plan(&Shape { operations: &after, ..shape }).expect("a plan");
            assert_eq!(moved.plan, plan, "{shape:?} to {region}");
            assert_eq!(moved.plan.mode, mode);
            let each = operations.iter().zip(&after);
            let farthest = each.map(|(one, after)| one.home.abs_diff(after.home)).max();
            assert_eq!(moved.takes, ms(10 * farthest.expect("some") as u64));
            least = least.min(moved.takes + plan.latency * repeats as u32);
            let has_paid = |count: u64| {
                moved.takes + plan.latency * count as u32 <= before.latency * count as u32
            };
            match moved.break_even {
                Some(count) => assert!(has_paid(count) && !has_paid(count - 1), "{moved:?}"),
                None => assert!(plan.latency >= before.latency, "{moved:?}"),
            }
        }
        assert_eq!(moves.next(), None, "it is not allowed, or where all is already");
        match plans.remaster(&shape, &wanted).expect("a plan") {
            Some(best) => {
                paid += 1;
                assert!(allowed[best.region], "{best:?}");
                assert!(least < now, "{best:?}");
                assert_eq!(best.takes + best.plan.latency * repeats as u32, least);
            }
            None => {
                refused += 1;
                assert_eq!(least, now);
            }
        }
    }
    assert!(paid > 200 && refused > 200, "{paid} {refused}");
}
