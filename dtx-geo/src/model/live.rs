//! Round trips as they are measured now.

use std::time::Duration;

use dtx_core::time::Timestamp;
use hdrhistogram::Histogram;

use crate::model::{Origin, Rtt, RttMap};

/// The most samples of one pair that count.
pub const LIVE_SAMPLES_MAX: u64 = 1_000;
/// How long a sample counts.
pub const LIVE_WINDOW: Duration = Duration::from_secs(60);

/// A window is kept as this many parts, and loses its oldest part as a whole.
const PARTS: u64 = 4;
/// The least deviation that is taken for one, as a share of the mean: a path whose jitter is
/// smaller than this is not called changed because of it.
const DEVIATION_MIN: f64 = 0.01;
/// A sample is counted as at most so many deviations, so that one spike is no step.
const DEVIATIONS_MAX: f64 = 4.0;
/// Deviations per sample that are taken for chance.
const DRIFT: f64 = 1.0;
/// The sum of further deviations at which the route has changed.
const STEP: f64 = 18.0;

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It counts.
    Counted,
    /// It is an answer to a question that was asked more than once, so it is not known to which:
    /// it does not count (Karn's rule).
    Ambiguous,
    /// It counts, and with it the route has changed: what was measured before it is forgotten.
    Step,
}

#[derive(Clone, Debug)]
struct Part {
    since: Timestamp,
    samples: Histogram<u16>,
}

/// One directed pair.
#[derive(Clone, Debug)]
pub struct LivePair {
    parts: Vec<Part>,
    /// The samples of all parts.
    window: Histogram<u16>,
    mean: f64,
    deviation: f64,
    /// Sums of deviations up and down (CUSUM), and since when each runs: the samples of the new
    /// route, if it is one.
    up: Run,
    down: Run,
    last: Option<Timestamp>,
}

/// A one-sided sum of deviations.
#[derive(Clone, Debug, Default)]
struct Run {
    sum: f64,
    /// Samples since the sum was zero, with their total.
    samples: u32,
    total: f64,
}

impl Run {
    fn add(&mut self, deviations: f64, micros: f64) {
        self.sum = (self.sum + deviations.min(DEVIATIONS_MAX) - DRIFT).max(0.0);
        if self.sum > 0.0 {
            self.samples += 1;
            self.total += micros;
        } else {
            *self = Self::default();
        }
    }
}

fn histogram() -> Histogram<u16> {
    // Three digits up to an hour in microseconds.
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are valid")
}

impl Default for LivePair {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            window: histogram(),
            mean: 0.0,
            deviation: 0.0,
            up: Run::default(),
            down: Run::default(),
            last: None,
        }
    }
}

impl LivePair {
    /// Takes a round trip that ended at `now`. `attempts` says how often the question was asked
    /// before the answer came.
    pub fn record(&mut self, now: Timestamp, rtt: Duration, attempts: u32) -> Recorded {
        if attempts != 1 {
            return Recorded::Ambiguous;
        }
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX).clamp(1, 3_600_000_000);
        self.last = Some(now);
        let is_step = !self.window.is_empty() && self.has_stepped(micros as f64);
        if is_step {
            self.begin_again();
        } else if self.window.is_empty() {
            self.mean = micros as f64;
            self.deviation = micros as f64 / 2.0;
        } else {
            // What is far off is a spike, or the begin of a step: the mean follows neither.
            let off = micros as f64 - self.mean;
            if off.abs() <= DEVIATIONS_MAX * self.scale() {
                self.deviation += (off.abs() - self.deviation) / 4.0;
                self.mean += off / 8.0;
            }
        }
        self.count(now, micros);
        if is_step { Recorded::Step } else { Recorded::Counted }
    }

    /// What counts as one deviation.
    fn scale(&self) -> f64 {
        self.deviation.max(self.mean * DEVIATION_MIN)
    }

    fn has_stepped(&mut self, micros: f64) -> bool {
        let deviations = (micros - self.mean) / self.scale();
        self.up.add(deviations, micros);
        self.down.add(-deviations, micros);
        self.up.sum > STEP || self.down.sum > STEP
    }

    fn begin_again(&mut self) {
        let run = if self.up.sum > STEP { &self.up } else { &self.down };
        self.mean = run.total / f64::from(run.samples.max(1));
        self.deviation = self.mean * DEVIATION_MIN;
        self.up = Run::default();
        self.down = Run::default();
        self.parts.clear();
        self.window.reset();
    }

    fn count(&mut self, now: Timestamp, micros: u64) {
        let part_time = LIVE_WINDOW / PARTS as u32;
        let is_full = self.parts.last().is_none_or(|part| {
            part.samples.len() >= LIVE_SAMPLES_MAX / PARTS || now.since(part.since) >= part_time
        });
        if is_full {
            self.parts.push(Part { since: now, samples: histogram() });
        }
        self.forget(now);
        if let Some(part) = self.parts.last_mut() {
            part.samples.saturating_record(micros);
            self.window.saturating_record(micros);
        }
    }

    /// Forgets what is too old.
    fn forget(&mut self, now: Timestamp) {
        let old = |parts: &[Part]| {
            parts.len() as u64 > PARTS
                || parts.first().is_some_and(|part| now.since(part.since) > LIVE_WINDOW)
        };
        while old(&self.parts) {
            let part = self.parts.remove(0);
            self.window.subtract(&part.samples).expect("each part was added to the window");
        }
    }

    /// How many samples count.
    pub fn samples(&self) -> u64 {
        self.window.len()
    }

    /// The smoothed mean; `None` before the first sample.
    pub fn mean(&self) -> Option<Duration> {
        self.last.map(|_| Duration::from_micros(self.mean as u64))
    }

    /// The smoothed deviation from the mean.
    pub fn deviation(&self) -> Option<Duration> {
        self.last.map(|_| Duration::from_micros(self.deviation as u64))
    }

    /// The least sample of the window.
    pub fn min(&self) -> Option<Duration> {
        (!self.window.is_empty()).then(|| Duration::from_micros(self.window.min()))
    }

    /// A quantile of the window, from 0 to 1, to three digits.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let value = self.window.value_at_quantile(quantile);
        (!self.window.is_empty()).then(|| Duration::from_micros(value))
    }

    /// How old the last sample is.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.last.map(|last| now.since(last))
    }
}

/// A map that is corrected by what is measured.
#[derive(Clone, Debug)]
pub struct LiveMap {
    map: RttMap,
    pairs: Vec<LivePair>,
}

impl LiveMap {
    /// Begins with a map that others have measured.
    pub fn new(map: RttMap) -> Self {
        let count = map.regions().len();
        Self { map, pairs: vec![LivePair::default(); count * count] }
    }

    /// The measurements of a directed pair; `None` when a region is not in the map.
    pub fn pair(&self, from: usize, to: usize) -> Option<&LivePair> {
        let count = self.map.regions().len();
        self.pairs.get(from * count + to).filter(|_| to < count)
    }

    /// Takes a sample, as [`LivePair::record`] does; `None` when a region is not in the map.
    pub fn record(
        &mut self,
        (from, to): (usize, usize),
        now: Timestamp,
        rtt: Duration,
        attempts: u32,
    ) -> Option<Recorded> {
        let count = self.map.regions().len();
        let pair = self.pairs.get_mut(from * count + to).filter(|_| to < count)?;
        Some(pair.record(now, rtt, attempts))
    }

    /// The median that was measured, or what the map says.
    pub fn rtt(&self, from: usize, to: usize) -> Option<Rtt> {
        let measured = self.pair(from, to)?.quantile(0.5);
        let measured = measured.map(|value| Rtt { value, origin: Origin::Measured });
        measured.or_else(|| self.map.rtt(from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Jitter, Provider, Rng, Shipped};

    fn sample(jitter: &Jitter, rng: &mut Rng) -> Duration {
        jitter.one_way(rng) + jitter.one_way(rng)
    }

    fn at(sample: u64) -> Timestamp {
        Timestamp::from_millis(sample * 20)
    }

    #[test]
    fn quantiles_are_those_of_the_window() {
        let mut pair = LivePair::default();
        for i in 0..100 {
            pair.record(at(i), Duration::from_micros(100_000 + i * 10), 1);
        }
        let median = pair.quantile(0.5).expect("there are samples").as_micros();
        assert!((100_400..100_600).contains(&median), "{median}");
        assert_eq!(pair.samples(), 100);
        assert_eq!(pair.age(at(150)), Some(Duration::from_millis(51 * 20)));
    }

    #[test]
    fn the_window_holds_its_most_samples_and_its_time_and_not_more() {
        let mut pair = LivePair::default();
        let rtt = Duration::from_millis(100);
        for i in 0..LIVE_SAMPLES_MAX {
            pair.record(Timestamp::from_millis(i), rtt, 1);
        }
        assert_eq!(pair.samples(), LIVE_SAMPLES_MAX);
        pair.record(Timestamp::from_millis(LIVE_SAMPLES_MAX), rtt, 1);
        assert_eq!(pair.samples(), LIVE_SAMPLES_MAX - LIVE_SAMPLES_MAX / PARTS + 1);
        pair.record(Timestamp::from_millis(2_000) + LIVE_WINDOW, rtt, 1);
        assert_eq!(pair.samples(), 1);
    }

    #[test]
    fn an_answer_to_a_repeated_question_does_not_count() {
        let mut pair = LivePair::default();
        assert_eq!(pair.record(at(0), Duration::from_secs(9), 2), Recorded::Ambiguous);
        assert_eq!((pair.samples(), pair.mean()), (0, None));
    }

    #[test]
    fn a_changed_route_is_found_and_measured_within_64_samples() {
        let ms = Duration::from_millis;
        for (before, after) in [(9, 43), (43, 9), (150, 180), (150, 100), (200, 216)] {
            let (old, new) = (Jitter::of_mean(ms(before)), Jitter::of_mean(ms(after)));
            let (mut pair, mut rng) = (LivePair::default(), Rng::new(before, after));
            for i in 0..500 {
                assert_eq!(pair.record(at(i), sample(&old, &mut rng), 1), Recorded::Counted);
            }
            let results: Vec<_> =
                (500..564).map(|i| pair.record(at(i), sample(&new, &mut rng), 1)).collect();
            assert!(results.contains(&Recorded::Step), "{before} to {after}");
            let median = pair.quantile(0.5).expect("samples").as_secs_f64() * 1e3;
            let off = (median - after as f64).abs() / after as f64;
            assert!(off < 0.05, "{before} to {after}: {median}");
        }
    }

    #[test]
    fn spikes_and_jitter_of_real_paths_are_no_steps() {
        let map = Shipped::rtt(Provider::Gcp);
        let jitters = Shipped::jitter(Provider::Gcp);
        let mut steps = 0_u32;
        for from in map.regions() {
            for to in map.regions().iter().filter(|to| *to != from) {
                let Some(jitter) = jitters.get(from, to) else { continue };
                let (mut pair, mut rng) = (LivePair::default(), Rng::new(3, 1));
                let results = (0..2_000).map(|i| pair.record(at(i), sample(&jitter, &mut rng), 1));
                steps += results.filter(|result| *result == Recorded::Step).count() as u32;
            }
        }
        println!("{steps} false steps in 760,000 samples");
        assert!(steps <= 76, "{steps}");
    }

    #[test]
    fn a_map_takes_what_was_measured_before_what_it_was_given() {
        let mut live = LiveMap::new(Shipped::rtt(Provider::Ibm));
        let given = live.rtt(0, 1).expect("known");
        assert_eq!(
            live.record((0, 1), at(0), Duration::from_millis(5), 1),
            Some(Recorded::Counted)
        );
        let measured = live.rtt(0, 1).expect("known").value;
        assert!(measured.as_micros().abs_diff(5_000) < 10, "{measured:?}");
        assert_ne!(given.value, measured);
        assert_eq!(live.record((0, 99), at(0), Duration::from_millis(5), 1), None);
    }
}
