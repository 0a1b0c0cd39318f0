//! Regions for the replicas of a demand.

use std::time::Duration;

use thiserror::Error;

use crate::{
    model::RttMap,
    plan::{bound::Bound, search::Search},
};

/// The most replicas.
pub const REPLICAS_MAX: usize = 32;

/// A demand or a number of replicas that nothing can be chosen for.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ReplicaSetError {
    /// There is one weight for each region of the map.
    #[error("{given} weights for {regions} regions")]
    Weights {
        /// How many were given.
        given: usize,
        /// How many regions there are.
        regions: usize,
    },
    /// A weight is not a number from 0, or all of them are 0.
    #[error(
        "weight {weight} of region {region}: weights are numbers from 0, and not all of them 0"
    )]
    Weight {
        /// Which region.
        region: usize,
        /// Its weight.
        weight: f64,
    },
    /// Fewer than one replica, or more than [`REPLICAS_MAX`], or more than there are regions for.
    #[error(
        "{replicas} replicas in {allowed} regions: give 1 to {REPLICAS_MAX}, at most one in each"
    )]
    Replicas {
        /// How many were asked for.
        replicas: usize,
        /// In how many different regions they may be.
        allowed: usize,
    },
    /// A region that is not in the map, or one that no replica can be reached from.
    #[error("region {0} is not in the map, or does not reach each region that is allowed")]
    Unreached(usize),
}

/// Where replicas should be.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSet {
    /// The regions, by index, in order.
    pub regions: Vec<usize>,
    /// The mean round trip of the demand to its nearest replica.
    pub mean: Duration,
    /// No choice of as many of the allowed regions has a mean below this.
    pub bound: Duration,
    /// The same of the best choice that adds one region after the other (greedy), for comparison.
    pub greedy: Duration,
    /// Cells of the map that were visited, a measure of the work that is the same on each machine.
    pub visits: u64,
}

impl ReplicaSet {
    /// How much longer the mean is than the best possible one at most, as a share of the bound.
    /// Zero says that this is the best choice.
    pub fn gap(&self) -> f64 {
        let bound = self.bound.as_secs_f64();
        if self.mean <= self.bound { 0.0 } else { self.mean.as_secs_f64() / bound.max(1e-9) - 1.0 }
    }
}

/// Chooses `count` of the regions in `allowed`, so that the mean round trip of a demand to the
/// nearest of them is least. `weights` is the demand of each region of the map. A region outside
/// `allowed` is never chosen.
///
/// First one region after the other is chosen and then exchanged for others, while that is better.
/// Then a lower bound is raised (a Lagrangian relaxation of "each region is served by one
/// replica"), which also finds better choices and says which regions can be in no better one.
/// What is left is searched through. The search ends after [`NODES_MAX`](crate::plan::NODES_MAX)
/// steps, and then the gap says how far the choice can be from the best.
///
/// # Errors
/// [`ReplicaSetError`].
pub fn replicas(
    map: &RttMap,
    weights: &[f64],
    allowed: &[usize],
    count: usize,
) -> Result<ReplicaSet, ReplicaSetError> {
    let problem = Problem::new(map, weights, allowed, count)?;
    let mut visits = 0;
    let greedy = problem.greedy(&mut visits);
    let greedy_cost = problem.cost(&greedy, &mut visits);
    let mut best = (greedy_cost, greedy);
    problem.exchange(&mut best, &mut visits);
    let bound = Bound::raise(&problem, &mut best, &mut visits);
    problem.exchange(&mut best, &mut visits);
    let lower = Search::new(&problem, &bound).run(&mut best, &mut visits);
    let total: f64 = weights.iter().sum();
    let mean = |cost: f64| Duration::from_secs_f64(cost / total / 1e6);
    let mut regions: Vec<_> = best.1.iter().map(|site| problem.sites[*site]).collect();
    regions.sort_unstable();
    Ok(ReplicaSet {
        regions,
        mean: mean(best.0),
        bound: mean(lower.min(best.0)),
        greedy: mean(greedy_cost),
        visits,
    })
}

/// Weighted distances, without the regions that nobody asks from.
#[derive(Debug)]
pub(super) struct Problem {
    /// Regions that may be chosen.
    sites: Vec<usize>,
    /// How many are chosen.
    pub(super) count: usize,
    /// Rows of clients: weight times round trip in microseconds to each site.
    pub(super) rows: Vec<Vec<f64>>,
}

/// A choice of sites with its cost.
pub(super) type Choice = (f64, Vec<usize>);

impl Problem {
    pub(super) fn new(
        map: &RttMap,
        weights: &[f64],
        allowed: &[usize],
        count: usize,
    ) -> Result<Self, ReplicaSetError> {
        let regions = map.regions().len();
        if weights.len() != regions {
            return Err(ReplicaSetError::Weights { given: weights.len(), regions });
        }
        let valid = |weight: f64| weight.is_finite() && weight >= 0.0;
        let wrong = weights.iter().position(|weight| !valid(*weight));
        let nothing = weights.iter().all(|weight| *weight == 0.0).then_some(0);
        if let Some(region) = wrong.or(nothing) {
            let weight = weights.get(region).copied().unwrap_or_default();
            return Err(ReplicaSetError::Weight { region, weight });
        }
        let mut sites = allowed.to_vec();
        sites.sort_unstable();
        sites.dedup();
        if count == 0 || count > REPLICAS_MAX.min(sites.len()) {
            return Err(ReplicaSetError::Replicas { replicas: count, allowed: sites.len() });
        }
        if let Some(region) = sites.iter().find(|site| **site >= regions) {
            return Err(ReplicaSetError::Unreached(*region));
        }
        let asking = (0..regions).filter(|region| weights[*region] > 0.0);
        let row = |from: usize| {
            let cell = |site: &usize| {
                let rtt = map.rtt(from, *site).ok_or(ReplicaSetError::Unreached(from))?;
                Ok(weights[from] * rtt.value.as_secs_f64() * 1e6)
            };
            sites.iter().map(cell).collect::<Result<Vec<_>, _>>()
        };
        let rows = asking.map(row).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { sites, count, rows })
    }

    pub(super) fn sites(&self) -> usize {
        self.sites.len()
    }

    /// What a choice costs.
    pub(super) fn cost(&self, choice: &[usize], visits: &mut u64) -> f64 {
        *visits += (self.rows.len() * choice.len()) as u64;
        let nearest =
            |row: &Vec<f64>| choice.iter().map(|site| row[*site]).fold(f64::INFINITY, f64::min);
        self.rows.iter().map(nearest).sum()
    }

    fn greedy(&self, visits: &mut u64) -> Vec<usize> {
        let mut choice = Vec::with_capacity(self.count);
        let mut nearest = vec![f64::INFINITY; self.rows.len()];
        for _ in 0..self.count {
            *visits += (self.rows.len() * self.sites()) as u64;
            let with = |site: usize| -> f64 {
                self.rows.iter().zip(&nearest).map(|(row, now)| row[site].min(*now)).sum()
            };
            let free = (0..self.sites()).filter(|site| !choice.contains(site));
            let found = free.map(|site| (with(site), site)).min_by(|a, b| a.0.total_cmp(&b.0));
            let (_, site) = found.expect("there are at least as many sites as are chosen");
            choice.push(site);
            for (row, now) in self.rows.iter().zip(&mut nearest) {
                *now = now.min(row[site]);
            }
        }
        choice
    }

    /// Exchanges one site for another one, the best exchange first, while that is better.
    fn exchange(&self, best: &mut Choice, visits: &mut u64) {
        loop {
            let mut found: Option<Choice> = None;
            for out in 0..best.1.len() {
                for site in (0..self.sites()).filter(|site| !best.1.contains(site)) {
                    let mut choice = best.1.clone();
                    choice[out] = site;
                    let cost = self.cost(&choice, visits);
                    if cost < found.as_ref().map_or(best.0, |found| found.0) {
                        found = Some((cost, choice));
                    }
                }
            }
            match found {
                Some(better) if better.0 < best.0 * (1.0 - 1e-12) => *best = better,
                _ => return,
            }
        }
    }
}
