//! What is durable of a pool in one region, and how it changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pool::{Hold, HoldId, Member, Report, hold::Holds};

/// A change of what is durable. All changes of a [`Step`](crate::pool::Step) land together, and
/// steps land in their order. Values are absolute: a change may land twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// The region's part has begun again: once more than before.
    Run(u32),
    /// Units that were brought in from outside, in all.
    Minted(u64),
    /// What was given to a region, and what came from it, in all.
    Peer(Member, Peer),
    /// A hold.
    Hold(HoldId, Hold),
    /// A hold is forgotten.
    Forget(HoldId),
    /// Units that were sold, and units whose hold ended without a sale, in all.
    Ended {
        /// Sold.
        sold: u64,
        /// Free again.
        released: u64,
    },
    /// Where the hold of a reserve is that went to another region.
    Routed(HoldId, Route),
    /// What the buddy has taken of this region's units, in all; and the buddy's incarnation.
    Reclaimed {
        /// Units, by all incarnations of the buddy.
        total: u64,
        /// Of these, by incarnations that are over.
        before: u64,
        /// The incarnation of the buddy that this region has settled with.
        buddy: u32,
    },
    /// Units that this region will never spend, because its buddy may have taken them.
    WrittenOff(u64),
    /// What this region, as the buddy of another, knows of it.
    Ward(Member, Ward),
}

/// Where the hold of a reserve is that went to another region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// Which region.
    pub at: Member,
    /// The hold may be pinned there: this is not forgotten before it has ended.
    pub pinned: bool,
}

/// One peer's cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// Its incarnation: one more whenever it has lost its disk.
    pub incarnation: u32,
    /// Given to this incarnation, in all. Only grows.
    pub given: u64,
    /// Received from this incarnation, in all. Only grows.
    pub received: u64,
    /// Given to earlier incarnations.
    pub given_before: u64,
    /// Received from earlier incarnations.
    pub received_before: u64,
}

/// What a buddy knows of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ward {
    /// Of which incarnation.
    pub incarnation: u32,
    /// What it has reported: the greatest of each number.
    pub report: Report,
    /// Taken from this incarnation, in all. Only grows.
    pub reclaimed: u64,
    /// Taken from earlier ones.
    pub reclaimed_before: u64,
}

/// What is durable of a pool in one region: its row of the matrix and its holds. Only this
/// region changes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cells {
    pub(crate) run: u32,
    pub(crate) minted: u64,
    pub(crate) peers: Vec<Peer>,
    pub(crate) sold: u64,
    pub(crate) released: u64,
    pub(crate) reclaimed: u64,
    pub(crate) reclaimed_before: u64,
    pub(crate) buddy: u32,
    pub(crate) written_off: u64,
    pub(crate) wards: BTreeMap<Member, Ward>,
    pub(crate) routed: BTreeMap<HoldId, Route>,
    pub(crate) holds: Holds,
}

impl Cells {
    /// An empty row in a pool of so many regions.
    pub fn new(regions: usize) -> Self {
        Self {
            run: 0,
            minted: 0,
            peers: vec![Peer::default(); regions],
            sold: 0,
            released: 0,
            reclaimed: 0,
            reclaimed_before: 0,
            buddy: 0,
            written_off: 0,
            wards: BTreeMap::new(),
            routed: BTreeMap::new(),
            holds: Holds::default(),
        }
    }

    /// Applies a change that has landed.
    pub fn apply(&mut self, write: &Write) {
        match *write {
            Write::Run(run) => self.run = run,
            Write::Minted(total) => self.minted = total,
            Write::Peer(member, peer) => self.peers[member.index()] = peer,
            Write::Hold(id, hold) => self.holds.set(id, hold),
            Write::Forget(id) => {
                self.holds.remove(id);
                self.routed.remove(&id);
            }
            Write::Ended { sold, released } => {
                self.sold = sold;
                self.released = released;
            }
            Write::Routed(id, route) => {
                self.routed.insert(id, route);
            }
            Write::Reclaimed { total, before, buddy } => {
                self.reclaimed = total;
                self.reclaimed_before = before;
                self.buddy = buddy;
            }
            Write::WrittenOff(total) => self.written_off = total,
            Write::Ward(member, ward) => {
                self.wards.insert(member, ward);
            }
        }
    }

    /// Units that came in, in all, before what the buddy took.
    pub fn quota(&self) -> u64 {
        let received = |peer: &Peer| peer.received + peer.received_before;
        let taken = |ward: &Ward| ward.reclaimed + ward.reclaimed_before;
        self.minted
            + self.peers.iter().map(received).sum::<u64>()
            + self.wards.values().map(taken).sum::<u64>()
    }

    /// Units that were given away, in all.
    pub fn given(&self) -> u64 {
        self.peers.iter().map(|peer| peer.given + peer.given_before).sum()
    }

    /// Units that ever went out: held, given or written off. Only grows.
    pub fn spent(&self) -> u64 {
        self.given() + self.sold + self.held() + self.released + self.written_off
    }

    /// Units of open holds.
    pub fn held(&self) -> u64 {
        self.holds.held()
    }

    /// Units that were sold.
    pub fn sold(&self) -> u64 {
        self.sold
    }

    /// Units that were brought in from outside.
    pub fn minted(&self) -> u64 {
        self.minted
    }

    /// Where the hold of a reserve is that went to another region.
    pub fn route(&self, id: HoldId) -> Option<Member> {
        self.routed.get(&id).map(|route| route.at)
    }

    /// What can be held or given. Never below zero: that is what makes a pool safe.
    pub fn free(&self) -> i64 {
        (self.quota() + self.released) as i64 - self.spent() as i64 - self.reclaimed as i64
    }

    /// What a buddy has to know. What its earlier incarnations took is no part of it.
    pub(crate) fn report(&self) -> Report {
        let quota = self.quota() - self.reclaimed_before;
        Report { quota, spent: self.spent(), released: self.released }
    }
}
