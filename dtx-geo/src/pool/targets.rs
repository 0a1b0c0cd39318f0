//! How much of the stock should be where.

/// What is known of a region's need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    /// Units that are asked for, per second.
    pub rate: f64,
    /// What it costs to be short of one: the round trip to the nearest other region, in any unit.
    pub cost: f64,
}

/// The stock of each region that makes the expected cost of shortage least (a newsvendor's
/// problem): minimise `sum cost_i E[(demand_i - x_i)+]` with `sum x_i = stock`, for the demand
/// until the stock is sold. The conditions of the optimum say that `P(demand_i > x_i)` is the same
/// multiple of `1 / cost_i` everywhere, so one bisection finds it.
///
/// Demand is taken for Poisson, by its normal approximation, and the normal for the logistic
/// distribution, whose inverse is a logarithm. Regions without demand get nothing, unless there is
/// none at all: then all get the same.
pub fn targets(stock: u64, needs: &[Need], out: &mut Vec<u64>) {
    out.clear();
    let total: f64 = needs.iter().map(|need| need.rate).sum();
    if needs.is_empty() {
        return;
    }
    if total <= 0.0 {
        out.resize(needs.len(), stock / needs.len() as u64);
        return;
    }
    let horizon = stock as f64 / total;
    let share = |need: &Need, lambda: f64| {
        let mean = need.rate * horizon;
        let short = (lambda / need.cost.max(1e-9)).clamp(1e-6, 1.0 - 1e-6);
        // Of the logistic distribution that is nearest to the normal one.
        let deviations = ((1.0 - short) / short).ln() / 1.702;
        if need.rate <= 0.0 { 0.0 } else { (mean + deviations * mean.sqrt()).max(0.0) }
    };
    let (mut low, mut high) = (0.0, needs.iter().map(|need| need.cost).fold(1e-9, f64::max));
    for _ in 0..40 {
        let lambda = (low + high) / 2.0;
        let sum: f64 = needs.iter().map(|need| share(need, lambda)).sum();
        if sum > stock as f64 { low = lambda } else { high = lambda }
    }
    out.extend(needs.iter().map(|need| share(need, high) as u64));
    // Rounding down leaves a few; the bisection may have given a few too many.
    let sum: u64 = out.iter().sum();
    let busiest =
        (0..needs.len()).max_by(|a, b| needs[*a].rate.total_cmp(&needs[*b].rate)).unwrap_or(0);
    out[busiest] = (out[busiest] + stock).saturating_sub(sum.min(out[busiest] + stock));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(stock: u64, needs: &[(f64, f64)]) -> Vec<u64> {
        let needs: Vec<_> =
            needs.iter().map(|(rate, cost)| Need { rate: *rate, cost: *cost }).collect();
        let mut out = Vec::new();
        targets(stock, &needs, &mut out);
        out
    }

    #[test]
    fn stock_goes_where_it_is_asked_for_and_more_where_being_short_costs_more() {
        let even = of(1_000, &[(10.0, 1.0), (10.0, 1.0)]);
        assert_eq!(even, [500, 500]);
        let dear = of(1_000, &[(10.0, 1.0), (10.0, 5.0)]);
        assert!(dear[1] > 505 && dear[0] > 400, "{dear:?}");
        assert_eq!(of(90, &[(0.0, 1.0), (9.0, 1.0)]), [0, 90]);
        assert_eq!(of(90, &[(0.0, 1.0), (0.0, 1.0)]), [45, 45]);
        assert_eq!(of(0, &[(1.0, 1.0), (1.0, 1.0)]), [0, 0]);
    }

    proptest! {
        #[test]
        fn all_of_the_stock_is_given_out(
            stock in 0_u64..1_000_000,
            needs in prop::collection::vec((0.01_f64..10_000.0, 0.001_f64..1.0), 1..16),
        ) {
            let found = of(stock, &needs);
            prop_assert_eq!(found.iter().sum::<u64>(), stock);
        }

        /// No unit can be moved to a place where it would be missed more.
        #[test]
        fn no_move_of_a_unit_makes_it_better(
            stock in 100_u64..100_000,
            needs in prop::collection::vec((1.0_f64..1_000.0, 0.1_f64..1.0), 2..8),
        ) {
            let found = of(stock, &needs);
            let total: f64 = needs.iter().map(|need| need.0).sum();
            // The chance to be short, times its cost, must be nearly the same everywhere.
            let missed: Vec<f64> = found.iter().zip(&needs).map(|(units, (rate, cost))| {
                let mean = rate * stock as f64 / total;
                let z = (*units as f64 - mean) / mean.sqrt();
                cost / (1.0 + (1.702 * z).exp())
            }).collect();
            for ((a, (rate_a, _)), (b, (rate_b, _))) in missed.iter().zip(&needs).zip(missed.iter().zip(&needs)) {
                // A unit more or less changes the chance by so much.
                let slack = needs.len() as f64 * 2.0
                    / (rate_a.min(*rate_b) * stock as f64 / total).sqrt().max(1.0);
                prop_assert!((a - b).abs() < 0.05 + slack, "{a} {b} {slack}");
            }
        }
    }
}
