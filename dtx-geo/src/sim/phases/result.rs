//! What a comparison of phases has shown.

use std::{collections::BTreeMap, fmt};

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

/// How the participants of a phase are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// All at once.
    Eager,
    /// With the delays of one who knows before how long each will take.
    Ideal,
    /// With delays from a smoothed ping in whole milliseconds, without a margin, as GeoTP does.
    PointEstimate,
    /// With [`Aim::Locks`](crate::phase::Aim::Locks).
    Locks,
    /// With [`Aim::Neutral`](crate::phase::Aim::Neutral).
    Neutral,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Eager, Self::Ideal, Self::PointEstimate, Self::Locks, Self::Neutral];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eager => "eager",
            Self::Ideal => "ideal",
            Self::PointEstimate => "point_estimate",
            Self::Locks => "locks",
            Self::Neutral => "neutral",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Way {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What one way has shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PhaseOutcome {
    /// How long a lock is held, on average, in milliseconds.
    pub lock_ms: f64,
    /// Of the lock time that the ideal delays save beside the eager ones, the share that was saved.
    pub saving_share: f64,
    /// Time to the decision as a multiple of the shortest way to the farthest participant and
    /// back, at 50 %.
    pub over_bound_p50: f64,
    /// How much longer than eager the decision takes, as a share, at 50 %.
    pub added_p50: f64,
    /// The same at 99 %.
    pub added_p99: f64,
    /// The same at 99 %, of the set of participants where it is greatest.
    pub worst_added_p99: f64,
    /// Between the first and the last answer, at 50 %, in milliseconds.
    pub spread_p50_ms: f64,
    /// Commands that were sent again though the answer was on its way, as a share. The ideal and
    /// the point estimate have no time-outs.
    pub spurious_share: f64,
    /// How long the mean time-out is, as a multiple of the mean of the median answers.
    pub detection: f64,
}

/// All ways over the same transactions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseRow {
    /// Whose map.
    pub provider: &'static str,
    /// Whether messages are passed on by other regions where that is shorter.
    pub relayed: bool,
    /// What is added to each message, at random from zero to this, in milliseconds.
    pub jitter_ms: u64,
    /// Participants of a transaction.
    pub participants: usize,
    /// Sets of participants and coordinator, drawn at random.
    pub sets: usize,
    /// Transactions of each set.
    pub transactions: usize,
    /// Of what the ideal delays save, the most that any delays could save that are the same for all
    /// transactions of a set, however late that made the decision.
    pub fixed_max: f64,
    /// The most that anybody could save on average who does not know how long an answer will take,
    /// also one that watches the answers as they come.
    pub any_max: f64,
    /// The ways.
    pub ways: BTreeMap<Way, PhaseOutcome>,
}

/// What it gains to choose the coordinator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlaceRow {
    /// Whose map.
    pub provider: &'static str,
    /// Participants of a transaction.
    pub participants: usize,
    /// Rounds from the coordinator to the participants and back.
    pub rounds: u32,
    /// How much sooner the client has its answer than with a coordinator in its own region, as a
    /// share of the mean.
    pub gain: f64,
}

/// What `dtx geo sim phases` shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseComparison {
    /// The seed.
    pub seed: u64,
    /// Over the maps as they are, with more jitter, and with messages passed on.
    pub rows: Vec<PhaseRow>,
    /// Coordinators.
    pub places: Vec<PlaceRow>,
}

impl PhaseComparison {
    /// What must hold on the shipped maps and does not, in words; nothing when all of it holds.
    ///
    /// At least 95 % of the lock time that can be saved is saved; the decision takes at most 0.5 %
    /// longer at 50 % and 5 % longer at 99 %; at most 0.05 % of the commands are sent again for
    /// nothing; and with messages passed on, one round ends within 1.05 times the bound at 50 %.
    /// Rows with more jitter than was measured show how that changes, and are not judged.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for row in self.rows.iter().filter(|row| row.jitter_ms == 0) {
            let at = |way| row.ways.get(&way).cloned().unwrap_or_default();
            let (locks, eager) = (at(Way::Locks), at(Way::Eager));
            let mut judge = |what: &str, value: f64, holds: bool| {
                if !holds {
                    let (provider, participants) = (row.provider, row.participants);
                    broken.push(format!("{provider}, {participants} participants: {what} {value}"));
                }
            };
            judge("saving", locks.saving_share, locks.saving_share >= 0.95);
            judge("added at 50 %", locks.added_p50, locks.added_p50 <= 0.005);
            judge("added at 99 %", locks.added_p99, locks.added_p99 <= 0.05);
            judge("sent for nothing", locks.spurious_share, locks.spurious_share <= 0.0005);
            if row.relayed {
                judge("one round", eager.over_bound_p50, eager.over_bound_p50 <= 1.05);
            }
        }
        broken
    }
}

/// Counts transactions of one way.
#[derive(Clone, Debug)]
pub(super) struct PhaseTally {
    holds: u64,
    held_micros: u64,
    /// Time to the decision, as millionths of the bound, of all sets and of this one.
    all: Histogram<u64>,
    set: Histogram<u64>,
    spread: Histogram<u64>,
    sends: u64,
    spurious: u64,
    timeouts: u64,
    medians: u64,
    worst_added: f64,
}

/// One transaction, in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) decided: u64,
    pub(super) spread: u64,
    pub(super) holds: u64,
    pub(super) held: u64,
    pub(super) spurious: u64,
    /// Time-outs and medians of all participants, added up.
    pub(super) timeouts: u64,
    pub(super) medians: u64,
}

impl PhaseTally {
    pub(super) fn new() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, 100_000_000_000, 4).expect("the bounds are valid");
        Self {
            holds: 0,
            held_micros: 0,
            all: histogram(),
            set: histogram(),
            spread: histogram(),
            sends: 0,
            spurious: 0,
            timeouts: 0,
            medians: 0,
            worst_added: 0.0,
        }
    }

    pub(super) fn add(&mut self, bound: u64, measured: &Measured) {
        let share = measured.decided.saturating_mul(1_000_000) / bound.max(1);
        self.all.saturating_record(share);
        self.set.saturating_record(share);
        self.spread.saturating_record(measured.spread);
        self.holds += measured.holds;
        self.held_micros += measured.held;
        self.sends += measured.holds;
        self.spurious += measured.spurious;
        self.timeouts += measured.timeouts;
        self.medians += measured.medians;
    }

    /// Ends a set of participants; `eager` is the tally that it is compared with.
    pub(super) fn end_set(&mut self, eager_p99: u64) {
        let own = self.set.value_at_quantile(0.99) as f64;
        self.worst_added = self.worst_added.max(own / eager_p99.max(1) as f64 - 1.0);
        self.set.reset();
    }

    pub(super) fn set_p99(&self) -> u64 {
        self.set.value_at_quantile(0.99)
    }

    fn lock_ms(&self) -> f64 {
        self.held_micros as f64 / 1e3 / self.holds.max(1) as f64
    }

    pub(super) fn outcome(&self, eager: &Self, ideal: &Self) -> PhaseOutcome {
        let added = |quantile| {
            let at = |tally: &Self| tally.all.value_at_quantile(quantile) as f64;
            at(self) / at(eager).max(1.0) - 1.0
        };
        let possible = (eager.lock_ms() - ideal.lock_ms()).max(1e-9);
        PhaseOutcome {
            lock_ms: self.lock_ms(),
            saving_share: (eager.lock_ms() - self.lock_ms()) / possible,
            over_bound_p50: self.all.value_at_quantile(0.5) as f64 / 1e6,
            added_p50: added(0.5),
            added_p99: added(0.99),
            worst_added_p99: self.worst_added,
            spread_p50_ms: self.spread.value_at_quantile(0.5) as f64 / 1e3,
            spurious_share: self.spurious as f64 / self.sends.max(1) as f64,
            detection: self.timeouts as f64 / self.medians.max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(change: impl Fn(&mut PhaseOutcome), jitter_ms: u64) -> PhaseComparison {
        let mut at_limit = PhaseOutcome {
            saving_share: 0.95,
            over_bound_p50: 1.05,
            added_p50: 0.005,
            added_p99: 0.05,
            spurious_share: 0.0005,
            ..PhaseOutcome::default()
        };
        change(&mut at_limit);
        let row = PhaseRow {
            provider: "aws",
            relayed: true,
            jitter_ms,
            participants: 2,
            sets: 1,
            transactions: 1,
            fixed_max: 1.0,
            any_max: 1.0,
            ways: Way::ALL.into_iter().map(|way| (way, at_limit.clone())).collect(),
        };
        PhaseComparison { seed: 1, rows: vec![row], places: Vec::new() }
    }

    #[test]
    fn each_promise_is_judged_at_its_limit() {
        assert_eq!(comparison(|_| {}, 0).broken(), Vec::<String>::new());
        let changes: [fn(&mut PhaseOutcome); 5] = [
            |found| found.saving_share = 0.949,
            |found| found.over_bound_p50 = 1.051,
            |found| found.added_p50 = 0.0051,
            |found| found.added_p99 = 0.051,
            |found| found.spurious_share = 0.00051,
        ];
        for change in changes {
            assert_eq!(comparison(change, 0).broken().len(), 1);
            assert_eq!(comparison(change, 5).broken().len(), 0);
        }
    }
}
