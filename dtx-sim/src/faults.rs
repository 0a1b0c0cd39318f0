//! Kinds of faults, so that a run can be kept to some of them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A kind of fault, or of what makes a run hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// Messages are lost.
    Loss,
    /// Messages come twice.
    Duplicate,
    /// Messages come late, and overtake each other.
    Delay,
    /// Nodes cannot reach each other: one of them, in one direction, in part, or in halves.
    Partition,
    /// Coordinators crash and are started again.
    CoordinatorCrash,
    /// Participants crash and are started again.
    ParticipantCrash,
    /// Coordinators stand still, also for longer than a lease.
    Stall,
    /// Coordinators give shards back.
    Handover,
    /// Commits fail, are lost, or land late, and nobody knows which.
    StoreError,
    /// The store is away, or slow, for a while.
    StoreOutage,
    /// Clocks run at different rates, and jump.
    Clock,
    /// Callers cancel.
    Cancel,
    /// Participants say no.
    Refusal,
    /// Participants do not know.
    Unknown,
    /// Participants say no after they have promised.
    BrokenPromise,
    /// A transaction kills whoever handles it.
    Poison,
    /// Operators move transactions, also those that would go on by themselves.
    Operator,
    /// Healers look after transactions while others still work on them.
    Healer,
    /// A region is lost for a while, with everything in it. Only in runs that have
    /// [`Regions`](crate::Regions).
    RegionLoss,
    /// The store loses what it has acknowledged. Nothing can be sound on such a store: it shows
    /// that the checks find something. It is no part of [`Faults::all`].
    Volatile,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Loss,
        Self::Duplicate,
        Self::Delay,
        Self::Partition,
        Self::CoordinatorCrash,
        Self::ParticipantCrash,
        Self::Stall,
        Self::Handover,
        Self::StoreError,
        Self::StoreOutage,
        Self::Clock,
        Self::Cancel,
        Self::Refusal,
        Self::Unknown,
        Self::BrokenPromise,
        Self::Poison,
        Self::Operator,
        Self::Healer,
        Self::RegionLoss,
        Self::Volatile,
    ];

    /// Its name, as people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Duplicate => "duplicate",
            Self::Delay => "delay",
            Self::Partition => "partition",
            Self::CoordinatorCrash => "coordinator-crash",
            Self::ParticipantCrash => "participant-crash",
            Self::Stall => "stall",
            Self::Handover => "handover",
            Self::StoreError => "store-error",
            Self::StoreOutage => "store-outage",
            Self::Clock => "clock",
            Self::Cancel => "cancel",
            Self::Refusal => "refusal",
            Self::Unknown => "unknown",
            Self::BrokenPromise => "broken-promise",
            Self::Poison => "poison",
            Self::Operator => "operator",
            Self::Healer => "healer",
            Self::RegionLoss => "region-loss",
            Self::Volatile => "volatile",
        }
    }
}

/// A text that names no faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault {0:?} is unknown; give all, none, or some of {names}, with commas", names = names())]
pub struct UnknownFault(pub String);

fn names() -> String {
    Fault::ALL.map(Fault::name).join(", ")
}

/// The faults that may be on in a run. Each seed draws some of them, and how strong they are.
///
/// ```
/// use dtx_sim::{Fault, Faults};
/// let faults: Faults = "loss,stall".parse()?;
/// assert_eq!(faults, Faults::none().with(Fault::Loss).with(Fault::Stall));
/// # Ok::<(), dtx_sim::UnknownFault>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Faults(u32);

impl Faults {
    /// No fault at all.
    pub const fn none() -> Self {
        Self(0)
    }

    /// Every fault that dtx is to withstand.
    pub const fn all() -> Self {
        Self((1 << Fault::Volatile as u32) - 1)
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u32)
    }

    /// These without one.
    #[must_use]
    pub const fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u32))
    }

    /// Whether one may be on.
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u32 != 0
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::all()
    }
}

impl FromStr for Faults {
    type Err = UnknownFault;
    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        text.split(',').try_fold(Self::none(), |faults, name| match name.trim() {
            "none" => Ok(faults),
            "all" => Ok(Self(faults.0 | Self::all().0)),
            name => Fault::ALL
                .into_iter()
                .find(|fault| fault.name() == name)
                .map(|fault| faults.with(fault))
                .ok_or_else(|| UnknownFault(name.to_owned())),
        })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            faults if faults == Self::none() => f.write_str("none"),
            faults if faults == Self::all() => f.write_str("all"),
            faults => {
                let on = Fault::ALL.into_iter().filter(|fault| faults.has(*fault));
                f.write_str(&on.map(Fault::name).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl From<Faults> for String {
    fn from(faults: Faults) -> Self {
        faults.to_string()
    }
}

impl TryFrom<String> for Faults {
    type Error = UnknownFault;
    fn try_from(text: String) -> Result<Self, UnknownFault> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for faults in [
            Faults::none(),
            Faults::all(),
            Faults::all().without(Fault::Poison),
            Faults::none().with(Fault::Volatile),
        ] {
            assert_eq!(faults.to_string().parse(), Ok(faults));
        }
        assert!("loss,nonsense".parse::<Faults>().is_err());
    }

    #[test]
    fn a_store_that_loses_is_only_had_on_demand() {
        assert!(!Faults::all().has(Fault::Volatile));
        assert!(Fault::ALL.iter().filter(|fault| !Faults::all().has(**fault)).count() == 1);
    }
}
