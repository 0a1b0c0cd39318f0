//! Regions for replicas, beside what others choose.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    model::{Provider, Rng, RttMap, Shipped},
    plan::replicas,
};

/// Replicas of a demand.
const REPLICAS: [usize; 3] = [1, 3, 5];
/// Demands drawn at random for each map and number of replicas.
const DEMANDS: usize = 100;
/// The most times that replicas are moved to the middle of those they serve.
const MOVES_MAX: usize = 50;

/// How replicas are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceWay {
    /// In the regions that ask most: a replica is nearest to whom it serves.
    NearestRegion,
    /// One after the other, each where it helps most.
    Greedy,
    /// Beginning in the regions that ask most, each replica moves to the middle of those that it
    /// serves, until none moves any more, in the manner of Volley.
    Iterative,
}

impl PlaceWay {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NearestRegion, Self::Greedy, Self::Iterative];
}

/// How much longer the mean round trip to the nearest replica is than with ours, as shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Longer {
    /// On average over all demands.
    pub mean: f64,
    /// For the worst one.
    pub worst: f64,
    /// For the best one: below zero it would be shorter.
    pub least: f64,
}

/// One map and number of replicas.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlacesRow {
    /// Whose map.
    pub provider: &'static str,
    /// How many replicas.
    pub replicas: usize,
    /// Demands.
    pub demands: usize,
    /// Of these, how many were proven to be placed best.
    pub proven: usize,
    /// The mean round trip to the nearest replica of ours, over all demands.
    pub mean_ms: f64,
    /// The others.
    pub ways: BTreeMap<PlaceWay, Longer>,
}

/// Places replicas of demands drawn at random over all shipped maps, in all ways.
pub fn compare_places(seed: u64) -> Vec<PlacesRow> {
    let maps = Provider::ALL.map(|provider| (provider, Shipped::rtt(provider)));
    let rows = maps
        .iter()
        .flat_map(|(provider, map)| REPLICAS.map(|count| row(provider.name(), map, count, seed)));
    rows.collect()
}

fn row(provider: &'static str, map: &RttMap, count: usize, seed: u64) -> PlacesRow {
    let mut rng = Rng::new(seed, 41 + count as u64);
    let allowed: Vec<usize> = (0..map.regions().len()).collect();
    let mut row = PlacesRow {
        provider,
        replicas: count,
        demands: DEMANDS,
        proven: 0,
        mean_ms: 0.0,
        ways: PlaceWay::ALL
            .map(|way| (way, Longer { least: f64::MAX, ..Longer::default() }))
            .into(),
    };
    for _ in 0..DEMANDS {
        // A few regions ask for most, and each asks something.
        let weights: Vec<f64> =
            allowed.iter().map(|_| rng.exponential(1.0).powi(2) + 0.01).collect();
        let found = replicas(map, &weights, &allowed, count);
        let found = found.expect("every pair of a shipped map is known");
        row.proven += usize::from(found.gap() == 0.0);
        row.mean_ms += found.mean.as_secs_f64() * 1e3 / DEMANDS as f64;
        for way in PlaceWay::ALL {
            let mean = match way {
                PlaceWay::NearestRegion => mean(map, &weights, &most(&weights, count)),
                PlaceWay::Greedy => found.greedy,
                PlaceWay::Iterative => mean(map, &weights, &iterate(map, &weights, count)),
            };
            let longer = mean.as_secs_f64() / found.mean.as_secs_f64() - 1.0;
            let all = row.ways.entry(way).or_default();
            all.mean += longer / DEMANDS as f64;
            all.worst = all.worst.max(longer);
            all.least = all.least.min(longer);
        }
    }
    row
}

fn trip(map: &RttMap, from: usize, to: usize) -> f64 {
    map.rtt(from, to).map_or(f64::INFINITY, |rtt| rtt.value.as_secs_f64())
}

/// The mean round trip of a demand to the nearest replica.
fn mean(map: &RttMap, weights: &[f64], chosen: &[usize]) -> Duration {
    let nearest =
        |from: usize| chosen.iter().map(|to| trip(map, from, *to)).fold(f64::INFINITY, f64::min);
    let sum: f64 = weights.iter().enumerate().map(|(from, weight)| weight * nearest(from)).sum();
    Duration::from_secs_f64(sum / weights.iter().sum::<f64>())
}

/// The regions that ask most; of equal ones the first.
fn most(weights: &[f64], count: usize) -> Vec<usize> {
    let mut regions: Vec<usize> = (0..weights.len()).collect();
    regions.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b)));
    regions.truncate(count);
    regions
}

fn iterate(map: &RttMap, weights: &[f64], count: usize) -> Vec<usize> {
    let mut chosen = most(weights, count);
    for _ in 0..MOVES_MAX {
        let before = chosen.clone();
        let mut served = vec![Vec::new(); count];
        for from in 0..weights.len() {
            let way = |at: &usize| trip(map, from, before[*at]);
            let nearest = (0..count).min_by(|a, b| way(a).total_cmp(&way(b))).unwrap_or(0);
            served[nearest].push(from);
        }
        for (at, served) in served.iter().enumerate() {
            let cost =
                |to: &usize| served.iter().map(|from| weights[*from] * trip(map, *from, *to)).sum();
            let free = (0..weights.len()).filter(|to| *to == chosen[at] || !chosen.contains(to));
            let costs = free.map(|to| (cost(&to), to));
            let best = costs.min_by(|a: &(f64, usize), b| a.0.total_cmp(&b.0));
            chosen[at] = best.map_or(chosen[at], |best| best.1);
        }
        if chosen == before {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use dtx_core::name::RegionName;

    use super::*;

    #[test]
    fn ours_is_never_longer_and_the_others_often_are() {
        let rows = compare_places(1);
        assert_eq!(rows.len(), 12);
        for row in &rows {
            println!("{row:?}");
            assert_eq!(row.proven, DEMANDS);
            for (way, longer) in &row.ways {
                // Means are whole nanoseconds.
                assert!(longer.least >= -1e-6, "{way:?} {row:?}");
                assert!(row.replicas == 1 || longer.mean > 0.0, "{way:?} {row:?}");
            }
            // Moving is better than staying where the demand is.
            let mean = |way| row.ways[&way].mean;
            assert!(mean(PlaceWay::Iterative) <= mean(PlaceWay::NearestRegion), "{row:?}");
        }
    }

    #[test]
    fn replicas_move_to_the_middle_of_those_they_serve() {
        let names = ["a", "b", "c", "d"].map(|name| RegionName::new(name).expect("a name"));
        let at = [0_u64, 10, 20, 100];
        let map = RttMap::from_measured(names.to_vec(), |from, to| {
            let of = |name: &RegionName| at[usize::from(name.as_str().as_bytes()[0] - b'a')];
            Some(Duration::from_millis(of(from).abs_diff(of(to))))
        });
        let weights = [3.0, 2.0, 3.0, 2.5];
        assert_eq!(most(&weights, 2), [0, 2]);
        // The middle of all of them is the third.
        assert_eq!(iterate(&map, &weights, 1), [2]);
        assert_eq!(mean(&map, &weights, &[2]).as_micros(), 280_000_000 / 10_500);
    }
}
