//! The store as people see it.

use async_trait::async_trait;
use dtx_core::{
    error::StoreError,
    ids::TxId,
    store::{Catalog, Cursor, Filter, JournalEntry, Page, Purge, TxRecord, page_items},
    transaction::Key,
};

use crate::{
    codec,
    error::{corrupt, invalid},
    partitions, records,
    store::{PgStore, column, owned},
};

#[async_trait]
impl Catalog for PgStore {
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        let foreign = || invalid("list", "the cursor is not one of this listing");
        let place = |cursor: &Cursor| cursor.tx().ok_or_else(foreign);
        let before = filter.cursor.as_ref().map(place).transpose()?;
        let limit = page_items(filter.limit);
        let query = self.inner.sql.list.query().bind(before.map(codec::id));
        let query = query.bind(filter.pattern.map(codec::pattern));
        let query = query.bind(filter.status.map(codec::status)).bind(filter.with_exceptions);
        let namespace = filter.namespace.as_ref().map(|namespace| namespace.as_str().to_owned());
        let query = query.bind(namespace).bind(codec::number(limit as u64 + 1));
        let rows = self.inner.read("list", query).await?;
        let records = rows.iter().map(|row| records::record(row, "list"));
        let mut items = records.collect::<Result<Vec<_>, _>>()?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|row| Cursor::at_tx(row.tx));
        Ok(Page { items, next })
    }

    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        let query = self.inner.sql.history.query().bind(codec::id(tx));
        let rows = self.inner.read("history", query).await?;
        let mut history = Vec::new();
        for row in &rows {
            let entries = codec::read_journal(column(row, 0, "history")?);
            let unreadable = |_| corrupt("history", format!("that of {tx} cannot be read"));
            history.extend(entries.map_err(unreadable)?);
        }
        Ok(history)
    }

    async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        let query = self.inner.sql.by_key.query();
        let query = query.bind(key.namespace.as_str().to_owned());
        let query = query.bind(key.key.as_bytes().to_vec());
        let rows = self.inner.read("by_key", query).await?;
        let id = |row| column(row, 0, "by_key").map(codec::read_id);
        rows.first().map(id).transpose()
    }

    async fn purge(&self, purge: &Purge) -> Result<u64, StoreError> {
        let (inner, purge) = (self.inner.clone(), purge.clone());
        let work = async move { partitions::purge(&inner, &purge).await };
        owned(work).await.map_err(|failure| failure.into_error("purge"))?
    }
}
