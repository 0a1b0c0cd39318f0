//! What a run has shown.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

/// One way to sell, under one workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Requests.
    pub requests: u64,
    /// Units that were sold.
    pub sold: u64,
    /// Units that were sold beyond the stock.
    pub oversold: u64,
    /// Requests that were told that all is sold while units were free somewhere.
    pub false_sold_out: u64,
    /// Other requests that got nothing: refused at home, waited too long, or could not know.
    pub refused: u64,
    /// Units that nobody can sell at the end, or that were left while requests were refused.
    pub stranded: u64,
    /// Of the units sold, the share that the home of the request gave.
    pub served_home_share: f64,
    /// Time to the answer of requests that got units, in milliseconds.
    pub p50_ms: f64,
    /// The same at 99 %.
    pub p99_ms: f64,
    /// The same at 99.9 %.
    pub p999_ms: f64,
    /// The same of requests that got none.
    pub refused_p99_ms: f64,
    /// Messages that move units, for 1,000 requests.
    pub moves_per_1000: f64,
}

/// Closed-loop throughput: a number of clients, each with one request at a time, in a region that
/// is drawn at random for each. What limits it is how long a request takes: with as many clients
/// as the one global pool can serve, what limits that one is its own work, and the ratio is the
/// number of regions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Throughput {
    /// Clients over all regions.
    pub clients: u64,
    /// Regions.
    pub regions: u64,
    /// How long a commit takes, in milliseconds, the same for both.
    pub commit_ms: f64,
    /// Reservations per second of one global pool.
    pub global_per_s: f64,
    /// Reservations per second of regional pools.
    pub pools_per_s: f64,
    /// How many times more.
    pub ratio: f64,
}

/// A workload through the pool and through what others do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The workload.
    pub workload: String,
    /// The seed.
    pub seed: u64,
    /// The pool.
    #[serde(flatten)]
    pub pools: Outcome,
    /// The throughput, beside that of one global pool.
    pub throughput: Throughput,
    /// What others do, by name.
    pub baselines: BTreeMap<&'static str, Outcome>,
}

/// Counts requests as they are answered.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) outcome: Outcome,
    home: u64,
    served: Histogram<u64>,
    unserved: Histogram<u64>,
}

impl Tally {
    pub(super) fn new(requests: usize) -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, 3_600_000_000, 4).expect("the bounds are valid");
        let outcome = Outcome { requests: requests as u64, ..Outcome::default() };
        Self { outcome, home: 0, served: histogram(), unserved: histogram() }
    }

    pub(super) fn sold(&mut self, home: bool, micros: u64) {
        self.outcome.sold += 1;
        self.home += u64::from(home);
        self.served.saturating_record(micros);
    }

    pub(super) fn not_sold(&mut self, micros: u64) {
        self.unserved.saturating_record(micros);
    }

    pub(super) fn finish(mut self, stock: u64, moves: u64) -> Outcome {
        let ms = |histogram: &Histogram<u64>, quantile| {
            histogram.value_at_quantile(quantile) as f64 / 1e3
        };
        let outcome = &mut self.outcome;
        outcome.oversold = outcome.sold.saturating_sub(stock);
        outcome.served_home_share = self.home as f64 / outcome.sold.max(1) as f64;
        outcome.p50_ms = ms(&self.served, 0.5);
        outcome.p99_ms = ms(&self.served, 0.99);
        outcome.p999_ms = ms(&self.served, 0.999);
        outcome.refused_p99_ms = ms(&self.unserved, 0.99);
        outcome.moves_per_1000 = moves as f64 * 1e3 / outcome.requests.max(1) as f64;
        self.outcome
    }
}
