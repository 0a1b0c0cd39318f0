//! The built-in participants on a store: how they are hosted, opened and audited.

use std::{fmt::Debug, sync::Arc};

use dtx_core::{
    answer::NotDone,
    error::{Retry, StoreError},
    name::{NameError, ParticipantName},
    resource::{Audit, Ledger, Locks, OpenError, Reservations, Resource, audit},
    store::{
        ParticipantStore, RowKey, RowSet, RowWriteResult, Scope, ScopeRead, ScopeRows, StoredRow,
    },
};
use thiserror::Error;

use crate::participant::Participant;

/// How many rows are read at a time when a scope is audited.
const PAGE: usize = 512;

/// How often an opening is tried again when others write in between.
const OPEN_ATTEMPTS_MAX: usize = 64;

/// How many accounts or items are opened in one write.
const OPEN_BATCH: usize = 256;

/// Puts a built-in participant on a store: `Ledger::on(&store)`.
pub trait OnStore: Resource + Default {
    /// This resource with its default settings, on that store.
    fn on<S: ParticipantStore + Clone>(store: &S) -> OnStoreOf<Self> {
        Self::default().on_shared(Arc::new(store.clone()))
    }

    /// This resource with its own settings, on a store that others use too.
    fn on_shared(self, store: Arc<dyn ParticipantStore>) -> OnStoreOf<Self> {
        OnStoreOf { resource: self, store }
    }
}

impl OnStore for Ledger {}
impl OnStore for Reservations {}
impl OnStore for Locks {}

/// A built-in participant on a store.
#[derive(Clone, Debug)]
pub struct OnStoreOf<R> {
    resource: R,
    store: Arc<dyn ParticipantStore>,
}

/// What could not be opened or audited.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuiltinError {
    /// The name is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The account or the item cannot be named so.
    #[error("{name:?} cannot name an account or an item: {reason}")]
    Scope {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// It was opened with something else, or with too much.
    #[error("{name:?} cannot be opened")]
    Open {
        /// The account or the item.
        name: String,
        /// Why not.
        #[source]
        source: OpenError,
    },
    /// The store failed.
    #[error("the store did not answer")]
    Store(#[from] StoreError),
    /// Others write to the same rows all the time.
    #[error("others write to the same rows all the time; try again")]
    Busy,
}

impl<R: Resource> OnStoreOf<R> {
    /// The participant under this name, to be hosted.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn participant(self, name: impl AsRef<str>) -> Result<Participant, NameError> {
        Ok(Participant::new(name)?.resource(self.resource, self.store))
    }

    /// Counts every row of the participant again, over all of its accounts or items.
    ///
    /// # Errors
    /// [`BuiltinError`].
    pub async fn audit(&self, participant: &str) -> Result<Vec<(Scope, Audit)>, BuiltinError> {
        let participant = ParticipantName::new(participant)?;
        let prefix = format!("{participant}/");
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.store.scopes(&prefix, cursor.as_ref(), PAGE).await?;
            for scope in page.items {
                let audit = self.audit_scope(&scope).await?;
                found.push((scope, audit));
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(found);
            }
        }
    }

    async fn audit_scope(&self, scope: &Scope) -> Result<Audit, BuiltinError> {
        let mut rows: Vec<(RowKey, StoredRow)> = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.store.scan(scope, &[], cursor.as_ref(), PAGE).await?;
            rows.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let read = [ScopeRead { scope: scope.clone(), keys: Vec::new() }];
        let now = self.store.read(&read).await?.pop().map(|rows| rows.now).unwrap_or_default();
        Ok(audit(rows.iter().map(|(key, row)| (key, row)), now))
    }

    async fn open_all(
        &self,
        names: &[(String, u64)],
        read: impl Fn(&str) -> Result<ScopeRead, NotDone>,
        open: impl Fn(&ScopeRead, &ScopeRows, u64) -> Result<Option<RowSet>, OpenError>,
    ) -> Result<(), BuiltinError> {
        for batch in names.chunks(OPEN_BATCH) {
            let mut reads = Vec::with_capacity(batch.len());
            for (name, _) in batch {
                reads.push(read(name).map_err(|reason| BuiltinError::Scope {
                    name: name.clone(),
                    reason: format!("{reason:?}"),
                })?);
            }
            self.open_batch(batch, &reads, &open).await?;
        }
        Ok(())
    }

    async fn open_batch(
        &self,
        batch: &[(String, u64)],
        reads: &[ScopeRead],
        open: impl Fn(&ScopeRead, &ScopeRows, u64) -> Result<Option<RowSet>, OpenError>,
    ) -> Result<(), BuiltinError> {
        for _ in 0..OPEN_ATTEMPTS_MAX {
            // What is open already is told without a write.
            let found = self.store.read_durable(reads).await?;
            let mut sets = Vec::new();
            for (((name, amount), read), rows) in batch.iter().zip(reads).zip(&found) {
                let set = open(read, rows, *amount)
                    .map_err(|source| BuiltinError::Open { name: name.clone(), source })?;
                sets.extend(set);
            }
            let mut is_done = true;
            for result in self.store.write(&sets).await {
                match result {
                    RowWriteResult::Written => {}
                    RowWriteResult::Conflict | RowWriteResult::TooLate => is_done = false,
                    RowWriteResult::Failed(error) if error.retry() != Retry::Never => {
                        is_done = false;
                    }
                    RowWriteResult::Failed(error) => return Err(error.into()),
                }
            }
            if is_done {
                return Ok(());
            }
        }
        Err(BuiltinError::Busy)
    }
}

impl OnStoreOf<Ledger> {
    /// Opens accounts with their balances, in minor units.
    ///
    /// # Errors
    /// [`BuiltinError`]; those that were opened before the error stay open.
    ///
    /// # Idempotency
    /// An account that is open with the same opening balance is left as it is.
    ///
    /// # Cancel safety
    /// Dropping the future leaves some accounts open and the others not.
    pub async fn open_accounts(
        &self,
        participant: &str,
        accounts: &[(String, u64)],
    ) -> Result<(), BuiltinError> {
        let participant = ParticipantName::new(participant)?;
        let read = |account: &str| Ledger::account(&participant, account);
        self.open_all(accounts, read, Ledger::open_account).await
    }
}

impl OnStoreOf<Reservations> {
    /// Opens items with their stock.
    ///
    /// # Errors
    /// [`BuiltinError`]; those that were opened before the error stay open.
    ///
    /// # Idempotency
    /// An item that is open with the same opening stock is left as it is.
    ///
    /// # Cancel safety
    /// Dropping the future leaves some items open and the others not.
    pub async fn open_items(
        &self,
        participant: &str,
        items: &[(String, u64)],
    ) -> Result<(), BuiltinError> {
        let participant = ParticipantName::new(participant)?;
        let read = |item: &str| Reservations::item(&participant, item);
        self.open_all(items, read, Reservations::open_item).await
    }
}
