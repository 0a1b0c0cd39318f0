//! A lower bound on what any choice costs.

use crate::plan::replica_set::{Choice, Problem};

/// The most times that the prices are changed.
const ROUNDS_MAX: u32 = 400;
/// After so many rounds without a better bound the steps become half as long.
const PATIENCE: u32 = 12;
/// Steps shorter than this change nothing any more.
const STEP_MIN: f64 = 1e-4;

/// Prices of the clients with the bound that they give.
///
/// Each client pays its price once, and each site that is chosen gives back to each client what
/// its price is above its distance. Whatever the prices are, no choice costs less than their sum
/// without the returns of the sites that return most.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    /// No choice costs less.
    pub(super) value: f64,
    /// The sum of the prices.
    pub(super) prices: f64,
    /// What each site returns, as a number that is not above zero.
    pub(super) returns: Vec<f64>,
}

impl Bound {
    /// Changes prices until the bound meets the best choice or does not rise any more. Choices
    /// that are met on the way and are better replace `best`.
    pub(super) fn raise(problem: &Problem, best: &mut Choice, visits: &mut u64) -> Self {
        let mut prices: Vec<_> = problem
            .rows
            .iter()
            .map(|row| best.1.iter().map(|site| row[*site]).fold(f64::INFINITY, f64::min))
            .collect();
        let (mut step, mut waited) = (1.0, 0);
        let (mut highest, _) = Self::of(problem, &prices, visits);
        for _ in 0..ROUNDS_MAX {
            let (bound, chosen) = Self::of(problem, &prices, visits);
            let cost = problem.cost(&chosen, visits);
            if cost < best.0 {
                *best = (cost, chosen.clone());
            }
            if bound.value > highest.value {
                (highest, waited) = (bound.clone(), 0);
            } else {
                waited += 1;
            }
            if waited == PATIENCE {
                (step, waited) = (step / 2.0, 0);
            }
            if step < STEP_MIN || highest.meets(best.0) {
                break;
            }
            *visits += (problem.rows.len() * chosen.len()) as u64;
            let missing: Vec<_> = problem
                .rows
                .iter()
                .zip(&prices)
                .map(|(row, price)| {
                    let served = chosen.iter().filter(|site| row[**site] < *price).count();
                    1.0 - served as f64
                })
                .collect();
            let square: f64 = missing.iter().map(|missing| missing * missing).sum();
            if square == 0.0 {
                break;
            }
            let change = step * (best.0 - bound.value).max(best.0 * 1e-9) / square;
            for (price, missing) in prices.iter_mut().zip(&missing) {
                *price = (*price + change * missing).max(0.0);
            }
        }
        highest
    }

    /// Whether a choice of this cost is the best, but for the rounding of sums.
    pub(super) fn meets(&self, cost: f64) -> bool {
        self.value >= cost * (1.0 - 1e-9)
    }

    /// The bound of some prices, and the sites that return most.
    fn of(problem: &Problem, prices: &[f64], visits: &mut u64) -> (Self, Vec<usize>) {
        *visits += (problem.rows.len() * problem.sites()) as u64;
        let mut returns = vec![0.0; problem.sites()];
        for (row, price) in problem.rows.iter().zip(prices) {
            for (back, cost) in returns.iter_mut().zip(row) {
                *back += (cost - price).min(0.0);
            }
        }
        let mut order: Vec<_> = (0..problem.sites()).collect();
        order.sort_by(|a, b| returns[*a].total_cmp(&returns[*b]));
        order.truncate(problem.count);
        let sum: f64 = prices.iter().sum();
        let value = sum + order.iter().map(|site| returns[*site]).sum::<f64>();
        (Self { value, prices: sum, returns }, order)
    }
}
