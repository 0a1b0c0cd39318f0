//! How the coordinators of one store share its shards.
//!
//! Each keeps a row that says until when it lives, on the store's clock. From the living ones
//! everybody finds the same shares, without talking to each other: who has more gives the rest
//! back, and who has less takes what is free. The rows only spread the work; who owns a shard is
//! the lease's to say alone.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    frame::{self, FrameError, Kind},
    ids::{HolderId, ShardCount, ShardId},
    store::{RowChange, RowExpect, RowKey, RowSet, Scope, ScopeRead, ScopeRows, StoredRow},
    time::Timestamp,
};

/// The scope of the rows. It begins as no participant's own scope can.
const SCOPE: &str = "_dtx/coordinators";

const FORMAT: u8 = 1;

/// The largest row that is read, in bytes.
const ROW_BYTES_MAX: usize = 1024;

/// How long the row of a coordinator that is gone is kept.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// A coordinator of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub holder: HolderId,
    /// Until when it counts as living, on the store's clock.
    pub until: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Row {
    until: Timestamp,
}

/// The scope of all members.
pub fn member_scope() -> Scope {
    Scope::new(SCOPE).expect("a constant that is a scope")
}

fn key(holder: HolderId) -> RowKey {
    RowKey(Bytes::copy_from_slice(&holder.0.to_be_bytes()))
}

/// What to read before [`member_write`].
pub fn member_read(holder: HolderId) -> ScopeRead {
    ScopeRead { scope: member_scope(), keys: vec![key(holder)] }
}

/// Says that a coordinator lives for `ttl` from now; `None` takes its row away. No write where
/// nothing is to be done.
pub fn member_write(
    holder: HolderId,
    rows: &ScopeRows,
    ttl: Option<Duration>,
) -> Result<Option<RowSet>, FrameError> {
    let stored = rows.rows.first().and_then(Option::as_ref);
    let expect = stored.map_or(RowExpect::Absent, |row| RowExpect::Version(row.version));
    let value = match ttl {
        Some(ttl) => Some(frame::encode(Kind::Member, FORMAT, &Row { until: rows.now + ttl })?),
        None if stored.is_none() => return Ok(None),
        None => None,
    };
    Ok(Some(one_row(RowChange { key: key(holder), expect, value })))
}

/// Reads a row of the scope of the members.
///
/// # Errors
/// [`FrameError`] when it is none.
pub fn member_of(key: &RowKey, row: &StoredRow) -> Result<Member, FrameError> {
    let holder = key.0.as_ref().try_into().map_err(|_| FrameError::NotAFrame)?;
    let Row { until } = frame::decode(Kind::Member, FORMAT, &row.value, ROW_BYTES_MAX)?;
    Ok(Member { holder: HolderId(u128::from_be_bytes(holder)), until })
}

/// Takes the row of a coordinator away that is long gone; `None` while it may come back.
pub fn forget_member(key: &RowKey, row: &StoredRow, now: Timestamp) -> Option<RowSet> {
    let member = member_of(key, row).ok()?;
    let expect = RowExpect::Version(row.version);
    let change = RowChange { key: key.clone(), expect, value: None };
    (member.until + FORGOTTEN_AFTER <= now).then(|| one_row(change))
}

fn one_row(change: RowChange) -> RowSet {
    RowSet { scope: member_scope(), changes: vec![change], unchanged: Vec::new(), not_after: None }
}

/// How many shards a coordinator should have: an equal part, the first ones by their ids one more
/// while there is a rest. One that is not among the living yet counts as one of them.
pub fn share(members: &[Member], me: HolderId, shards: ShardCount, now: Timestamp) -> usize {
    let mut living: Vec<HolderId> =
        members.iter().filter(|member| member.until > now).map(|member| member.holder).collect();
    living.push(me);
    living.sort_unstable();
    living.dedup();
    let shards = usize::from(shards.get());
    let rank = living.iter().position(|holder| *holder == me).unwrap_or(0);
    shards / living.len() + usize::from(rank < shards % living.len())
}

/// Which shards to give back, when there are more than one's share: the last ones.
pub fn surplus(owned: impl DoubleEndedIterator<Item = ShardId>, share: usize) -> Vec<ShardId> {
    let owned: Vec<ShardId> = owned.collect();
    owned.into_iter().skip(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Version;

    fn members(ids: &[u128], until: u64) -> Vec<Member> {
        let member =
            |id: &u128| Member { holder: HolderId(*id), until: Timestamp::from_millis(until) };
        ids.iter().map(member).collect()
    }

    #[test]
    fn the_shares_add_up_to_all_shards_and_differ_by_one_at_the_most() {
        let now = Timestamp::from_millis(5);
        for count in [1_u16, 2, 7, 64, 4_096] {
            let shards = ShardCount::new(count).expect("a number");
            for living in 1..=9_u128 {
                let ids: Vec<u128> = (0..living).map(|id| id * 7 + 1).collect();
                let all = members(&ids, 6);
                let shares: Vec<usize> =
                    ids.iter().map(|id| share(&all, HolderId(*id), shards, now)).collect();
                assert_eq!(shares.iter().sum::<usize>(), usize::from(count));
                let (most, least) = (shares.iter().max(), shares.iter().min());
                assert!(most.expect("one") - least.expect("one") <= 1, "{shares:?}");
            }
        }
    }

    #[test]
    fn one_whose_time_is_over_has_no_share_and_one_at_its_last_moment_has() {
        let shards = ShardCount::new(8).expect("a number");
        let of = |now: u64| {
            let all = [members(&[1], 100), members(&[2], 10)].concat();
            share(&all, HolderId(1), shards, Timestamp::from_millis(now))
        };
        assert_eq!((of(9), of(10)), (4, 8));
        let newcomer = share(&members(&[1], 100), HolderId(9), shards, Timestamp::ZERO);
        assert_eq!(newcomer, 4, "it counts itself before its row is there");
    }

    #[test]
    fn what_is_given_back_is_exactly_the_surplus() {
        let owned = || (0..5).map(ShardId);
        assert_eq!(surplus(owned(), 5), []);
        assert_eq!(surplus(owned(), 4), [ShardId(4)]);
        assert_eq!(surplus(owned(), 0).len(), 5);
    }

    #[test]
    fn a_row_comes_back_and_is_forgotten_long_after_its_end() {
        let now = Timestamp::from_millis(1_000);
        let rows = ScopeRows { rows: vec![None], now };
        let set = member_write(HolderId(7), &rows, Some(Duration::from_secs(3)));
        let mut set = set.expect("it can be written").expect("it is to be written");
        let change = set.changes.remove(0);
        let row = StoredRow { version: Version(1), value: change.value.expect("a value") };
        let member = member_of(&change.key, &row).expect("a member");
        assert_eq!(member, Member { holder: HolderId(7), until: now + Duration::from_secs(3) });
        let end = member.until + FORGOTTEN_AFTER;
        let before = Timestamp::from_micros(end.as_micros() - 1);
        assert!(forget_member(&change.key, &row, before).is_none());
        assert!(forget_member(&change.key, &row, end).is_some());
        assert!(member_write(HolderId(7), &rows, None).expect("it can be").is_none());
    }
}
