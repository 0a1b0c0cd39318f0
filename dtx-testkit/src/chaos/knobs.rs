//! What goes wrong, how often, and how often it did.

use std::{error::Error, fmt, time::Duration};

/// What goes wrong, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct ChaosSettings {
    /// From what the faults are drawn.
    pub seed: u64,
    /// How often a call fails, from 0 to 1.
    pub failure_rate: f64,
    /// How often a call takes ten times `network_delay` and then ends in a time-out, from 0 to 1.
    /// Whether it took effect is drawn too.
    pub timeout_rate: f64,
    /// How long a call takes at the most beyond its own time; drawn for each.
    pub network_delay: Duration,
    /// How often a link is cut, from 0 to 1: the part of its time in which nothing gets through.
    pub partition_rate: f64,
    /// How long a cut lasts.
    pub partition_length: Duration,
}

impl Default for ChaosSettings {
    /// Nothing goes wrong.
    fn default() -> Self {
        Self {
            seed: 0,
            failure_rate: 0.0,
            timeout_rate: 0.0,
            network_delay: Duration::ZERO,
            partition_rate: 0.0,
            partition_length: Duration::from_secs(1),
        }
    }
}

impl ChaosSettings {
    pub(super) fn check(&self) -> Result<(), ChaosError> {
        for (knob, rate) in [
            ("failure_rate", self.failure_rate),
            ("timeout_rate", self.timeout_rate),
            ("partition_rate", self.partition_rate),
        ] {
            if !(0.0..=1.0).contains(&rate) {
                return Err(ChaosError { knob });
            }
        }
        if self.partition_length.is_zero() {
            return Err(ChaosError { knob: "partition_length" });
        }
        Ok(())
    }
}

/// A knob that cannot be turned so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChaosError {
    /// Which.
    pub knob: &'static str,
}

impl fmt::Display for ChaosError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is out of range; rates are from 0 to 1, and a length is positive", self.knob)
    }
}

impl Error for ChaosError {}

/// What went wrong so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChaosCounts {
    /// Calls, messages and commands that were looked at.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that ended in a time-out.
    pub timeouts: u64,
    /// Those that a cut link did not let through.
    pub cut: u64,
    /// The time that was added, in milliseconds.
    pub delay_ms: u64,
}
