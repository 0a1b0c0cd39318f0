//! What a coordinator knows of how long one participant takes.

use std::time::Duration;

use crate::model::LivePair;

/// A time-out is longer than the mean by at least this: a process that is descheduled for a
/// moment is not lost.
pub const TIMEOUT_FLOOR: Duration = Duration::from_millis(10);

/// From the begin of a command to the answer, service included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// One in twenty answers is earlier.
    pub low: Duration,
    /// Half of the answers are earlier.
    pub median: Duration,
    /// One in ten answers is later.
    pub high: Duration,
    /// One in twenty answers is later.
    pub late: Duration,
    /// After this time without an answer the command is sent again.
    pub timeout: Duration,
}

impl Latency {
    /// A participant that always takes the same time, as in formulas. The time-out is half as long
    /// again, and at least [`TIMEOUT_FLOOR`] longer.
    pub fn exact(value: Duration) -> Self {
        let timeout = value + (value / 2).max(TIMEOUT_FLOOR);
        Self { low: value, median: value, high: value, late: value, timeout }
    }

    /// What was measured from request to answer; `None` before the first sample.
    ///
    /// The time-out is 1.1 times the latest of a thousand answers, and at least the mean + the
    /// greatest of 10 ms, four deviations and a quarter of the mean: a path that was quiet for a
    /// while is not taken for one that never has a spike. Computing this reads a histogram, so keep
    /// the result for as many transactions as samples make no difference (about a hundred).
    pub fn measured(pair: &LivePair) -> Option<Self> {
        let (mean, deviation) = (pair.mean()?, pair.deviation()?);
        let worst = pair.quantile(0.999)?;
        let least = mean + TIMEOUT_FLOOR.max(deviation * 4).max(mean / 4);
        Some(Self {
            low: pair.quantile(0.05)?,
            median: pair.quantile(0.5)?,
            high: pair.quantile(0.9)?,
            late: pair.quantile(0.95)?,
            timeout: least.max(worst + worst / 10),
        })
    }

    /// The same with a constant part added, as the time that a region needs to ask its own
    /// participants and to gather their answers.
    #[must_use]
    pub fn plus(self, local: Duration) -> Self {
        Self {
            low: self.low + local,
            median: self.median + local,
            high: self.high + local,
            late: self.late + local,
            timeout: self.timeout + local,
        }
    }
}

#[cfg(test)]
mod tests {
    use dtx_core::time::Timestamp;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn pair_of(samples: impl Iterator<Item = u64>) -> LivePair {
        let mut pair = LivePair::default();
        for (i, sample) in samples.enumerate() {
            pair.record(Timestamp::from_millis(i as u64 * 10), Duration::from_micros(sample), 1);
        }
        pair
    }

    #[test]
    fn the_quantiles_are_those_that_were_measured() {
        let latency = Latency::measured(&pair_of((0..1_000).map(|i| 100_000 + i % 100)));
        let latency = latency.expect("there are samples");
        let near = |value: Duration, micros: u128| value.as_micros().abs_diff(micros) <= 64;
        assert!(near(latency.low, 100_005) && near(latency.median, 100_050), "{latency:?}");
        assert!(near(latency.high, 100_090) && near(latency.late, 100_095), "{latency:?}");
        assert_eq!(Latency::measured(&LivePair::default()), None);
    }

    #[test]
    fn a_time_out_has_a_floor_and_grows_with_the_worst_answer() {
        // A quarter of the mean of a quiet path; of a near one, ten milliseconds.
        let far = Latency::measured(&pair_of((0..900).map(|_| 100_000))).expect("samples").timeout;
        assert!((ms(124)..ms(127)).contains(&far), "{far:?}");
        let near = Latency::measured(&pair_of((0..900).map(|_| 1_000))).expect("samples").timeout;
        assert!((ms(11)..ms(12)).contains(&near), "{near:?}");
        let spiky = (0..900).map(|i| if i == 500 { 180_000 } else { 100_000 });
        let spiky = Latency::measured(&pair_of(spiky)).expect("samples").timeout;
        assert!((ms(197)..ms(199)).contains(&spiky), "{spiky:?}");
    }

    #[test]
    fn a_region_adds_its_own_time_to_all() {
        let latency = Latency::exact(ms(100)).plus(ms(3));
        assert_eq!((latency.low, latency.median, latency.high), (ms(103), ms(103), ms(103)));
        assert_eq!((latency.late, latency.timeout), (ms(103), ms(153)));
        assert_eq!(Latency::exact(ms(4)).timeout, ms(14));
    }
}
