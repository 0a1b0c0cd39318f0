//! The store as participants see it.

use async_trait::async_trait;
use bytes::Bytes;
use dtx_core::{
    error::StoreError,
    ids::Version,
    store::{
        Cursor, Page, ParticipantStore, RowKey, RowSet, RowWriteResult, Scope, ScopeRead,
        ScopeRows, StoreInfo, StoredRow, check_batch, check_row_key, page_items,
    },
};
use sqlx::postgres::PgRow;

use crate::{
    codec,
    error::{NAME, corrupt, invalid},
    rows,
    statements::Statement,
    store::{PgStore, column},
};

/// The row in the columns from `at` on.
fn stored(row: &PgRow, at: usize, operation: &'static str) -> Result<StoredRow, StoreError> {
    Ok(StoredRow {
        version: Version(codec::read_number(column(row, at, operation)?)),
        value: codec::bytes(column(row, at + 1, operation)?),
    })
}

/// The first key after all that begin with the prefix; `None`: there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

impl PgStore {
    async fn read_by(
        &self,
        statement: &Statement,
        reads: &[ScopeRead],
    ) -> Result<Vec<ScopeRows>, StoreError> {
        let (mut scopes, mut keys) = (Vec::new(), Vec::new());
        for read in reads {
            for key in &read.keys {
                check_row_key(key).map_err(|error| error.into_error(NAME, "read"))?;
                scopes.push(read.scope.as_str().to_owned());
                keys.push(key.0.to_vec());
            }
        }
        if reads.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = vec![None; keys.len()];
        let query = statement.query().bind(scopes).bind(keys);
        let rows = self.inner.read("read", query).await?;
        let first = rows.first().ok_or_else(|| corrupt("read", "the server has no time"))?;
        let now = self.inner.seen(column(first, 0, "read")?);
        for row in &rows {
            // The time is there also when no row is.
            let Some(place) = column::<Option<i64>>(row, 1, "read")? else { continue };
            let place = usize::try_from(place - 1).ok().and_then(|place| found.get_mut(place));
            if let Some(place) = place {
                *place = Some(stored(row, 2, "read")?);
            }
        }
        let mut found = found.into_iter();
        let scope = |read: &ScopeRead| ScopeRows {
            rows: found.by_ref().take(read.keys.len()).collect(),
            now,
        };
        Ok(reads.iter().map(scope).collect())
    }
}

#[async_trait]
impl ParticipantStore for PgStore {
    fn info(&self) -> &StoreInfo {
        &self.inner.info
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.read_by(&self.inner.sql.read_rows, reads).await
    }

    async fn read_durable(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.read_by(&self.inner.sql.read_rows_durable, reads).await
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        if let Err(error) = check_batch(sets.len(), &self.inner.info.limits) {
            let failed = || RowWriteResult::Failed(error.clone().into_error(NAME, "write"));
            return sets.iter().map(|_| failed()).collect();
        }
        rows::write(&self.inner, sets).await
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        let limit = page_items(limit);
        let query = self.inner.sql.scan_rows.query().bind(scope.as_str().to_owned());
        let query = query.bind(prefix.to_vec()).bind(cursor.map(|cursor| cursor.0.to_vec()));
        let query = query.bind(after_prefix(prefix)).bind(codec::number(limit as u64 + 1));
        let rows = self.inner.read("scan", query).await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            let key = RowKey(codec::bytes(column(row, 0, "scan")?));
            items.push((key, stored(row, 1, "scan")?));
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|(key, _)| Cursor(key.0.clone()));
        Ok(Page { items, next })
    }

    async fn scopes(
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
        if prefix.contains('\0') {
            // No scope has it, and the server does not take it.
            return Ok(Page { items: Vec::new(), next: None });
        }
        let limit = page_items(limit);
        let query = self.inner.sql.scopes.query().bind(prefix.to_owned());
        let query = query.bind(after.map(|scope| scope.as_str().to_owned()));
        let query = query.bind(codec::number(limit as u64 + 1));
        let rows = self.inner.read("scopes", query).await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            let scope = Scope::new(column::<String>(row, 0, "scopes")?);
            items.push(scope.map_err(|_| corrupt("scopes", "a scope cannot be read"))?);
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more);
        let next = last.map(|scope| Cursor(Bytes::copy_from_slice(scope.as_str().as_bytes())));
        Ok(Page { items, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_a_prefix_is_the_next_that_does_not_begin_with_it() {
        assert_eq!(after_prefix(b"a"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(&[1, 0xFF]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xFF, 0xFF]), None);
        assert_eq!(after_prefix(b""), None);
    }
}
