//! The leases of a store's shards, as pure data: for stores that keep them in one process.

use std::time::Duration;

use crate::{
    ids::{Epoch, HolderId, ShardCount, ShardId},
    mutant,
    store::{Lease, LeaseFacts},
    time::Timestamp,
};

/// The newest lease of every shard.
#[derive(Clone, Debug)]
pub struct LeaseTable {
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    epoch: Epoch,
    /// `None` when nobody ever had the shard or it was given back.
    holder: Option<HolderId>,
    until: Timestamp,
}

impl LeaseTable {
    /// No shard has an owner and every epoch is still to come.
    pub fn new(shards: ShardCount) -> Self {
        let row = Row { epoch: Epoch(0), holder: None, until: Timestamp::ZERO };
        Self { rows: vec![row; usize::from(shards.get())] }
    }

    /// Whether the table has this shard.
    pub fn contains(&self, shard: ShardId) -> bool {
        usize::from(shard.0) < self.rows.len()
    }

    /// Sets the last epoch of a shard, without an owner: what a store knows when it is opened.
    /// Does nothing for a shard that the table does not have.
    pub fn restore(&mut self, shard: ShardId, epoch: Epoch) {
        if let Some(row) = self.rows.get_mut(usize::from(shard.0)) {
            *row = Row { epoch, holder: None, until: Timestamp::ZERO };
        }
    }

    /// The newest lease of a shard, unless it was given back. An ended lease is still the newest.
    pub fn newest(&self, shard: ShardId) -> Option<LeaseFacts> {
        let row = self.rows.get(usize::from(shard.0))?;
        row.holder.map(|holder| LeaseFacts { holder, epoch: row.epoch })
    }

    /// Grants a shard that is free, whose lease has ended, or that the holder has already; in
    /// the last case the epoch stays. `None` when another holder has it.
    pub fn acquire(
        &mut self,
        shard: ShardId,
        holder: HolderId,
        ttl: Duration,
        now: Timestamp,
    ) -> Option<Lease> {
        let row = self.rows.get_mut(usize::from(shard.0))?;
        match row.holder {
            Some(current) if current == holder => {}
            Some(_) if now < row.until && !mutant!(LeaseStolen) => return None,
            _ if mutant!(EpochNotRaised) && row.epoch.0 > 0 => {}
            _ => row.epoch = Epoch(row.epoch.0 + 1),
        }
        (row.holder, row.until) = (Some(holder), now + ttl);
        Some(Lease { shard, holder, epoch: row.epoch, ttl })
    }

    /// Prolongs a lease that is still the newest of its shard by its `ttl`, counted from now.
    pub fn renew(&mut self, lease: &Lease, now: Timestamp) -> Option<Lease> {
        let row = self.current(lease)?;
        row.until = now + lease.ttl;
        Some(lease.clone())
    }

    /// Gives a lease back; does nothing when it is lost already.
    pub fn release(&mut self, lease: &Lease) {
        if let Some(row) = self.current(lease) {
            row.holder = None;
        }
    }

    fn current(&mut self, lease: &Lease) -> Option<&mut Row> {
        let row = self.rows.get_mut(usize::from(lease.shard.0))?;
        (row.holder == Some(lease.holder) && row.epoch == lease.epoch).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(3);
    const TTL: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_lease_ends_exactly_after_its_time_and_the_next_has_a_higher_epoch() {
        let mut table = LeaseTable::new(ShardCount::DEFAULT);
        let (one, two) = (HolderId(1), HolderId(2));
        assert_eq!(table.acquire(SHARD, one, TTL, at(0)).expect("free").epoch, Epoch(1));
        assert_eq!(table.acquire(SHARD, two, TTL, at(999)), None);
        let taken = table.acquire(SHARD, two, TTL, at(1_000)).expect("ended");
        assert_eq!(taken.epoch, Epoch(2));
        table.release(&taken);
        assert_eq!(table.newest(SHARD), None);
        assert_eq!(table.acquire(SHARD, two, TTL, at(1_001)).expect("free").epoch, Epoch(3));
    }

    #[test]
    fn an_ended_lease_stays_the_newest_and_can_be_renewed_until_it_is_taken() {
        let mut table = LeaseTable::new(ShardCount::DEFAULT);
        let lease = table.acquire(SHARD, HolderId(1), TTL, at(0)).expect("free");
        assert!(table.newest(SHARD).is_some());
        assert!(table.renew(&lease, at(5_000)).is_some());
        assert_eq!(table.acquire(SHARD, HolderId(2), TTL, at(5_999)), None);
        assert!(table.acquire(SHARD, HolderId(2), TTL, at(6_000)).is_some());
        assert_eq!(table.renew(&lease, at(6_000)), None);
        table.release(&lease);
        assert_eq!(table.newest(SHARD).map(|lease| lease.holder), Some(HolderId(2)));
    }

    #[test]
    fn a_restored_epoch_is_never_given_again() {
        let mut table = LeaseTable::new(ShardCount::DEFAULT);
        table.restore(SHARD, Epoch(41));
        assert_eq!(table.newest(SHARD), None);
        let lease = table.acquire(SHARD, HolderId(1), TTL, at(0)).expect("free");
        assert_eq!(lease.epoch, Epoch(42));
        assert!(!table.contains(ShardId(64)));
        assert_eq!(table.acquire(ShardId(64), HolderId(1), TTL, at(0)), None);
    }
}
