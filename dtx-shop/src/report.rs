//! What a run came to.

use serde::{Deserialize, Serialize};

/// What a run came to, as `--json` prints it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The pattern.
    pub pattern: String,
    /// The store.
    pub store: String,
    /// The transport.
    pub transport: String,
    /// Orders with an outcome, those of earlier processes included.
    pub transactions: u64,
    /// Everything happened.
    pub committed: u64,
    /// Nothing happened.
    pub aborted: u64,
    /// Something happened and was reversed.
    pub compensated: u64,
    /// Sent, under 0.5PS.
    pub dispatched: u64,
    /// Messages that could not be delivered.
    pub dead_letters: u64,
    /// Transactions that wait for an operator.
    pub needs_attention: u64,
    /// Rows of the file that are no orders.
    pub skipped_rows: u64,
    /// Transactions that an earlier process left open and this one took up.
    pub recovered: u64,
    /// Units that were sold.
    pub sold_units: u64,
    /// Units that are left.
    pub left_units: u64,
    /// The smallest order that was refused while no other one held a claim on the stock.
    pub smallest_refused_alone: Option<u64>,
    /// Orders per second, of those that this process carried out.
    pub throughput_tps: f64,
    /// From the submit to the outcome, of those that this process submitted.
    pub latency_ms: LatencyMs,
    /// Records of the coordinator.
    pub durable_writes: DurableWrites,
    /// Commands and replies, per order that this process carried out.
    pub messages_per_tx: f64,
    /// What must hold.
    pub invariants: Invariants,
}

/// Percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyMs {
    /// Half were faster.
    pub p50: f64,
    /// 95 of 100 were faster.
    pub p95: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
}

/// Records of the coordinator, per order that this process carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DurableWrites {
    /// Those that something waited for.
    pub awaited_per_tx: f64,
    /// Those that nothing waited for.
    pub lazy_per_tx: f64,
}

/// What must hold, counted again from the participants' rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invariants {
    /// Every cent that left an account was paid for an order that went through.
    pub money_conserved: bool,
    /// Every unit and slot that left the stock went to an order that went through.
    pub stock_conserved: bool,
    /// Units that were sold and were not there.
    pub oversold: u64,
    /// Effects beyond the first of one operation.
    pub double_effects: u64,
    /// Orders of which a part happened and a part did not.
    pub mixed_outcomes: u64,
    /// Claims that nobody will use.
    pub leaked_reservations: u64,
    /// Orders without an end.
    pub unfinished: u64,
}

impl Invariants {
    /// Whether all of it holds.
    pub fn hold(&self) -> bool {
        let sound = Self { money_conserved: true, stock_conserved: true, ..Self::default() };
        *self == sound
    }
}

impl Report {
    /// Whether the run is sound: everything holds, and nobody has to look at anything.
    pub fn is_sound(&self) -> bool {
        self.invariants.hold() && self.needs_attention == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Report {
        let invariants =
            Invariants { money_conserved: true, stock_conserved: true, ..Invariants::default() };
        Report { invariants, ..Report::default() }
    }

    #[test]
    fn anything_that_does_not_hold_makes_a_run_unsound() {
        assert!(sound().is_sound());
        let breaks: [fn(&mut Report); 8] = [
            |report| report.invariants.money_conserved = false,
            |report| report.invariants.stock_conserved = false,
            |report| report.invariants.oversold = 1,
            |report| report.invariants.double_effects = 1,
            |report| report.invariants.mixed_outcomes = 1,
            |report| report.invariants.leaked_reservations = 1,
            |report| report.invariants.unfinished = 1,
            |report| report.needs_attention = 1,
        ];
        for (index, break_it) in breaks.into_iter().enumerate() {
            let mut report = sound();
            break_it(&mut report);
            assert!(!report.is_sound(), "{index}");
        }
    }
}
