//! Where replicas should be: the best choice is found and proven.

use dtx_geo::{
    model::{Provider, Rng, RttMap, Shipped},
    plan::{REPLICAS_MAX, ReplicaSet, ReplicaSetError, replicas},
};

fn cost(map: &RttMap, weights: &[f64], choice: &[usize]) -> f64 {
    let nearest = |from: usize| {
        let to = choice.iter().filter_map(|to| map.rtt(from, *to));
        to.map(|rtt| rtt.value.as_secs_f64()).fold(f64::INFINITY, f64::min)
    };
    let total: f64 = weights.iter().sum();
    weights.iter().enumerate().map(|(from, weight)| weight * nearest(from)).sum::<f64>() / total
}

/// Every choice of `count` of the first `sites` regions, and the least cost.
fn best_of_all(map: &RttMap, weights: &[f64], sites: usize, count: usize) -> f64 {
    fn go(
        at: usize,
        sites: usize,
        count: usize,
        chosen: &mut Vec<usize>,
        each: &mut impl FnMut(&[usize]),
    ) {
        if chosen.len() == count {
            return each(chosen);
        }
        for site in at..sites {
            chosen.push(site);
            go(site + 1, sites, count, chosen, each);
            chosen.pop();
        }
    }
    let mut best = f64::INFINITY;
    go(0, sites, count, &mut Vec::new(), &mut |choice| best = best.min(cost(map, weights, choice)));
    best
}

/// Demand like that of people: a few regions ask for most of it.
fn workload(regions: usize, rng: &mut Rng) -> Vec<f64> {
    (0..regions)
        .map(|_| if rng.chance(300) { 0.0 } else { rng.exponential(1.0).powi(2) + 0.01 })
        .collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= b.abs() * 1e-6 + 1e-9
}

#[test]
fn the_best_of_all_choices_is_found() {
    let mut rng = Rng::new(1, 9);
    for provider in [Provider::Aws, Provider::Ibm, Provider::Gcp] {
        let map = Shipped::rtt(provider);
        let regions = map.regions().len();
        for count in 1..=4 {
            for _ in 0..8 {
                let weights = workload(regions, &mut rng);
                let sites = regions - rng.below(4) as usize;
                let allowed: Vec<_> = (0..sites).collect();
                let found = replicas(&map, &weights, &allowed, count).expect("a valid demand");
                let best = best_of_all(&map, &weights, sites, count);
                assert!(
                    close(found.mean.as_secs_f64(), best),
                    "{provider} {count} {found:?} {best}"
                );
                assert!(close(cost(&map, &weights, &found.regions), best), "{found:?}");
                assert!(found.bound.as_secs_f64() <= best * (1.0 + 1e-6), "{found:?} {best}");
                assert!(found.regions.iter().all(|region| *region < sites), "{found:?}");
                assert_eq!(found.gap(), 0.0);
            }
        }
    }
}

struct Seen {
    gaps: Vec<f64>,
    visits: Vec<u64>,
    greedy: Vec<f64>,
}

fn run(count: usize, workloads: usize, providers: &[Provider]) -> Seen {
    let mut rng = Rng::new(count as u64, 10);
    let mut seen = Seen { gaps: Vec::new(), visits: Vec::new(), greedy: Vec::new() };
    for provider in providers {
        let map = Shipped::rtt(*provider);
        let allowed: Vec<_> = (0..map.regions().len()).collect();
        for _ in 0..workloads / providers.len() {
            let weights = workload(allowed.len(), &mut rng);
            let found: ReplicaSet = replicas(&map, &weights, &allowed, count).expect("valid");
            seen.gaps.push(found.gap());
            seen.visits.push(found.visits);
            // Where each region that asks has its own replica, there is nothing to compare.
            if !found.mean.is_zero() {
                seen.greedy.push(found.greedy.as_secs_f64() / found.mean.as_secs_f64() - 1.0);
            }
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64 * 100.0;
    let worst = |values: &[f64]| values.iter().copied().fold(0.0, f64::max) * 100.0;
    println!(
        "{count} replicas, {} workloads: gap mean {:.4} %, worst {:.3} %, {} exact; greedy {:.2} % \
         longer, worst {:.2} %; visits mean {}, most {}",
        seen.gaps.len(),
        mean(&seen.gaps),
        worst(&seen.gaps),
        seen.gaps.iter().filter(|gap| **gap == 0.0).count(),
        mean(&seen.greedy),
        worst(&seen.greedy),
        seen.visits.iter().sum::<u64>() / seen.visits.len() as u64,
        seen.visits.iter().max().expect("there are some"),
    );
    seen
}

#[test]
fn three_and_five_replicas_of_48_regions_are_exact_with_little_work() {
    for (count, visits_max) in [(3, 2_000_000), (5, 5_000_000)] {
        let seen = run(count, 200, &[Provider::Azure]);
        assert!(seen.gaps.iter().all(|gap| *gap == 0.0));
        assert!(seen.visits.iter().all(|visits| *visits <= visits_max));
    }
}

#[test]
fn more_replicas_have_a_small_gap_that_is_proven() {
    let mut gaps = Vec::new();
    for count in [6, 7, 8, 10, 12] {
        gaps.extend(run(count, 200, &Provider::ALL).gaps);
    }
    assert_eq!(gaps.len(), 1_000);
    assert!(gaps.iter().sum::<f64>() / 1_000.0 <= 0.01);
    assert!(gaps.iter().all(|gap| *gap <= 0.03));
}

#[test]
fn what_cannot_be_placed_is_refused() {
    let map = Shipped::rtt(Provider::Azure);
    let (weights, all) = (vec![1.0; 48], (0..48).collect::<Vec<_>>());
    let place = |weights: &[f64], allowed: &[usize], count| replicas(&map, weights, allowed, count);
    assert_eq!(
        place(&weights[1..], &all, 1),
        Err(ReplicaSetError::Weights { given: 47, regions: 48 })
    );
    let mut wrong = weights.clone();
    wrong[7] = -1.0;
    assert_eq!(place(&wrong, &all, 1), Err(ReplicaSetError::Weight { region: 7, weight: -1.0 }));
    assert!(matches!(place(&[0.0; 48], &all, 1), Err(ReplicaSetError::Weight { region: 0, .. })));
    let refused = |replicas, allowed| Err(ReplicaSetError::Replicas { replicas, allowed });
    assert_eq!(place(&weights, &all, 0), refused(0, 48));
    assert_eq!(place(&weights, &all, REPLICAS_MAX + 1), refused(REPLICAS_MAX + 1, 48));
    assert!(place(&weights, &all, REPLICAS_MAX).is_ok());
    assert_eq!(place(&weights, &[1, 1, 2], 3), refused(3, 2));
    assert_eq!(place(&weights, &[1, 48], 1), Err(ReplicaSetError::Unreached(48)));
}
