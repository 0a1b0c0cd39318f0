//! Claims on a quantity: numbered, expiring unless pinned, extended within bounds.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    ids::{OperationIndex, TxId},
    mutant,
    time::Timestamp,
};

/// Bounds of the claims on one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HoldSettings {
    /// How long a claim lives when the command does not say, in milliseconds.
    pub ttl_ms: u64,
    /// The longest life of a claim with all its extensions, in milliseconds.
    pub life_ms_max: u64,
    /// How many times a claim may be extended.
    pub extensions_max: u8,
    /// How many claims one row may hold.
    pub holds_max: u32,
    /// How many operations may wait for one lock.
    pub queue_max: u32,
}

impl Default for HoldSettings {
    fn default() -> Self {
        Self {
            ttl_ms: 600_000,
            life_ms_max: 3_600_000,
            extensions_max: 3,
            holds_max: 4_096,
            queue_max: 1_024,
        }
    }
}

/// A setting that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name} is {value}; give {least} to {most}")]
pub struct HoldSettingsError {
    /// Which setting.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// The smallest value.
    pub least: u64,
    /// The largest value.
    pub most: u64,
}

impl HoldSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first setting that is out of its bounds.
    pub fn check(&self) -> Result<(), HoldSettingsError> {
        const YEAR_MS: u64 = 366 * 24 * 3_600_000;
        for (name, value, least, most) in [
            ("ttl_ms", self.ttl_ms, 1, YEAR_MS),
            ("life_ms_max", self.life_ms_max, self.ttl_ms, YEAR_MS),
            ("holds_max", u64::from(self.holds_max), 1, 65_536),
            ("queue_max", u64::from(self.queue_max), 0, 65_536),
        ] {
            if !(least..=most).contains(&value) {
                return Err(HoldSettingsError { name, value, least, most });
            }
        }
        Ok(())
    }

    fn life(&self, ttl: Option<Duration>) -> Duration {
        let ttl = ttl.unwrap_or_else(|| Duration::from_millis(self.ttl_ms));
        ttl.min(Duration::from_millis(self.life_ms_max))
    }
}

/// How a claim counts against others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum HoldKind {
    /// Only on paper until it is validated.
    Optimistic,
    /// What it claims is there for it.
    Strict,
    /// Something will be added; the room for it is there.
    Incoming,
}

/// Whose claim it is.
pub(super) type Owner = (TxId, OperationIndex);

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hold {
    pub(super) number: u64,
    pub(super) owner: Owner,
    pub(super) amount: u64,
    pub(super) kind: HoldKind,
    pub(super) pinned: bool,
    pub(super) made_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) extensions: u8,
}

/// What is claimed in total. Sums of amounts cannot overflow: amounts and their number are
/// bounded far below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) pinned: u128,
    pub(super) strict: u128,
    pub(super) optimistic: u128,
    pub(super) incoming: u128,
}

impl Totals {
    fn slot(&mut self, hold: &Hold) -> &mut u128 {
        match (hold.kind, hold.pinned) {
            (HoldKind::Incoming, _) => &mut self.incoming,
            (_, true) => &mut self.pinned,
            (HoldKind::Strict, false) => &mut self.strict,
            (HoldKind::Optimistic, false) => &mut self.optimistic,
        }
    }

    /// What is firmly promised to others.
    pub(super) fn firm(&self) -> u128 {
        match (mutant!(PinnedNotCounted), mutant!(StrictNotCounted)) {
            (true, _) => self.strict,
            (_, true) => self.pinned,
            _ => self.pinned + self.strict,
        }
    }
}

/// Why a claim could not be extended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExtendError {
    /// There is none, or it has expired: extending never revives.
    #[error("there is no live claim of this operation")]
    Gone,
    /// A pinned claim does not end by itself.
    #[error("the claim is pinned and does not end by itself")]
    Pinned,
    /// It was extended as often as it may be.
    #[error("the claim was extended {0} times, which is the most")]
    Extensions(u8),
    /// It would live longer than a claim may.
    #[error("the claim would live longer than a claim may")]
    Life,
    /// The row cannot be read.
    #[error(transparent)]
    Row(#[from] crate::frame::FrameError),
}

/// The claims on one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holds {
    live: BTreeMap<u64, Hold>,
    by_owner: BTreeMap<Owner, u64>,
    totals: Totals,
}

impl Holds {
    pub(super) fn new(live: Vec<Hold>) -> Self {
        let mut holds = Self::default();
        for hold in live {
            holds.insert(hold);
        }
        holds
    }

    pub(super) fn into_vec(self) -> Vec<Hold> {
        self.live.into_values().collect()
    }

    fn insert(&mut self, hold: Hold) {
        *self.totals.slot(&hold) += u128::from(hold.amount);
        self.by_owner.insert(hold.owner, hold.number);
        self.live.insert(hold.number, hold);
    }

    /// Adds a claim that begins to live at `now`.
    pub(super) fn add(
        &mut self,
        settings: &HoldSettings,
        now: Timestamp,
        ttl: Option<Duration>,
        hold: NewHold,
    ) {
        let NewHold { number, owner, amount, kind, pinned } = hold;
        let expires_at = now + settings.life(ttl);
        self.insert(Hold {
            number,
            owner,
            amount,
            kind,
            pinned,
            made_at: now,
            expires_at,
            extensions: 0,
        });
    }

    pub(super) fn get(&self, owner: Owner) -> Option<&Hold> {
        self.live.get(self.by_owner.get(&owner)?)
    }

    pub(super) fn remove(&mut self, owner: Owner) -> Option<Hold> {
        let hold = self.live.remove(&self.by_owner.remove(&owner)?)?;
        *self.totals.slot(&hold) -= u128::from(hold.amount);
        Some(hold)
    }

    pub(super) fn pin(&mut self, owner: Owner) {
        if let Some(mut hold) = self.remove(owner) {
            hold.pinned = true;
            self.insert(hold);
        }
    }

    /// Drops the claims that a clock may release; says how many.
    pub(super) fn expire(&mut self, now: Timestamp) -> usize {
        let is_over = |hold: &&Hold| {
            (!hold.pinned || mutant!(PinnedExpires))
                && hold.expires_at <= now
                && !mutant!(HoldNeverExpires)
        };
        let over: Vec<Owner> = self.live.values().filter(is_over).map(|hold| hold.owner).collect();
        for owner in &over {
            self.remove(*owner);
        }
        over.len()
    }

    pub(super) fn extend(
        &mut self,
        settings: &HoldSettings,
        owner: Owner,
        by: Duration,
    ) -> Result<(), ExtendError> {
        let number = self.by_owner.get(&owner).ok_or(ExtendError::Gone)?;
        let hold = self.live.get_mut(number).ok_or(ExtendError::Gone)?;
        let expires_at = hold.expires_at + by;
        if hold.pinned {
            return Err(ExtendError::Pinned);
        }
        if hold.extensions >= settings.extensions_max {
            return Err(ExtendError::Extensions(hold.extensions));
        }
        if expires_at > hold.made_at + Duration::from_millis(settings.life_ms_max) {
            return Err(ExtendError::Life);
        }
        hold.expires_at = expires_at;
        hold.extensions += 1;
        Ok(())
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// The largest number of a live claim; 0 without one.
    pub(super) fn last_number(&self) -> u64 {
        self.live.last_key_value().map_or(0, |(number, _)| *number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.live.values()
    }

    /// The optimistic claims that came before this one and are not pinned.
    pub(super) fn optimistic_before(&self, number: u64) -> u128 {
        self.live
            .range(if mutant!(EarlierNotCounted) { 0..0 } else { 0..number })
            .filter(|(_, hold)| hold.kind == HoldKind::Optimistic && !hold.pinned)
            .map(|(_, hold)| u128::from(hold.amount))
            .sum()
    }
}

/// A claim to be added.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewHold {
    pub(super) number: u64,
    pub(super) owner: Owner,
    pub(super) amount: u64,
    pub(super) kind: HoldKind,
    pub(super) pinned: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_at_their_limits() {
        assert_eq!(HoldSettings::default().check(), Ok(()));
        let most = HoldSettings { holds_max: 65_536, ..HoldSettings::default() };
        assert_eq!(most.check(), Ok(()));
        let over = HoldSettings { holds_max: 65_537, ..HoldSettings::default() };
        assert_eq!(over.check().map_err(|error| error.name), Err("holds_max"));
        let short = HoldSettings { life_ms_max: 599_999, ..HoldSettings::default() };
        assert_eq!(short.check().map_err(|error| error.name), Err("life_ms_max"));
        let none = HoldSettings { ttl_ms: 0, ..HoldSettings::default() };
        assert_eq!(none.check().map_err(|error| error.name), Err("ttl_ms"));
        let queue = HoldSettings { queue_max: 65_537, ..HoldSettings::default() };
        assert_eq!(queue.check().map_err(|error| error.name), Err("queue_max"));
    }

    #[test]
    fn a_claim_without_a_lifetime_of_its_own_lives_for_ttl_ms_and_no_longer() {
        let settings = HoldSettings { ttl_ms: 1_000, life_ms_max: 3_000, ..Default::default() };
        let at = Timestamp::from_millis;
        let owner = (TxId::from_bytes([1; 16]), OperationIndex(0));
        let hold = NewHold { number: 1, owner, amount: 1, kind: HoldKind::Strict, pinned: false };
        for (ttl, ends) in [(None, 1_000), (Some(3_000), 3_000), (Some(3_001), 3_000)] {
            let mut holds = Holds::new(Vec::new());
            holds.add(&settings, at(0), ttl.map(Duration::from_millis), hold);
            assert_eq!(holds.expire(at(ends - 1)), 0, "{ttl:?}");
            assert_eq!(holds.expire(at(ends)), 1, "{ttl:?}");
        }
    }
}
