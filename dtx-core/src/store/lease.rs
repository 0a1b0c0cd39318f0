//! Leases: a coordinator's right to a shard, granted by the store on the store's clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, HolderId, ShardId};

/// A coordinator's wish for shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Who asks.
    pub holder: HolderId,
    /// Which shards. The store grants those that are free or whose lease has ended.
    pub shards: Vec<ShardId>,
    /// How long the lease lasts unless it is renewed, on the store's clock.
    pub ttl: Duration,
}

/// A right to a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The shard.
    pub shard: ShardId,
    /// Who has it.
    pub holder: HolderId,
    /// Its number: higher than that of every earlier lease of the shard.
    pub epoch: Epoch,
    /// How long it lasts from now unless it is renewed.
    pub ttl: Duration,
}

impl Lease {
    /// What a write under this lease carries.
    pub fn fence(&self) -> Fence {
        Fence { shard: self.shard, holder: self.holder, epoch: self.epoch }
    }
}

/// Proof of ownership on a write. The store refuses the write, in the same atomic step, unless
/// the newest lease of the shard is exactly this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The shard of the transaction.
    pub shard: ShardId,
    /// Who writes.
    pub holder: HolderId,
    /// The epoch of the writer's lease.
    pub epoch: Epoch,
}
