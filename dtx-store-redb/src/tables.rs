//! The tables of a file, and how their keys are made.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | format and shards; clock and highest deleted row version |
//! | `leases` | shard | its last epoch |
//! | `heads` | transaction | key, journal of the accept, definition: written once |
//! | `open` | transaction | header, summary, state |
//! | `due` | shard, due time, transaction | nothing |
//! | `finished` | transaction | header, summary, state, journal of the last write |
//! | `journal` | transaction, version | journal of a write between accept and finish |
//! | `keys` | namespace, caller's key | transaction, whether it is forgotten |
//! | `forgotten` | last write, namespace, caller's key | nothing |
//! | `rows` | scope, row key | version, value |
//!
//! Numbers in keys are big-endian, so that they sort as numbers.

use dtx_core::{
    ids::{ShardId, TxId, Version},
    store::{RowKey, Scope},
    time::Timestamp,
    transaction::Key,
};
use redb::{Table, TableDefinition, WriteTransaction};

use crate::error::Failure;

pub(crate) type TxKey = &'static [u8; 16];
pub(crate) type Blob = &'static [u8];
pub(crate) type DueKey = &'static [u8; 26];
pub(crate) type JournalKey = &'static [u8; 24];

pub(crate) const META: TableDefinition<'static, &str, Blob> = TableDefinition::new("meta");
pub(crate) const LEASES: TableDefinition<'static, u16, u64> = TableDefinition::new("leases");
pub(crate) const HEADS: TableDefinition<'static, TxKey, Blob> = TableDefinition::new("heads");
pub(crate) const OPEN: TableDefinition<'static, TxKey, Blob> = TableDefinition::new("open");
pub(crate) const DUE: TableDefinition<'static, DueKey, ()> = TableDefinition::new("due");
pub(crate) const FINISHED: TableDefinition<'static, TxKey, Blob> = TableDefinition::new("finished");
pub(crate) const JOURNAL: TableDefinition<'static, JournalKey, Blob> =
    TableDefinition::new("journal");
pub(crate) const KEYS: TableDefinition<'static, Blob, Blob> = TableDefinition::new("keys");
pub(crate) const FORGOTTEN: TableDefinition<'static, Blob, ()> = TableDefinition::new("forgotten");
pub(crate) const ROWS: TableDefinition<'static, Blob, Blob> = TableDefinition::new("rows");

/// The row of `meta` that says what the file is.
pub(crate) const META_FORMAT: &str = "format";
/// The row of `meta` that changes with every commit.
pub(crate) const META_PROGRESS: &str = "progress";

/// A table that is opened when it is first used: a batch of one kind pays for its own tables.
pub(crate) struct Lazy<'t, K: redb::Key + 'static, V: redb::Value + 'static> {
    transaction: &'t WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: Option<Table<'t, K, V>>,
}

impl<'t, K: redb::Key + 'static, V: redb::Value + 'static> Lazy<'t, K, V> {
    pub(crate) fn new(
        transaction: &'t WriteTransaction,
        definition: TableDefinition<'static, K, V>,
    ) -> Self {
        Self { transaction, definition, table: None }
    }

    pub(crate) fn open(&mut self) -> Result<&mut Table<'t, K, V>, Failure> {
        match &mut self.table {
            Some(table) => Ok(table),
            table => Ok(table.insert(self.transaction.open_table(self.definition)?)),
        }
    }
}

pub(crate) fn due_key(shard: ShardId, due: Timestamp, tx: TxId) -> [u8; 26] {
    let mut key = [0; 26];
    key[..2].copy_from_slice(&shard.0.to_be_bytes());
    key[2..10].copy_from_slice(&due.as_micros().to_be_bytes());
    key[10..].copy_from_slice(tx.as_bytes());
    key
}

pub(crate) fn tx_of_due(key: &[u8; 26]) -> TxId {
    let mut tx = [0; 16];
    tx.copy_from_slice(&key[10..]);
    TxId::from_bytes(tx)
}

pub(crate) fn journal_key(tx: TxId, version: Version) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(tx.as_bytes());
    key[16..].copy_from_slice(&version.0.to_be_bytes());
    key
}

/// A namespace has no byte 0, so the first one ends it.
pub(crate) fn caller_key(key: &Key) -> Vec<u8> {
    joined(key.namespace.as_str().as_bytes(), key.key.as_bytes())
}

pub(crate) fn forgotten_key(written_at: Timestamp, caller_key: &[u8]) -> Vec<u8> {
    let mut bytes = written_at.as_micros().to_be_bytes().to_vec();
    bytes.extend_from_slice(caller_key);
    bytes
}

/// A scope has no control character, so the first byte 0 ends it.
pub(crate) fn row_key(scope: &Scope, key: &RowKey) -> Vec<u8> {
    joined(scope.as_str().as_bytes(), &key.0)
}

pub(crate) fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(first.len() + 1 + second.len());
    bytes.extend_from_slice(first);
    bytes.push(0);
    bytes.extend_from_slice(second);
    bytes
}
