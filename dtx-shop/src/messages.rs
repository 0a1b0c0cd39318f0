//! The participants that are told about an order: handlers as a user would write them. Their
//! effect is a row of a log, which they append once per message.

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;
use dtx::{
    answer::{Answer, NotDone, rejected},
    ids::{OperationIndex, TxId},
    participant::{Context, Deliver},
    store::{
        ParticipantStore, RowChange, RowExpect, RowKey, RowSet, RowWriteResult, Scope, ScopeRead,
        StoredRow,
    },
    transaction::Action,
};
use serde::{Deserialize, Serialize};

use crate::faults::{Draw, Faults};

/// How often an append is tried again when another one wrote in between.
const APPEND_ATTEMPTS_MAX: usize = 16;

/// The key of the counter of a log.
const COUNTER: &[u8] = b"c";

/// What the keys of the entries of a log begin with; then comes the key of the operation.
const ENTRY_PREFIX: &[u8] = b"k";

/// What the participants are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Of which run.
    pub run: String,
    /// Which order.
    pub order: String,
    /// How many units.
    pub units: u64,
    /// What they cost.
    pub cents: u64,
}

/// A log in the store: one scope per participant, run and order.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) participant: &'static str,
    pub(crate) store: Arc<dyn ParticipantStore>,
    pub(crate) faults: Option<Arc<Faults>>,
}

/// The scopes of a participant's log in a run begin so.
pub(crate) fn log_prefix(participant: &str, run: &str) -> String {
    format!("{participant}-log/{run}/")
}

/// Whether a row of a log is its counter, and how far it counted.
pub(crate) fn counted(key: &RowKey, stored: &StoredRow) -> Option<u64> {
    let is_counter = key.0 == COUNTER;
    is_counter.then(|| serde_json::from_slice(&stored.value).ok()).flatten()
}

/// The operation that a row of a log is the entry of; `None` for the counter.
pub(crate) fn entry_of(key: &RowKey) -> Option<(TxId, OperationIndex)> {
    let text = std::str::from_utf8(key.0.strip_prefix(ENTRY_PREFIX)?).ok()?;
    let (tx, operation) = text.split_once('/')?;
    Some((tx.parse().ok()?, OperationIndex(operation.parse().ok()?)))
}

impl Log {
    /// Appends an entry unless the operation has one: a handler may be called again after its
    /// effect, when its answer was not stored.
    async fn append(&self, message: &Message, operation: &str) -> Answer<()> {
        let name = format!("{}{}", log_prefix(self.participant, &message.run), message.order);
        let scope = Scope::new(name)?;
        let entry = RowKey([ENTRY_PREFIX, operation.as_bytes()].concat().into());
        let keys = vec![RowKey(Bytes::from_static(COUNTER)), entry.clone()];
        let read = [ScopeRead { scope: scope.clone(), keys }];
        for _ in 0..APPEND_ATTEMPTS_MAX {
            let found = self.store.read(&read).await?.pop().map(|scope| scope.rows);
            let [counter, known] = found.and_then(|rows| rows.try_into().ok()).unwrap_or_default();
            if known.is_some() {
                return Ok(());
            }
            match self.store.write(&[next_entry(&scope, counter, &entry)?]).await.pop() {
                Some(RowWriteResult::Written) => return Ok(()),
                Some(RowWriteResult::Failed(error)) => return Err(NotDone::from(error)),
                _ => {}
            }
        }
        Err(NotDone::unknown("others write to the same log all the time"))
    }

    async fn deliver(&self, cx: &Context<'_>, message: &Message) -> Answer<()> {
        if let Some(faults) = &self.faults
            && let Some(order) = faults.order(cx.tx_id())
        {
            let draw = Draw { order, operation: cx.operation().0, phase: cx.phase() };
            if faults.refuses(draw, cx.pattern(), cx.attempt()) {
                return rejected("the service was told to say no");
            }
        }
        self.append(message, cx.operation_key()).await
    }
}

fn next_entry(
    scope: &Scope,
    counter: Option<StoredRow>,
    entry: &RowKey,
) -> Result<RowSet, serde_json::Error> {
    let count: u64 = match &counter {
        Some(row) => serde_json::from_slice(&row.value)?,
        None => 0,
    };
    let number = Bytes::from(serde_json::to_vec(&(count + 1))?);
    let expect = counter.map_or(RowExpect::Absent, |row| RowExpect::Version(row.version));
    let changes = vec![
        RowChange { key: RowKey(Bytes::from_static(COUNTER)), expect, value: Some(number.clone()) },
        RowChange { key: entry.clone(), expect: RowExpect::Absent, value: Some(number) },
    ];
    Ok(RowSet { scope: scope.clone(), changes, unchanged: Vec::new(), not_after: None })
}

/// Tells the customer.
#[derive(Clone, Debug)]
pub struct Notify {
    pub(crate) log: Log,
}

/// Counts the order.
#[derive(Clone, Debug)]
pub struct Analyse {
    pub(crate) log: Log,
}

impl Action for Notify {
    const NAME: &'static str = "notify";
    type Input = Message;
    type Output = ();
}

impl Action for Analyse {
    const NAME: &'static str = "analyse";
    type Input = Message;
    type Output = ();
}

impl Deliver for Notify {
    async fn deliver(&self, cx: &mut Context<'_>, message: &Message) -> Answer<()> {
        self.log.deliver(cx, message).await
    }
}

impl Deliver for Analyse {
    async fn deliver(&self, cx: &mut Context<'_>, message: &Message) -> Answer<()> {
        self.log.deliver(cx, message).await
    }
}

#[cfg(test)]
mod tests {
    use dtx::store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn an_operation_has_one_entry_and_another_one_is_counted() {
        let store = MemoryStore::new();
        let log = Log { participant: "notification", store: Arc::new(store.clone()), faults: None };
        let message = Message { run: "r".into(), order: "1".into(), units: 1, cents: 1 };
        let (a, b) =
            ("0191f6a0-7c1e-7000-8000-000000000001/3", "0191f6a0-7c1e-7000-8000-000000000002/3");
        for operation in [a, a, b] {
            log.append(&message, operation).await.expect("it is written");
        }
        let scope = Scope::new("notification-log/r/1").expect("a scope");
        let rows = store.scan(&scope, &[], None, 10).await.expect("rows").items;
        let counts: Vec<_> = rows.iter().filter_map(|(key, row)| counted(key, row)).collect();
        let entries: Vec<_> = rows.iter().filter_map(|(key, _)| entry_of(key)).collect();
        assert_eq!((counts, entries.len()), (vec![2], 2));
        assert_eq!(entries[0].1, OperationIndex(3));
    }
}
