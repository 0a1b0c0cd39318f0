//! Who asks for how much, where and when.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::model::Rng;

/// Requests per second over all regions, outside a flash.
pub(crate) const RATE: f64 = 2_000.0;
/// How long a run lasts, in seconds.
pub(crate) const SECONDS: f64 = 30.0;
/// When a flash begins and ends, in seconds.
const FLASH: (f64, f64) = (10.0, 12.0);
/// A flash is so many times the demand of all regions, in one of them.
const FLASH_FACTOR: f64 = 10.0;
/// How long a hot spot stays, in seconds.
const HOT_SECONDS: f64 = 5.0;

/// A demand over regions and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Zipf 1 over the regions, stock for 1.1 times the demand.
    Zipf,
    /// Zipf 1.2, and every 5 s another region is the busiest; stock for 0.8 times the demand.
    Hotspot,
    /// Zipf 1, and for 2 s ten times the demand of all regions together in the last one; stock for
    /// the demand.
    Flash,
    /// The same with stock for 0.9 times the demand.
    FlashTight,
}

/// A text that names no workload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no workload: give zipf, hotspot, flash or flash-tight")]
pub struct UnknownWorkload(pub String);

impl Workload {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Zipf, Self::Hotspot, Self::Flash, Self::FlashTight];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zipf => "zipf",
            Self::Hotspot => "hotspot",
            Self::Flash => "flash",
            Self::FlashTight => "flash-tight",
        }
    }

    /// Stock, as a share of the requests.
    pub(crate) const fn stock(self) -> f64 {
        match self {
            Self::Zipf => 1.1,
            Self::Hotspot => 0.8,
            Self::Flash => 1.0,
            Self::FlashTight => 0.9,
        }
    }

    /// The requests of a run in order: microseconds from its begin, and the region.
    pub(crate) fn requests(self, regions: usize, seed: u64) -> Vec<(u64, usize)> {
        let mut rng = Rng::new(seed, 2);
        let exponent = if self == Self::Hotspot { 1.2 } else { 1.0 };
        let weights: Vec<f64> =
            (0..regions).map(|rank| 1.0 / ((rank + 1) as f64).powf(exponent)).collect();
        let total: f64 = weights.iter().sum();
        let mut requests = Vec::new();
        let mut at = 0.0;
        loop {
            at += rng.exponential(1.0 / RATE);
            if at >= SECONDS {
                break;
            }
            let mut left = rng.unit() * total;
            let rank = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            // The busiest place moves on by three regions, so that it is not a neighbour.
            let turn = if self == Self::Hotspot { (at / HOT_SECONDS) as usize * 3 } else { 0 };
            requests.push(((at * 1e6) as u64, (rank.unwrap_or(0) + turn) % regions));
        }
        if matches!(self, Self::Flash | Self::FlashTight) {
            let mut at = FLASH.0;
            loop {
                at += rng.exponential(1.0 / (RATE * FLASH_FACTOR));
                if at >= FLASH.1 {
                    break;
                }
                requests.push(((at * 1e6) as u64, regions - 1));
            }
            requests.sort_unstable();
        }
        requests
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = UnknownWorkload;
    fn from_str(text: &str) -> Result<Self, UnknownWorkload> {
        let found = Self::ALL.into_iter().find(|workload| workload.name() == text);
        found.ok_or_else(|| UnknownWorkload(text.chars().take(80).collect()))
    }
}
