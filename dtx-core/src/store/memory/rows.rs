//! The rows of participants.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use super::state::{NAME, invalid, locked};
use crate::{
    error::StoreError,
    ids::{Version, mix},
    store::{
        Cursor, Page, ROW_KEY_BYTES_MAX, RowDecision, RowKey, RowSet, RowWriteResult, Scope,
        ScopeRead, ScopeRows, StoreLimits, StoredRow, check_batch, check_row_key, check_set,
        evaluate_set,
    },
    time::Timestamp,
};

/// Scopes are spread over this many locks.
const STRIPES: usize = 16;

/// One map for all scopes of a stripe: a map per scope would cost more than most scopes hold.
type Stripe = BTreeMap<(Scope, RowKey), StoredRow>;

#[derive(Debug)]
pub(super) struct Rows {
    limits: StoreLimits,
    stripes: Box<[Mutex<Stripe>]>,
    /// The highest version of any deleted row; new rows begin above it.
    deleted: AtomicU64,
}

impl Rows {
    pub(super) fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            stripes: std::iter::repeat_with(Mutex::default).take(STRIPES).collect(),
            deleted: AtomicU64::new(0),
        }
    }

    fn stripe(&self, scope: &Scope) -> MutexGuard<'_, Stripe> {
        let eight = scope.as_str().as_bytes().chunks(8);
        let hash = eight.fold(0, |hash, bytes| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            mix(hash ^ u64::from_le_bytes(word))
        });
        locked(&self.stripes[hash as usize % STRIPES])
    }

    pub(super) fn read(
        &self,
        reads: &[ScopeRead],
        now: Timestamp,
    ) -> Result<Vec<ScopeRows>, StoreError> {
        for key in reads.iter().flat_map(|read| &read.keys) {
            check_row_key(key).map_err(|error| error.into_error(NAME, "read"))?;
        }
        let read_scope = |read: &ScopeRead| {
            let stripe = self.stripe(&read.scope);
            let row = |key: &RowKey| stripe.get(&(read.scope.clone(), key.clone())).cloned();
            ScopeRows { rows: read.keys.iter().map(row).collect(), now }
        };
        Ok(reads.iter().map(read_scope).collect())
    }

    pub(super) fn write(&self, sets: &[RowSet], now: Timestamp) -> Vec<RowWriteResult> {
        if let Err(error) = check_batch(sets.len(), &self.limits) {
            let failed = || RowWriteResult::Failed(error.clone().into_error(NAME, "write"));
            return sets.iter().map(|_| failed()).collect();
        }
        sets.iter().map(|set| self.write_one(set, now)).collect()
    }

    fn write_one(&self, set: &RowSet, now: Timestamp) -> RowWriteResult {
        if let Err(error) = check_set(set, &self.limits) {
            return RowWriteResult::Failed(error.into_error(NAME, "write"));
        }
        let mut stripe = self.stripe(&set.scope);
        let place = |key: &RowKey| (set.scope.clone(), key.clone());
        let decision = evaluate_set(set, now, |key| {
            Ok::<_, std::convert::Infallible>(stripe.get(&place(key)).map(|row| row.version))
        });
        match decision {
            Ok(RowDecision::Apply) => {}
            Ok(RowDecision::Conflict) => return RowWriteResult::Conflict,
            Ok(RowDecision::TooLate) => return RowWriteResult::TooLate,
            Err(never) => match never {},
        }
        for change in &set.changes {
            let Some(value) = &change.value else {
                if let Some(row) = stripe.remove(&place(&change.key)) {
                    self.deleted.fetch_max(row.version.0, Ordering::AcqRel);
                }
                continue;
            };
            stripe
                .entry(place(&change.key))
                .and_modify(|row| {
                    row.version = row.version.next();
                    row.value = value.clone();
                })
                .or_insert_with(|| StoredRow {
                    version: Version(self.deleted.load(Ordering::Acquire)).next(),
                    value: value.clone(),
                });
        }
        RowWriteResult::Written
    }

    pub(super) fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Page<(RowKey, StoredRow)> {
        let place = |key: Bytes| (scope.clone(), RowKey(key));
        let from = match cursor {
            Some(last) => Bound::Excluded(place(last.0.clone())),
            None => Bound::Included(place(Bytes::copy_from_slice(prefix))),
        };
        let stripe = self.stripe(scope);
        let mut items: Vec<_> = stripe
            .range((from, Bound::Unbounded))
            .take_while(|((of, key), _)| of == scope && key.0.starts_with(prefix))
            .take(limit + 1)
            .map(|((_, key), row)| (key.clone(), row.clone()))
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|(key, _)| Cursor(key.0.clone()));
        Page { items, next }
    }

    pub(super) fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        let foreign = || invalid("scopes", "the cursor is not one of this listing");
        let place = |cursor: &Cursor| {
            let text = std::str::from_utf8(&cursor.0).map_err(|_| foreign())?;
            Scope::new(text).map_err(|_| foreign())
        };
        let after = cursor.map(place).transpose()?;
        let mut items = Vec::new();
        for stripe in &self.stripes {
            scopes_of(&locked(stripe), prefix, after.as_ref(), limit + 1, &mut items);
        }
        items.sort_unstable();
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more);
        let next = last.map(|scope| Cursor(Bytes::copy_from_slice(scope.as_str().as_bytes())));
        Ok(Page { items, next })
    }
}

/// Adds up to `limit` scopes of a stripe that come after `after`, jumping from scope to scope.
fn scopes_of(
    stripe: &Stripe,
    prefix: &str,
    after: Option<&Scope>,
    limit: usize,
    found: &mut Vec<Scope>,
) {
    // Longer than any key, so after the last row of its scope.
    let end = RowKey(Bytes::from(vec![0xFF; ROW_KEY_BYTES_MAX + 1]));
    let start = Scope::new(prefix).ok();
    let mut from = match (after, start) {
        (Some(scope), _) => Bound::Excluded((scope.clone(), end.clone())),
        (None, Some(scope)) => Bound::Included((scope, RowKey(Bytes::new()))),
        (None, None) => Bound::Unbounded,
    };
    for _ in 0..limit {
        let Some(((scope, _), _)) = stripe.range((from, Bound::Unbounded)).next() else { return };
        if !scope.as_str().starts_with(prefix) {
            return;
        }
        found.push(scope.clone());
        from = Bound::Excluded((scope.clone(), end.clone()));
    }
}
