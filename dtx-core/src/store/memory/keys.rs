//! The callers' keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{ids::TxId, mutant, store::KeyFacts, time::Timestamp, transaction::Key};

/// Who has which key, and which keys outlive their transactions.
#[derive(Debug, Default)]
pub(super) struct Keys {
    owners: BTreeMap<Key, KeyFacts>,
    /// The keys of forgotten transactions, by the last write of these.
    forgotten: BTreeSet<(Timestamp, Key)>,
}

impl Keys {
    pub(super) fn owner(&self, key: &Key) -> Option<KeyFacts> {
        self.owners.get(key).copied()
    }

    pub(super) fn claim(&mut self, key: &Key, tx: TxId) {
        self.owners.insert(key.clone(), KeyFacts { tx, forgotten: false });
    }

    /// Keeps the key of a transaction that is forgotten.
    pub(super) fn keep(&mut self, key: Key, written_at: Timestamp) {
        if mutant!(KeyForgottenWithRow) {
            self.owners.remove(&key);
        } else if let Some(owner) = self.owners.get_mut(&key) {
            owner.forgotten = true;
            self.forgotten.insert((written_at, key));
        }
    }

    /// Drops up to `limit` keys whose retention has passed, the oldest first.
    pub(super) fn purge(&mut self, retention: Duration, limit: usize, now: Timestamp) {
        for _ in 0..limit {
            match self.forgotten.first() {
                Some((written_at, _)) if *written_at + retention <= now => {}
                _ => return,
            }
            if let Some((_, key)) = self.forgotten.pop_first() {
                self.owners.remove(&key);
            }
        }
    }
}
