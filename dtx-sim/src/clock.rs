//! A coordinator's own clock: it has a rate of its own and may jump ahead.

use dtx_core::time::Timestamp;

const PER_MILLION: u128 = 1_000_000;

/// A monotonic clock over virtual time, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base_true: u64,
    base_local: u64,
    /// Local microseconds in a million true ones.
    rate: u64,
}

impl Clock {
    pub(crate) fn new(now: u64, rate: u64) -> Self {
        Self { base_true: now, base_local: 1_000, rate }
    }

    pub(crate) fn read(&self, now: u64) -> Timestamp {
        let passed = u128::from(now - self.base_true) * u128::from(self.rate) / PER_MILLION;
        Timestamp::from_micros(self.base_local + passed as u64)
    }

    /// The first true moment at which the clock shows `local` or more.
    pub(crate) fn when(&self, local: Timestamp) -> u64 {
        let ahead = u128::from(local.as_micros().saturating_sub(self.base_local));
        let passed = (ahead * PER_MILLION).div_ceil(u128::from(self.rate));
        self.base_true.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Jumps ahead.
    pub(crate) fn step(&mut self, now: u64, by: u64) {
        let local = self.read(now).as_micros() + by;
        (self.base_true, self.base_local) = (now, local);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_set_by_the_clock_is_due_when_the_clock_says_so() {
        for rate in [500_000, 999_999, 1_000_000, 1_000_001, 2_000_000] {
            let mut clock = Clock::new(77, rate);
            clock.step(1_000, 5_000_000);
            for local in [6_000_000, 6_000_001, 9_999_999] {
                let target = Timestamp::from_micros(local);
                let at = clock.when(target);
                assert!(clock.read(at) >= target, "{rate} {local}");
                assert!(clock.read(at - 1) < target, "{rate} {local}");
            }
        }
    }
}
