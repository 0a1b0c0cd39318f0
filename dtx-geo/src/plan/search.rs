//! Looking through the choices that the bound does not rule out.

use crate::plan::{
    bound::Bound,
    replica_set::{Choice, Problem},
};

/// The most steps of one search.
pub const NODES_MAX: u64 = 200_000;

/// A search through the choices whose bound is below the cost of the best.
#[derive(Debug)]
pub(super) struct Search<'a> {
    problem: &'a Problem,
    bound: &'a Bound,
    /// The sites, those that return most first.
    order: Vec<usize>,
    /// The sums of what the first of them return.
    sums: Vec<f64>,
    chosen: Vec<usize>,
    nodes: u64,
}

impl<'a> Search<'a> {
    pub(super) fn new(problem: &'a Problem, bound: &'a Bound) -> Self {
        let mut order: Vec<_> = (0..problem.sites()).collect();
        order.sort_by(|a, b| bound.returns[*a].total_cmp(&bound.returns[*b]));
        let mut sums = vec![0.0];
        for site in &order {
            sums.push(sums[sums.len() - 1] + bound.returns[*site]);
        }
        Self { problem, bound, order, sums, chosen: Vec::new(), nodes: 0 }
    }

    /// Looks for a choice that is better than `best`. The result is what no choice costs less
    /// than: the cost of the best one, if the search came to its end.
    pub(super) fn run(mut self, best: &mut Choice, visits: &mut u64) -> f64 {
        if self.bound.meets(best.0) || self.look(0, 0.0, best, visits) {
            return best.0;
        }
        self.bound.value
    }

    /// Takes or leaves the sites from `at` on; `returned` is what those that are taken return.
    /// False when there were too many steps.
    fn look(&mut self, at: usize, returned: f64, best: &mut Choice, visits: &mut u64) -> bool {
        let left = self.problem.count - self.chosen.len();
        if left == 0 {
            let cost = self.problem.cost(&self.chosen, visits);
            if cost < best.0 {
                *best = (cost, self.chosen.clone());
            }
            return true;
        }
        // The later a site stands, the less it returns: once one is too late, all after it are.
        for index in at..=self.order.len() - left {
            self.nodes += 1;
            if self.nodes > NODES_MAX {
                return false;
            }
            let next = self.sums[index + left] - self.sums[index];
            if self.bound.prices + returned + next >= best.0 * (1.0 - 1e-9) {
                return true;
            }
            let site = self.order[index];
            self.chosen.push(site);
            let ended = self.look(index + 1, returned + self.bound.returns[site], best, visits);
            self.chosen.pop();
            if !ended {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Provider, Rng, Shipped};

    /// From a choice that is far from the best one, the search alone finds the best.
    #[test]
    fn the_search_needs_no_good_choice_to_begin_with() {
        let map = Shipped::rtt(Provider::Ibm);
        let (all, mut rng) = ((0..13).collect::<Vec<_>>(), Rng::new(1, 13));
        for _ in 0..40 {
            let weights: Vec<_> = all.iter().map(|_| rng.unit() + 0.01).collect();
            let problem = Problem::new(&map, &weights, &all, 3).expect("a valid demand");
            let mut visits = 0;
            let mut least = f64::INFINITY;
            for choice in (0..13 * 13 * 13).map(|i| [i / 169, i / 13 % 13, i % 13]) {
                least = least.min(problem.cost(&choice, &mut visits));
            }
            let far = (problem.cost(&[0, 1, 2], &mut visits), vec![0, 1, 2]);
            let mut best = far.clone();
            let bound = Bound::raise(&problem, &mut best, &mut visits);
            let mut best = far;
            let lower = Search::new(&problem, &bound).run(&mut best, &mut visits);
            assert!(best.0 <= least * (1.0 + 1e-8), "{best:?} {least}");
            assert_eq!(lower, best.0);
        }
    }
}
