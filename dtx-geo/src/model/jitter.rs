//! How much a round trip varies.

use std::{collections::BTreeMap, time::Duration};

use dtx_core::{ids::mix, name::RegionName};

use crate::model::{LoadError, Provider, load::lines, map::region};

/// Numbers that look random and are the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The stream of a seed. Streams with different labels are independent of each other.
    pub fn new(seed: u64, label: u64) -> Self {
        Self { state: mix(mix(seed) ^ label.rotate_left(32)) }
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// From 0 to `end - 1`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(end)) >> 64) as u64
    }

    /// From 0 up to, but not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }

    /// Exponentially distributed with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

/// How the round trip of one directed pair varies: never under `min`, `mean` on average, and
/// once in a while a spike of up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jitter {
    /// The least.
    pub min: Duration,
    /// The mean.
    pub mean: Duration,
    /// The greatest.
    pub max: Duration,
}

/// Spikes in a thousand messages.
const SPIKES_PER_MILLE: u32 = 1;

impl Jitter {
    /// One that was not measured: the mean of a ping is about 0.4 % over its least, and the worst
    /// of a hundred is about a tenth more.
    pub fn of_mean(mean: Duration) -> Self {
        Self { min: mean.mul_f64(0.996), mean, max: mean.mul_f64(1.1) }
    }

    /// How long one message takes in one direction: half of the least round trip, and half of what
    /// is above it as an exponential; seldom, a spike.
    pub fn one_way(&self, rng: &mut Rng) -> Duration {
        let excess = self.mean.saturating_sub(self.min).as_secs_f64();
        let mut late = rng.exponential(excess / 2.0);
        if rng.chance(SPIKES_PER_MILLE) {
            late += rng.unit() * self.max.saturating_sub(self.mean).as_secs_f64();
        }
        self.min / 2 + Duration::from_secs_f64(late)
    }
}

/// The jitter of the directed pairs of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JitterMap {
    cells: BTreeMap<(RegionName, RegionName), Jitter>,
}

const HEADER: [&str; 6] = ["region_a", "region_b", "min_ms", "avg_ms", "max_ms", "mdev_ms"];

impl JitterMap {
    /// Reads the lines of one provider out of a file with the columns `region_a`, `region_b`,
    /// `min_ms`, `avg_ms`, `max_ms` and `mdev_ms`.
    ///
    /// # Errors
    /// [`LoadError`], which names line and field.
    pub fn load(text: &str, provider: Provider) -> Result<Self, LoadError> {
        let mut cells = BTreeMap::new();
        lines(text, &HEADER, |line| {
            let (from, to) = (region(line, 0)?, region(line, 1)?);
            let jitter =
                Jitter { min: line.millis(2)?, mean: line.millis(3)?, max: line.millis(4)? };
            line.number(5)?;
            if jitter.min > jitter.mean || jitter.mean > jitter.max {
                return Err(line.wrong(3, "it is not between min_ms and max_ms"));
            }
            if from.provider == provider {
                cells.insert((from.name, to.name), jitter);
            }
            Ok(())
        })?;
        Ok(Self { cells })
    }

    /// The jitter of a pair, where it was measured.
    pub fn get(&self, from: &RegionName, to: &RegionName) -> Option<Jitter> {
        self.cells.get(&(from.clone(), to.clone())).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_mean_that_was_asked_for_and_is_never_below_the_least() {
        let ms = Duration::from_millis;
        let jitter = Jitter { min: ms(100), mean: ms(110), max: ms(200) };
        let mut rng = Rng::new(7, 1);
        let samples: Vec<_> = (0..100_000).map(|_| jitter.one_way(&mut rng)).collect();
        let mean = samples.iter().sum::<Duration>() / 100_000;
        assert!(samples.iter().all(|sample| *sample >= ms(50)));
        assert!((54_900..55_200).contains(&mean.as_micros()), "{mean:?}");
        let again: Vec<_> = {
            let mut rng = Rng::new(7, 1);
            (0..9).map(|_| jitter.one_way(&mut rng)).collect()
        };
        assert_eq!(samples[..9], again);
    }

    #[test]
    fn a_mean_outside_its_range_is_refused_with_its_line() {
        let text = "region_a,region_b,min_ms,avg_ms,max_ms,mdev_ms\naws/a,aws/b,2,1,3,0\n";
        let error = JitterMap::load(text, Provider::Aws).expect_err("the mean is too small");
        assert!(error.to_string().starts_with("line 2, field avg_ms"), "{error}");
    }
}
