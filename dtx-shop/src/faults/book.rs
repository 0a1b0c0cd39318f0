//! Which order a transaction is of.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use dtx::ids::TxId;

use crate::hash;

/// Which order a transaction is of, for those that are on their way. Ids differ from run to run
/// and orders do not, so draws are about orders.
#[derive(Debug, Default)]
pub(crate) struct OrderBook {
    orders: Mutex<HashMap<TxId, u64>>,
}

impl OrderBook {
    fn with<T>(&self, use_it: impl FnOnce(&mut HashMap<TxId, u64>) -> T) -> T {
        use_it(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn learn(&self, tx: TxId, order: &str) {
        self.with(|orders| orders.insert(tx, hash::stable(order.as_bytes())));
    }

    pub(crate) fn forget(&self, tx: TxId) {
        self.with(|orders| orders.remove(&tx));
    }

    /// The number of the order; `None` for a transaction that is of none.
    pub(crate) fn order(&self, tx: TxId) -> Option<u64> {
        self.with(|orders| orders.get(&tx).copied())
    }
}
