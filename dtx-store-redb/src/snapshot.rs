//! Reads, on the state after one commit.

use std::ops::Bound;

use bytes::Bytes;
use dtx_core::{
    error::StoreError,
    ids::{ShardId, TxId, Version},
    store::{
        Cursor, Filter, JournalEntry, OpenPage, Page, RowKey, Scope, ScopeRead, StoredRow,
        TxRecord, check_row_key, page_items,
    },
    time::Timestamp,
    transaction::Key,
};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use crate::{
    apply::{PurgeIds, read_owner},
    codec::{self, Header},
    error::{Failure, NAME, invalid, unreadable},
    rows::unreadable_row,
    tables::{
        Blob, DUE, DueKey, FINISHED, HEADS, JOURNAL, JournalKey, KEYS, OPEN, ROWS, TxKey,
        caller_key, due_key, joined, journal_key, row_key, tx_of_due,
    },
};

/// The tables after one commit.
pub(crate) struct Snapshot {
    heads: ReadOnlyTable<TxKey, Blob>,
    open: ReadOnlyTable<TxKey, Blob>,
    due: ReadOnlyTable<DueKey, ()>,
    finished: ReadOnlyTable<TxKey, Blob>,
    journal: ReadOnlyTable<JournalKey, Blob>,
    keys: ReadOnlyTable<Blob, Blob>,
    rows: ReadOnlyTable<Blob, Blob>,
}

type Listed<T> = Result<Page<T>, StoreError>;

impl Snapshot {
    pub(crate) fn new(transaction: &ReadTransaction) -> Result<Self, Failure> {
        Ok(Self {
            heads: transaction.open_table(HEADS)?,
            open: transaction.open_table(OPEN)?,
            due: transaction.open_table(DUE)?,
            finished: transaction.open_table(FINISHED)?,
            journal: transaction.open_table(JOURNAL)?,
            keys: transaction.open_table(KEYS)?,
            rows: transaction.open_table(ROWS)?,
        })
    }

    /// The record, `None` where there is none, the inner error where it cannot be read.
    fn record(&self, tx: TxId) -> Result<Option<Result<TxRecord, codec::Unreadable>>, Failure> {
        let row = match self.open.get(tx.as_bytes())? {
            Some(row) => Some(row),
            None => self.finished.get(tx.as_bytes())?,
        };
        let Some(row) = row else { return Ok(None) };
        let head = self.heads.get(tx.as_bytes())?;
        let head = head.as_ref().map(|head| head.value()).unwrap_or_default();
        Ok(Some(codec::read_record(tx, row.value(), head)))
    }

    pub(crate) fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        let load = |&tx: &TxId| {
            let record = self.record(tx).map_err(|failure| failure.of_read("load"))?;
            record.transpose().map_err(|_| unreadable("load", tx))
        };
        ids.iter().map(load).collect()
    }

    /// A record for a listing, which goes on where a record cannot be read.
    fn readable(&self, tx: TxId) -> Result<Option<TxRecord>, Failure> {
        match self.record(tx)? {
            Some(Ok(record)) => Ok(Some(record)),
            Some(Err(_)) => {
                tracing::error!(%tx, "a stored record cannot be read and is left out");
                Ok(None)
            }
            None => Ok(None),
        }
    }

    pub(crate) fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<OpenPage, StoreError> {
        let place = |cursor: &Cursor| {
            cursor.due().ok_or_else(|| invalid("open", "the cursor is not one of this listing"))
        };
        let after = cursor.map(place).transpose()?;
        let found = self.due_between(shard, due_before, after, page_items(limit));
        let (records, next) = found.map_err(|failure| failure.of_read("open"))?;
        Ok(OpenPage { records, next, now })
    }

    fn due_between(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        after: Option<(Timestamp, TxId)>,
        limit: usize,
    ) -> Result<(Vec<TxRecord>, Option<Cursor>), Failure> {
        if after.is_some_and(|(due, _)| due > due_before) {
            return Ok((Vec::new(), None));
        }
        let first = match after {
            Some((due, tx)) => due_key(shard, due, tx),
            None => due_key(shard, Timestamp::ZERO, TxId::from_bytes([0; 16])),
        };
        let last = due_key(shard, due_before, TxId::from_bytes([0xFF; 16]));
        let from = if after.is_some() { Bound::Excluded(&first) } else { Bound::Included(&first) };
        let mut records = Vec::new();
        for entry in self.due.range::<&[u8; 26]>((from, Bound::Included(&last)))? {
            let tx = tx_of_due(entry?.0.value());
            let Some(record) = self.readable(tx)? else { continue };
            if records.len() == limit {
                let last: Option<&TxRecord> = records.last();
                let next = last.map(|row| Cursor::at_due(row.due.unwrap_or_default(), row.tx));
                return Ok((records, next));
            }
            records.push(record);
        }
        Ok((records, None))
    }

    pub(crate) fn list(&self, filter: &Filter) -> Listed<TxRecord> {
        let place = |cursor: &Cursor| {
            cursor.tx().ok_or_else(|| invalid("list", "the cursor is not one of this listing"))
        };
        let before = filter.cursor.as_ref().map(place).transpose()?;
        self.newest(filter, before).map_err(|failure| failure.of_read("list"))
    }

    /// Walks the heads, which open and finished transactions have alike, from the newest.
    fn newest(&self, filter: &Filter, before: Option<TxId>) -> Result<Page<TxRecord>, Failure> {
        let limit = page_items(filter.limit);
        let before = before.map(|tx| *tx.as_bytes());
        let to = before.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut items: Vec<TxRecord> = Vec::new();
        for entry in self.heads.range::<&[u8; 16]>((Bound::Unbounded, to))?.rev() {
            let tx = TxId::from_bytes(*entry?.0.value());
            let Some(record) = self.readable(tx)? else { continue };
            if !filter.matches(&record.summary, record.key.as_ref()) {
                continue;
            }
            if items.len() == limit {
                let next = items.last().map(|row| Cursor::at_tx(row.tx));
                return Ok(Page { items, next });
            }
            items.push(record);
        }
        Ok(Page { items, next: None })
    }

    /// The transactions whose records cannot be read, the newest first.
    pub(crate) fn unreadable(&self, limit: usize) -> Result<Vec<TxId>, StoreError> {
        let find = || -> Result<Vec<TxId>, Failure> {
            let mut found = Vec::new();
            for entry in self.heads.iter()?.rev() {
                let tx = TxId::from_bytes(*entry?.0.value());
                if found.len() < limit && matches!(self.record(tx)?, Some(Err(_))) {
                    found.push(tx);
                }
            }
            Ok(found)
        };
        find().map_err(|failure| failure.of_read("unreadable"))
    }

    pub(crate) fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        let found = self.journals(tx).map_err(|failure| failure.of_read("history"))?;
        found.map_err(|_| unreadable("history", tx))
    }

    fn journals(&self, tx: TxId) -> Result<Result<Vec<JournalEntry>, codec::Unreadable>, Failure> {
        let mut parts = Vec::new();
        if let Some(head) = self.heads.get(tx.as_bytes())? {
            parts.push(codec::read_head(head.value()).map(|(_, journal, _)| journal));
        }
        let (first, last) = (journal_key(tx, Version(0)), journal_key(tx, Version(u64::MAX)));
        for entry in self.journal.range::<&[u8; 24]>(&first..=&last)? {
            parts.push(codec::read_framed_journal(entry?.1.value()));
        }
        if let Some(row) = self.finished.get(tx.as_bytes())? {
            parts.push(codec::journal_of_row(row.value()).and_then(codec::read_journal));
        }
        Ok(parts.into_iter().collect::<Result<Vec<_>, _>>().map(|parts| parts.concat()))
    }

    pub(crate) fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        let found = self.keys.get(caller_key(key).as_slice());
        let value = found.map_err(|error| Failure::from(error).of_read("by_key"))?;
        Ok(value.and_then(|value| read_owner(value.value())).map(|owner| owner.tx))
    }

    /// The finished transactions that were last written early enough, up to the limit.
    pub(crate) fn old(&self, purge: &mut PurgeIds, now: Timestamp) -> Result<(), StoreError> {
        let mut collect = || -> Result<(), Failure> {
            for entry in self.finished.iter()? {
                if purge.ids.len() == purge.limit {
                    break;
                }
                let (tx, row) = entry?;
                // What cannot be read is never forgotten by itself.
                let header = Header::read(row.value()).ok();
                if header.is_some_and(|header| header.written_at + purge.older_than <= now) {
                    purge.ids.push(TxId::from_bytes(*tx.value()));
                }
            }
            Ok(())
        };
        collect().map_err(|failure| failure.of_read("purge"))
    }

    pub(crate) fn read(
        &self,
        reads: &[ScopeRead],
    ) -> Result<Vec<Vec<Option<StoredRow>>>, StoreError> {
        let read_row = |scope: &Scope, key: &RowKey| {
            check_row_key(key).map_err(|error| error.into_error(NAME, "read"))?;
            let stored = self.rows.get(row_key(scope, key).as_slice());
            let stored = stored.map_err(|error| Failure::from(error).of_read("read"))?;
            let row = stored.map(|value| codec::read_stored_row(value.value()));
            row.transpose().map_err(|_| unreadable_row("read", scope, key))
        };
        let read_scope =
            |read: &ScopeRead| read.keys.iter().map(|key| read_row(&read.scope, key)).collect();
        reads.iter().map(read_scope).collect()
    }

    pub(crate) fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Listed<(RowKey, StoredRow)> {
        let start = joined(scope.as_str().as_bytes(), prefix);
        let after = cursor.map(|last| joined(scope.as_str().as_bytes(), &last.0));
        let from = after.as_deref().map_or(Bound::Included(start.as_slice()), Bound::Excluded);
        let limit = page_items(limit);
        let of_read = |error: redb::StorageError| Failure::from(error).of_read("scan");
        let mut items: Vec<(RowKey, StoredRow)> = Vec::new();
        for entry in self.rows.range::<&[u8]>((from, Bound::Unbounded)).map_err(of_read)? {
            let (place, value) = entry.map_err(of_read)?;
            if !place.value().starts_with(&start) {
                break;
            }
            if items.len() == limit {
                let next = items.last().map(|(key, _)| Cursor(key.0.clone()));
                return Ok(Page { items, next });
            }
            let key = RowKey(Bytes::copy_from_slice(&place.value()[scope.as_str().len() + 1..]));
            match codec::read_stored_row(value.value()) {
                Ok(row) => items.push((key, row)),
                Err(_) => tracing::error!(%scope, ?key, "a row cannot be read and is left out"),
            }
        }
        Ok(Page { items, next: None })
    }

    pub(crate) fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Listed<Scope> {
        let limit = page_items(limit);
        let mut from = match cursor {
            // The byte after the end of a scope is 1: past its rows, before the next scope.
            Some(last) => [&last.0[..], &[1]].concat(),
            None => prefix.as_bytes().to_vec(),
        };
        let mut items: Vec<Scope> = Vec::new();
        let of_read = |error: redb::StorageError| Failure::from(error).of_read("scopes");
        loop {
            let mut range = self.rows.range::<&[u8]>(from.as_slice()..).map_err(of_read)?;
            let Some(entry) = range.next() else { break };
            let place = entry.map_err(of_read)?.0;
            let name = place.value().split(|byte| *byte == 0).next().unwrap_or_default();
            if !name.starts_with(prefix.as_bytes()) {
                break;
            }
            if items.len() == limit {
                let last = items.last().map(|scope| scope.as_str().as_bytes().to_vec());
                return Ok(Page { items, next: last.map(|last| Cursor(Bytes::from(last))) });
            }
            let scope = std::str::from_utf8(name).ok().and_then(|name| Scope::new(name).ok());
            from = [name, &[1]].concat();
            items.extend(scope);
        }
        Ok(Page { items, next: None })
    }
}
