//! Chance for users' workloads and participants.

use crate::rng::Rng;

/// Numbers that look random. The same seed gives the same ones, so nothing else may be used as a
/// source of chance in a simulation.
#[derive(Debug)]
pub struct Draw(pub(crate) Rng);

impl Draw {
    /// From 0 to `end - 1`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    /// From `from` to `to`, both included.
    ///
    /// # Panics
    /// When `to` is below `from`.
    pub fn range(&mut self, from: u64, to: u64) -> u64 {
        assert!(from <= to, "{from} to {to} is no range");
        self.0.range(from, to)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.0.chance(percent.saturating_mul(10))
    }

    /// One of some.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        assert!(!from.is_empty(), "there is nothing to pick from");
        self.0.pick(from)
    }
}
