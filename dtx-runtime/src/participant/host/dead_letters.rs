//! Messages that nobody waits for and that could not be taken in.

use std::{collections::VecDeque, sync::PoisonError};

use bytes::Bytes;
use dtx_core::{
    answer::Reason,
    error::{ErrorKind, StoreError},
    ids::{OperationIndex, TxId},
    name::{ActionName, ParticipantName},
    pattern::Phase,
    store::{
        ParticipantStore, RowChange, RowExpect, RowKey, RowSet, RowWriteResult, Scope, ScopeRead,
    },
    transport::Command,
};
use serde::{Deserialize, Serialize};

/// The version that dead letters are written in: one byte before the postcard.
const LETTER_VERSION: u8 = 1;

/// What the keys of dead letters begin with; inbox rows begin otherwise.
const KEY_PREFIX: &[u8] = b"d";

/// A message that could not be taken in, laid aside for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The transaction.
    pub tx: TxId,
    /// Which operation of it.
    pub operation: OperationIndex,
    /// What was asked for.
    pub phase: Phase,
    /// The action.
    pub action: ActionName,
    /// Its version.
    pub action_version: u32,
    /// Its input.
    pub payload: Bytes,
    /// Why the last delivery failed.
    pub reason: Reason,
    /// How many times it was delivered.
    pub deliveries: u32,
}

impl DeadLetter {
    pub(crate) fn new(command: Command, reason: Reason, deliveries: u32) -> Self {
        Self {
            tx: command.tx,
            operation: command.operation,
            phase: command.phase,
            action: command.action,
            action_version: command.action_version,
            payload: command.payload,
            reason,
            deliveries,
        }
    }

    fn key(&self) -> RowKey {
        let operation = self.operation.0.to_be_bytes();
        RowKey([KEY_PREFIX, self.tx.as_bytes().as_slice(), operation.as_slice()].concat().into())
    }

    fn encode(&self) -> Bytes {
        let bytes = postcard::to_extend(self, vec![LETTER_VERSION]);
        Bytes::from(bytes.expect("a letter has no type that postcard cannot encode"))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[LETTER_VERSION])?;
        postcard::from_bytes(rest).ok()
    }
}

/// The dead letters of a participant, the oldest first. Where it has a store they are rows there.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    scope: Scope,
    letters_max: usize,
    /// Held while the rows are written, so that the list and the rows stay the same.
    writer: tokio::sync::Mutex<()>,
    list: std::sync::Mutex<VecDeque<DeadLetter>>,
}

impl DeadLetters {
    pub(crate) fn new(participant: &ParticipantName, letters_max: usize) -> Self {
        Self {
            scope: Scope::new(format!("{participant}/dead-letters")).expect("a name makes a scope"),
            letters_max,
            writer: tokio::sync::Mutex::default(),
            list: std::sync::Mutex::default(),
        }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut VecDeque<DeadLetter>) -> T) -> T {
        use_it(&mut self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn list(&self) -> Vec<DeadLetter> {
        self.with(|list| list.iter().cloned().collect())
    }

    /// Reads what an earlier run laid aside.
    pub(crate) async fn load(&self, store: &dyn ParticipantStore) -> Result<(), StoreError> {
        let page = store.scan(&self.scope, b"", None, self.letters_max).await?;
        let found = page.items.iter().filter_map(|(_, row)| DeadLetter::decode(&row.value));
        self.with(|list| list.extend(found));
        Ok(())
    }

    /// Lays a message aside. The oldest one makes room at the limit.
    pub(crate) async fn add(
        &self,
        letter: DeadLetter,
        store: Option<&dyn ParticipantStore>,
    ) -> Result<(), StoreError> {
        let _writer = self.writer.lock().await;
        let key = letter.key();
        let old = self.with(|list| {
            let is_known = list.iter().any(|there| there.key() == key);
            let is_full = list.len() >= self.letters_max;
            (is_full && !is_known).then(|| list.front().map(DeadLetter::key)).flatten()
        });
        if let Some(store) = store {
            self.write(&letter, old.as_ref(), store).await?;
        }
        self.with(|list| {
            list.retain(|there| there.key() != key && Some(there.key()) != old);
            list.push_back(letter);
        });
        Ok(())
    }

    async fn write(
        &self,
        letter: &DeadLetter,
        old: Option<&RowKey>,
        store: &dyn ParticipantStore,
    ) -> Result<(), StoreError> {
        let mut keys = vec![letter.key()];
        keys.extend(old.cloned());
        let read = [ScopeRead { scope: self.scope.clone(), keys: keys.clone() }];
        let rows = store.read(&read).await?.into_iter().flat_map(|scope| scope.rows);
        let mut changes = Vec::with_capacity(keys.len());
        for (index, (key, stored)) in keys.into_iter().zip(rows).enumerate() {
            let value = (index == 0).then(|| letter.encode());
            if value.is_some() || stored.is_some() {
                let expect =
                    stored.map_or(RowExpect::Absent, |row| RowExpect::Version(row.version));
                changes.push(RowChange { key, expect, value });
            }
        }
        let scope = self.scope.clone();
        let set = RowSet { scope, changes, unchanged: Vec::new(), not_after: None };
        match store.write(&[set]).await.pop() {
            Some(RowWriteResult::Written) => Ok(()),
            Some(RowWriteResult::Failed(error)) => Err(error),
            _ => Err(StoreError::new(ErrorKind::Unavailable, "dead letters", "write")),
        }
    }
}
