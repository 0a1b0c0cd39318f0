//! Rates, as people write them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most that may be lost: beyond it even many attempts may not be enough.
pub const LOSE_MAX: f64 = 0.5;

/// How often something happens, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Rate(f64);

/// A number that is no rate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0} is no rate; give a number from 0 to 1, such as 0.2")]
pub struct RateError(String);

impl Rate {
    /// Never.
    pub const ZERO: Self = Self(0.0);

    /// Checks a rate.
    ///
    /// # Errors
    /// [`RateError`] when it is below 0, over 1 or no number.
    pub fn new(rate: f64) -> Result<Self, RateError> {
        if (0.0..=1.0).contains(&rate) { Ok(Self(rate)) } else { Err(RateError(rate.to_string())) }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// Whether it never happens.
    pub fn is_zero(self) -> bool {
        self.0 == 0.0
    }

    /// Half of it.
    #[must_use]
    pub fn half(self) -> Self {
        Self(self.0 / 2.0)
    }

    /// Whether it happens for this number, which is any of 64 bits with equal chance.
    pub(super) fn hits(self, drawn: u64) -> bool {
        // 53 bits are what a fraction can hold exactly.
        let fraction = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
        fraction < self.0
    }
}

impl TryFrom<f64> for Rate {
    type Error = RateError;
    fn try_from(rate: f64) -> Result<Self, RateError> {
        Self::new(rate)
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

impl FromStr for Rate {
    type Err = RateError;
    fn from_str(text: &str) -> Result<Self, RateError> {
        let rate: f64 = text.parse().map_err(|_| RateError(text.to_owned()))?;
        Self::new(rate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often what goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FaultRates {
    /// How often a service says no where it may.
    pub refuse: Rate,
    /// How often a command, and how often a reply, is lost.
    pub lose: Rate,
}

impl FaultRates {
    /// Whether nothing goes wrong.
    pub fn is_none(self) -> bool {
        self.refuse.is_zero() && self.lose.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_from_zero_to_one() {
        for text in ["0", "0.2", "1", "1.0"] {
            assert!(text.parse::<Rate>().is_ok(), "{text}");
        }
        for text in ["-0.1", "1.01", "NaN", "inf", "", "20%"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_limits_hit_never_and_always() {
        assert!(!Rate::ZERO.hits(0));
        assert!(Rate::new(1.0).expect("a rate").hits(u64::MAX));
        let half = Rate::new(1.0).expect("a rate").half();
        assert!(half.hits((1 << 63) - 1) && !half.hits(1 << 63));
    }
}
