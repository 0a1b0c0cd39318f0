//! What the rows of a participant's store say, as lines of a history.

use bytes::Bytes;
use dtx_core::{
    ids::{TxId, Version},
    resource::{
        EffectRow, PoolFacts,
        barrier::{Entry, InboxRow, parse_inbox_key},
    },
    store::{RowExpect, RowKey, RowSet, StoredRow},
};

use super::line::{Change, Claim, Pool, Said, What};

/// What a pool's row says; `None` for another row, and for one that cannot be read.
pub(crate) fn pool(scope: &str, key: &RowKey, value: &Bytes) -> Option<Pool> {
    let facts = PoolFacts::of(key, value)?.ok()?;
    let claims = facts.claims.iter().map(|claim| Claim {
        tx: claim.tx,
        operation: claim.operation,
        amount: claim.amount,
        strict: claim.strict,
        incoming: claim.incoming,
        pinned: claim.pinned,
        expires_us: claim.expires_at.as_micros(),
    });
    Some(Pool {
        scope: scope.to_owned(),
        version: None,
        opened: facts.opened,
        level: facts.level,
        latest_us: facts.latest.as_micros(),
        claims: claims.collect(),
    })
}

/// The effect of a row; `None` for another row, and for one that cannot be read.
pub(crate) fn change(key: &RowKey, value: &Bytes) -> Option<Change> {
    let stored = StoredRow { version: Version::default(), value: value.clone() };
    let EffectRow { tx, operation, change, is_reversal, .. } = EffectRow::of(key, &stored)?.ok()?;
    Some(Change { tx, operation, change, reversal: is_reversal })
}

/// What a written set says of the pool of its scope.
pub(crate) fn written(set: &RowSet) -> Option<What> {
    let values = || set.changes.iter().filter_map(|row| Some((&row.key, row.value.as_ref()?)));
    let mut rows = set.changes.iter();
    let pool = rows.find_map(|row| {
        let found = pool(set.scope.as_str(), &row.key, row.value.as_ref()?)?;
        let version = match row.expect {
            RowExpect::Version(version) => Some(version.next().0),
            RowExpect::Absent => None,
        };
        Some(Pool { version, ..found })
    })?;
    let effects = values().filter_map(|(key, value)| change(key, value)).collect();
    Some(What::Pool { pool, effects })
}

/// What an inbox row keeps; nothing for another row, and for one that cannot be read.
pub(crate) fn kept(key: &RowKey, value: &Bytes, seen: bool) -> Vec<(TxId, What)> {
    let Some((tx, operation)) = parse_inbox_key(key) else { return Vec::new() };
    let Ok(row) = InboxRow::decode(value) else { return Vec::new() };
    let epoch = Some(row.epoch());
    let answered = row.entries().iter().filter_map(|(phase, entry)| {
        let answer = match entry {
            Entry::Done(done) => Said::of(&Ok(done.clone())).0,
            Entry::Rejected(_) => Said::Rejected,
            Entry::Started { .. } | Entry::Unsettled => return None,
        };
        Some((tx, What::Kept { operation, phase: *phase, answer, epoch, seen }))
    });
    answered.collect()
}
