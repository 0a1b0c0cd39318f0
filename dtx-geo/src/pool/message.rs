//! What regions say to each other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pool::{HoldId, HoldState};

/// A message. It may be lost, doubled, late and out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The incarnation of the sender.
    pub from: u32,
    /// The incarnation of the receiver, as the sender knows it. One to another is not read.
    pub to: u32,
    /// A logical clock: above every one that the sender has seen.
    pub stamp: u64,
    /// How things stand at the sender.
    pub digest: Digest,
    /// What it is about.
    pub body: Body,
}

/// How things stand in a region. Rides on every message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest {
    /// Units that can be held or given.
    pub free: u64,
    /// Units that are asked for, per 1,000 seconds.
    pub rate: u64,
    /// Units that were brought in from outside, in all.
    pub minted: u64,
    /// What has arrived from the receiver of the message, in all: it need not be sent again.
    pub seen: u64,
    /// What was given to the receiver of the message, in all: a grant that was lost is repaired
    /// by any later message.
    pub given: u64,
}

/// The place of a large reserve in the order of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// Logical time at which it first found too few units. The smaller goes first.
    pub stamp: u64,
    /// The index of its region; decides between equal times.
    pub region: u8,
}

/// What a region has at one moment, for the certificate that all is sold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Count {
    /// Changes with everything that brings units in, frees them or sends them away.
    pub version: u64,
    /// The own incarnation.
    pub incarnation: u32,
    /// The sum of the incarnations of all regions, as this one knows them.
    pub incarnations: u64,
    /// Units that are free.
    pub free: u64,
    /// Of these, units that may be held or given now.
    pub spendable: u64,
    /// Units of open holds.
    pub held: u64,
    /// Given to the present incarnations of others, or taken by the present one of the buddy.
    pub given: u64,
    /// Received from the present incarnations of others, or taken from them as their buddy.
    pub received: u64,
    /// Units that were brought in from outside, in all.
    pub minted: u64,
}

/// What a region tells its buddy. Each number only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Report {
    /// Units that came in.
    pub quota: u64,
    /// Units that ever went out.
    pub spent: u64,
    /// Units whose hold ended without a sale.
    pub released: u64,
}

impl Report {
    /// The greater of each number.
    pub(crate) fn merge(self, other: Self) -> Self {
        Self {
            quota: self.quota.max(other.quota),
            spent: self.spent.max(other.spent),
            released: self.released.max(other.released),
        }
    }

    /// What was free, before what the buddy took.
    pub(crate) fn free(self) -> u64 {
        (self.quota + self.released).saturating_sub(self.spent)
    }
}

/// What is done with a hold that is in another region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// It does not end by itself any more.
    Pin,
    /// Its units are sold.
    Confirm,
    /// Its units are free again.
    Cancel,
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// Nothing but the digest. Also the answer of a region that gives, and of one that does not.
    Digest,
    /// Give me units.
    Pull {
        /// How many would be good.
        need: u64,
        /// How many are waited for.
        waiting: u64,
        /// For a large reserve.
        claim: Option<Claim>,
    },
    /// The large reserve needs nothing more.
    ClaimEnded {
        /// Which.
        claim: Claim,
    },
    /// Hold units for me, with you.
    Forward {
        /// The id of the hold.
        id: HoldId,
        /// How many.
        units: u64,
        /// For how long.
        ttl: Duration,
    },
    /// The answer to [`Forward`](Self::Forward).
    Forwarded {
        /// The id of the hold.
        id: HoldId,
        /// How long it lives on; none: there is no hold.
        remaining: Option<Duration>,
    },
    /// The hold is not needed: another region was faster.
    Cancel {
        /// The id of the hold.
        id: HoldId,
    },
    /// Say what you have.
    Collect {
        /// Which look this is.
        look: u64,
    },
    /// The answer to [`Collect`](Self::Collect).
    Counted {
        /// Which look it belongs to.
        look: u64,
        /// What there is.
        count: Count,
    },
    /// To the buddy: this is what I have spent, give me a lease.
    Renew {
        /// How often the sender has started.
        run: u32,
        /// Which request of this start.
        number: u64,
        /// What it has spent.
        report: Report,
        /// The incarnation of the buddy that it has settled with.
        buddy: u32,
    },
    /// From the buddy.
    Lease {
        /// Of the request.
        run: u32,
        /// Of the request.
        number: u64,
        /// What is stored as spent.
        spent: u64,
        /// What was taken, in all.
        reclaimed: u64,
    },
    /// Change a hold that you have for me.
    Change {
        /// The id of the hold.
        id: HoldId,
        /// What to do.
        change: Change,
    },
    /// The answer to [`Change`](Self::Change).
    Changed {
        /// The id of the hold.
        id: HoldId,
        /// How the hold is now; none: there is no such hold.
        state: Option<HoldState>,
    },
}
