//! How much is asked for.

use std::time::Duration;

use dtx_core::time::Timestamp;

/// How long requests are counted together.
pub(crate) const BUCKET: Duration = Duration::from_millis(100);
/// Buckets that are looked at for a sudden change.
const RECENT: usize = 3;
/// The weight of a new bucket in the mean: about two seconds are remembered.
const WEIGHT: f64 = 0.05;
/// Deviations by which a sudden change must differ from chance.
const SURPRISE: f64 = 4.0;

/// An estimate of demand that is slow to follow chance and quick to follow change.
///
/// A mean over two seconds carries on, and is thrown away when the last three buckets differ from
/// it, up or down, by more than chance explains (Poisson). Taking the larger of a short and a long
/// mean follows a flash as well, but keeps units where it was for half a minute after it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Units per second.
    rate: f64,
    recent: [u64; RECENT],
    current: u64,
    since: Option<Timestamp>,
    buckets: u64,
}

impl Demand {
    /// Units were asked for.
    pub fn add(&mut self, now: Timestamp, units: u64) {
        self.roll(now);
        self.current += units;
    }

    /// Closes the buckets whose time is over. Says whether there was one.
    pub fn roll(&mut self, now: Timestamp) -> bool {
        let Some(mut since) = self.since else {
            self.since = Some(now);
            return false;
        };
        let passed = now.since(since).as_micros() / BUCKET.as_micros();
        // What is longer ago than the memory has no weight.
        for _ in 0..passed.min(200) {
            self.close();
        }
        since = since + BUCKET * u32::try_from(passed).unwrap_or(u32::MAX);
        self.since = Some(since);
        passed > 0
    }

    fn close(&mut self) {
        self.buckets += 1;
        self.recent.rotate_right(1);
        self.recent[0] = std::mem::take(&mut self.current);
        let seconds = BUCKET.as_secs_f64();
        let known = self.buckets.min(RECENT as u64) as f64;
        let recent = self.recent.iter().sum::<u64>() as f64 / (known * seconds);
        let newest = self.recent[0] as f64 / seconds;
        let chance = |span: f64| SURPRISE * (self.rate.max(recent).max(1.0) / span).sqrt();
        if self.buckets <= RECENT as u64 {
            self.rate = recent;
        } else if newest - self.rate > SURPRISE * (self.rate.max(10.0) / seconds).sqrt() {
            self.rate = newest;
        } else if (recent - self.rate).abs() > chance(known * seconds) {
            self.rate = recent;
        } else {
            self.rate += (newest - self.rate) * WEIGHT;
        }
    }

    /// Units per second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Units per 1,000 seconds, as it is told to others.
    pub(crate) fn told(&self) -> u64 {
        (self.rate * 1_000.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Rng;

    /// Requests at `rate` per second from one time to another, in milliseconds.
    fn feed(demand: &mut Demand, rng: &mut Rng, (from, to): (u64, u64), rate: f64) {
        let mut at = from as f64 * 1e3;
        loop {
            at += rng.exponential(1e6 / rate);
            if at >= to as f64 * 1e3 {
                return;
            }
            demand.add(Timestamp::from_micros(at as u64), 1);
        }
    }

    #[test]
    fn a_flash_is_followed_within_two_buckets_up_and_within_four_down() {
        let (mut demand, mut rng) = (Demand::default(), Rng::new(1, 1));
        feed(&mut demand, &mut rng, (0, 10_000), 92.0);
        demand.roll(Timestamp::from_millis(10_000));
        assert!((70.0..115.0).contains(&demand.rate()), "{}", demand.rate());
        feed(&mut demand, &mut rng, (10_000, 10_200), 20_000.0);
        demand.roll(Timestamp::from_millis(10_200));
        assert!((18_000.0..22_000.0).contains(&demand.rate()), "{}", demand.rate());
        feed(&mut demand, &mut rng, (10_200, 12_000), 20_000.0);
        feed(&mut demand, &mut rng, (12_000, 12_400), 92.0);
        demand.roll(Timestamp::from_millis(12_400));
        assert!(demand.rate() < 500.0, "{}", demand.rate());
    }

    #[test]
    fn a_quiet_region_forgets() {
        let mut demand = Demand::default();
        demand.add(Timestamp::ZERO, 1_000);
        demand.roll(Timestamp::from_millis(60_000));
        assert!(demand.rate() < 1.0);
    }
}
