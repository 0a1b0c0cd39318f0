//! What a pool is told once.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::RttMap;

/// The most regions of one pool.
pub const POOL_REGIONS_MAX: usize = 64;

/// A region of a pool, by its index in the pool's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member(pub u8);

impl Member {
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(crate) fn of(index: usize) -> Self {
        Self(u8::try_from(index).unwrap_or(u8::MAX))
    }
}

/// A set of regions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Members(u64);

impl Members {
    /// With one more.
    #[must_use]
    pub fn with(self, member: Member) -> Self {
        Self(self.0 | 1 << member.0)
    }

    pub(crate) fn without(self, member: Member) -> Self {
        Self(self.0 & !(1 << member.0))
    }

    /// Whether it is in the set.
    pub fn has(self, member: Member) -> bool {
        self.0 >> member.0 & 1 == 1
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set, in the order of their indexes.
    pub fn iter(self) -> impl Iterator<Item = Member> {
        (0..64).map(Member).filter(move |member| self.has(*member))
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|member| member.0)).finish()
    }
}

/// Whether the units of a region that is lost can be sold by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grants {
    /// No: they are sold through any partition, and wait for as long as the region is lost.
    Permanent,
    /// Yes. The region nearest to each one, its buddy, keeps a report of what it has spent. A
    /// region spends at most `window` units more than its buddy has acknowledged. When the buddy
    /// has heard nothing for the time of a lease, it takes all but `window` of what was left.
    Leased {
        /// Units. A good choice is rate x round trip to the buddy x 3.
        window: u64,
        /// How long a lease lasts.
        lease: Duration,
    },
}

/// The settings of a pool, the same in every region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How long a hold lives at most, all extensions included.
    pub hold_total_max: Duration,
    /// How often a hold may be extended; each time by at most half as long as the time before.
    pub extensions_max: u32,
    /// How long an ended hold is remembered, so that a repeat is answered as the first time.
    pub retry_window: Duration,
    /// The most holds that are open or remembered. One more is answered `Busy`.
    pub holds_max: usize,
    /// The most reserves that wait for units of other regions. One more is answered `Busy`.
    pub waiting_max: usize,
    /// How long a reserve waits for units of other regions.
    pub wait_max: Duration,
    /// A region asks others for units when its own last for less than this at its demand. Zero:
    /// it asks only when a reserve finds none.
    pub cover_min: Duration,
    /// Whether the units of a lost region can be sold by others.
    pub grants: Grants,
    /// How far the rates of two clocks may be apart, in millionths.
    pub drift_ppm: u32,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            hold_total_max: Duration::from_secs(900),
            extensions_max: 3,
            retry_window: Duration::from_secs(60),
            holds_max: 65_536,
            waiting_max: 8_192,
            wait_max: Duration::from_secs(3),
            cover_min: Duration::from_millis(1_500),
            grants: Grants::Permanent,
            drift_ppm: 500,
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PoolSettingsError {
    /// A bound is zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// There are too few or too many regions.
    #[error("a pool has 1 to {POOL_REGIONS_MAX} regions, not {0}")]
    Regions(usize),
    /// Two regions of the map have no known round trip.
    #[error("the round trip from region {0} to region {1} is not known")]
    Unknown(usize, usize),
    /// The index of the own region is not in the map.
    #[error("there is no region {0}")]
    Own(u8),
    /// Clocks that differ by so much measure nothing.
    #[error("drift_ppm must be below 100,000")]
    Drift,
}

impl PoolSettings {
    /// Checks that they can be.
    ///
    /// # Errors
    /// [`PoolSettingsError`], which names the setting.
    pub fn check(&self) -> Result<(), PoolSettingsError> {
        for (name, is_zero) in [
            ("hold_total_max", self.hold_total_max.is_zero()),
            ("holds_max", self.holds_max == 0),
            ("waiting_max", self.waiting_max == 0),
            ("wait_max", self.wait_max.is_zero()),
        ] {
            if is_zero {
                return Err(PoolSettingsError::Zero(name));
            }
        }
        if let Grants::Leased { window, lease } = self.grants
            && (window == 0 || lease.is_zero())
        {
            return Err(PoolSettingsError::Zero("window and lease"));
        }
        if self.drift_ppm >= 100_000 {
            return Err(PoolSettingsError::Drift);
        }
        Ok(())
    }
}

/// The round trips between the regions of a pool, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolMap {
    count: usize,
    micros: Vec<u64>,
}

impl PoolMap {
    /// From a map in which every pair is known.
    ///
    /// # Errors
    /// When a pair is unknown, or there are too few or too many regions.
    pub fn new(map: &RttMap) -> Result<Self, PoolSettingsError> {
        let count = map.regions().len();
        if count == 0 || count > POOL_REGIONS_MAX {
            return Err(PoolSettingsError::Regions(count));
        }
        let mut micros = Vec::with_capacity(count * count);
        for from in 0..count {
            for to in 0..count {
                let rtt = map.rtt(from, to).ok_or(PoolSettingsError::Unknown(from, to))?;
                micros.push(u64::try_from(rtt.value.as_micros()).unwrap_or(u64::MAX).max(1));
            }
        }
        Ok(Self { count, micros })
    }

    /// How many regions there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A round trip.
    pub fn rtt(&self, from: Member, to: Member) -> Duration {
        Duration::from_micros(self.micros[from.index() * self.count + to.index()])
    }

    /// The other regions.
    pub(crate) fn others(&self, own: Member) -> impl Iterator<Item = Member> + use<> {
        (0..self.count).map(Member::of).filter(move |member| *member != own)
    }

    /// The region nearest to one; of two equally near ones the first.
    pub(crate) fn nearest(&self, own: Member) -> Option<Member> {
        self.others(own).min_by_key(|other| (self.rtt(own, *other), *other))
    }

    /// The longest round trip from one.
    pub(crate) fn farthest(&self, own: Member) -> Duration {
        self.others(own).map(|other| self.rtt(own, other)).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let good = PoolSettings::default();
        assert_eq!(good.check(), Ok(()));
        let bad = PoolSettings { waiting_max: 0, ..good };
        assert_eq!(bad.check(), Err(PoolSettingsError::Zero("waiting_max")));
        let leased = Grants::Leased { window: 0, lease: Duration::from_secs(1) };
        assert!(PoolSettings { grants: leased, ..good }.check().is_err());
        assert_eq!(PoolSettings { drift_ppm: 99_999, ..good }.check(), Ok(()));
        assert!(PoolSettings { drift_ppm: 100_000, ..good }.check().is_err());
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let set = Members::default().with(Member(0)).with(Member(63));
        assert_eq!(format!("{set:?}"), "{0, 63}");
        assert!(set.without(Member(0)).has(Member(63)) && !set.has(Member(5)));
    }
}
