//! Which region a message goes to.

use std::collections::{BTreeSet, HashMap};

use dtx_core::{
    name::{ParticipantName, RegionName},
    transport::Address,
};

use crate::PoolSpec;

/// Where participants are, and where their transactions are coordinated: the same in every region,
/// but for the own one.
///
/// All coordinators that one transport carries for are in one region, on one store: what a
/// participant asks about a transaction must reach the store that has it, and no other one could
/// say that it never was. A second region that coordinates needs transports of its own, with another
/// prefix at the brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    own: RegionName,
    coordinators: RegionName,
    participants: HashMap<ParticipantName, RegionName>,
}

impl Directory {
    /// Of region `own`, with all coordinators in one region. A participant of which nothing else is
    /// said is in every region, and is asked in that of whoever asks.
    pub fn new(own: RegionName, coordinators: RegionName) -> Self {
        Self { own, coordinators, participants: HashMap::new() }
    }

    /// A participant is in this region alone.
    #[must_use]
    pub fn participant(mut self, name: ParticipantName, region: RegionName) -> Self {
        self.participants.insert(name, region);
        self
    }

    /// The regions of a pool hear of each other.
    #[must_use]
    pub fn pool(mut self, spec: &PoolSpec) -> Self {
        let regions = spec.addresses.iter().cloned().zip(spec.regions.iter().cloned());
        self.participants.extend(regions);
        self
    }

    /// The region of this process.
    pub fn own(&self) -> &RegionName {
        &self.own
    }

    /// All regions that are named, without the own one.
    pub(super) fn others(&self) -> BTreeSet<&RegionName> {
        let named = self.participants.values().chain([&self.coordinators]);
        named.filter(|region| **region != self.own).collect()
    }

    /// Where a message for an address is read; `None`: in any region.
    pub(super) fn region_of(&self, address: &Address) -> Option<&RegionName> {
        match address {
            Address::Participant(name) => Some(self.participants.get(name).unwrap_or(&self.own)),
            Address::Replies(_) | Address::Inquiries => Some(&self.coordinators),
            // Which region a host is in is not known to who answers.
            Address::InquiryAnswers(_) => None,
        }
    }
}
