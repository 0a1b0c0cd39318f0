//! The coordinator as its users see it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dtx_core::{
    error::StoreError,
    ids::TxId,
    modifier::unregistered,
    name::ParticipantName,
    pattern::{Pattern, tables},
    store::{Durability, Filter, JournalEntry, Page, StoreInfo, TxRecord},
    transaction::{Key, Transaction, codec},
    transport::TransportInfo,
};
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    builder::{DtxBuilder, Store},
    error::SubmitError,
    handle::Handle,
    lane::LaneInput,
    lanes::Shared,
    stats::CoordinatorStats,
    stop::{DrainReport, Stopping},
    waiters::{Accepted, Submitter, Waiter},
};
use crate::{
    participant::{Capability, HostHandle, HostStats},
    subscription::ManagedTransport,
};

/// A running coordinator with the participants that it hosts. Cheap to clone; it stops by
/// [`shutdown`](Self::shutdown), or at once when the last clone and the last [`Handle`] are
/// dropped.
#[derive(Clone, Debug)]
pub struct Dtx {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    /// The store as it was given, also for what only its own type can do.
    pub(super) store: Arc<dyn Store>,
    pub(super) transport: Arc<ManagedTransport>,
    pub(super) hosts: tokio::sync::Mutex<Vec<HostHandle>>,
    pub(super) offers: BTreeMap<ParticipantName, Vec<Capability>>,
    pub(super) receiving: CancellationToken,
    pub(super) stopping: Stopping,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.receiving.cancel();
        self.shared.keeping.cancel();
    }
}

/// What a coordinator runs on.
#[derive(Clone, Debug)]
pub struct DtxInfo {
    /// The store.
    pub store: StoreInfo,
    /// The transport.
    pub transport: TransportInfo,
    /// How many shards it owns now.
    pub shards_owned: usize,
    /// Whether it accepts transactions that the store may lose.
    pub allow_volatile: bool,
}

impl Dtx {
    /// Begins to build a coordinator.
    pub fn builder() -> DtxBuilder {
        DtxBuilder::default()
    }

    /// Submits a transaction and waits until its accept is durable. Waits while the coordinator
    /// has `in_flight_max` transactions in memory, those included that it took over from others.
    ///
    /// # Errors
    /// [`SubmitError`]; `effect()` says whether it may have been accepted.
    ///
    /// # Idempotency
    /// With a key, the same transaction submitted again is the same transaction, whatever became
    /// of the first submit.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the transaction accepted; it then goes on by itself.
    pub async fn submit(&self, transaction: Transaction) -> Result<Handle, SubmitError> {
        self.check(&transaction)?;
        let in_flight = self.inner.shared.in_flight.clone();
        let permit = in_flight.acquire_owned().await.map_err(|_| SubmitError::Closed)?;
        self.accept(transaction, permit).await
    }

    /// [`submit`](Self::submit), but `Overloaded` instead of waiting for room.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn try_submit(&self, transaction: Transaction) -> Result<Handle, SubmitError> {
        self.check(&transaction)?;
        let in_flight = self.inner.shared.in_flight.clone();
        let permit = in_flight.try_acquire_owned().map_err(|error| match error {
            TryAcquireError::Closed => SubmitError::Closed,
            TryAcquireError::NoPermits => SubmitError::Overloaded,
        })?;
        self.accept(transaction, permit).await
    }

    pub(super) fn check(&self, transaction: &Transaction) -> Result<(), SubmitError> {
        if self.inner.is_stopped() {
            return Err(SubmitError::Closed);
        }
        let settings = &self.inner.shared.settings;
        let info = self.inner.shared.store.info();
        let durable = info.capabilities.durability >= Durability::PowerLoss;
        let pattern = transaction.pattern();
        if !durable && !settings.allow_volatile && pattern != Pattern::FireAndForget {
            return Err(SubmitError::Volatile { store: info.name, pattern });
        }
        if let Some(modifiers) = transaction.modifiers()
            && let Some(name) =
                unregistered(modifiers, &settings.engine.strategies, &settings.engine.conditions)
        {
            return Err(SubmitError::Unregistered(name.clone()));
        }
        self.check_offers(transaction)
    }

    /// A phase that a hosted participant does not offer is found here, and not half-way.
    fn check_offers(&self, transaction: &Transaction) -> Result<(), SubmitError> {
        for operation in transaction.operations() {
            let Some(offers) = self.inner.offers.get(operation.participant()) else { continue };
            for phase in tables::phases_of(transaction, operation) {
                let offered = offers.iter().any(|offer| {
                    offer.action == *operation.action()
                        && offer.version == operation.action_version()
                        && offer.offers(transaction.pattern(), phase)
                });
                if !offered {
                    return Err(SubmitError::Unsupported {
                        operation: operation.name().clone(),
                        participant: operation.participant().clone(),
                        action: operation.action().clone(),
                        version: operation.action_version(),
                        phase,
                    });
                }
            }
        }
        Ok(())
    }

    async fn accept(
        &self,
        transaction: Transaction,
        permit: OwnedSemaphorePermit,
    ) -> Result<Handle, SubmitError> {
        let tx = self.inner.shared.new_id().ok_or(SubmitError::NoShard)?;
        let transaction = Arc::new(transaction);
        let (accepted, is_accepted) = oneshot::channel();
        let (outcome, told) = oneshot::channel();
        let submitter = Submitter { accepted, outcome, permit };
        let shard = tx.shard(self.inner.shared.store.info().shards);
        let definition = transaction.key().is_some().then(|| transaction.clone());
        self.inner.shared.send(shard, LaneInput::Submit { tx, transaction, submitter }).await;
        match is_accepted.await {
            Ok(Accepted::Yes) => {
                let inner = self.inner.clone();
                Ok(Handle::new(tx, inner, true, Some(told)))
            }
            Ok(Accepted::DuplicateKey(existing)) => self.same_key(existing, definition).await,
            Ok(Accepted::NotOwned) => Err(SubmitError::NoShard),
            Ok(Accepted::Failed(error)) => Err(SubmitError::Store(error)),
            Err(_) if self.inner.is_stopped() => Err(SubmitError::Closed),
            Err(_) => Err(SubmitError::Lost(tx)),
        }
    }

    async fn same_key(
        &self,
        existing: TxId,
        definition: Option<Arc<Transaction>>,
    ) -> Result<Handle, SubmitError> {
        self.check_same(existing, definition.as_deref()).await?;
        Ok(self.inner.attach(existing, false).await)
    }

    /// The key is known: the same definition is the same transaction.
    pub(super) async fn check_same(
        &self,
        existing: TxId,
        definition: Option<&Transaction>,
    ) -> Result<(), SubmitError> {
        let records = self.inner.shared.store.load(&[existing]).await;
        let record = records.map_err(SubmitError::Store)?.pop().flatten();
        let same = match (&record, definition) {
            (Some(record), Some(definition)) => record.definition == codec::encode(definition),
            // The transaction is purged and only its key is left: it cannot be compared.
            (None, _) => true,
            (Some(_), None) => false,
        };
        if !same {
            return Err(SubmitError::KeyConflict(existing));
        }
        Ok(())
    }

    /// A handle on a transaction that was accepted before, here or elsewhere.
    pub async fn attach(&self, tx: TxId) -> Handle {
        // It may have been accepted a moment ago by somebody who owns no shard.
        self.inner.shared.look.notify_one();
        self.inner.attach(tx, false).await
    }

    /// Transactions of the store, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        self.inner.store.list(filter).await
    }

    /// The record of a transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, tx: TxId) -> Result<Option<TxRecord>, StoreError> {
        Ok(self.inner.shared.store.load(&[tx]).await?.pop().flatten())
    }

    /// The transaction of a caller's key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        self.inner.store.by_key(key).await
    }

    /// What is recorded of a transaction. Of an open one, what is not written yet is missing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        self.inner.store.history(tx).await
    }

    /// Counts since the start.
    pub fn stats(&self) -> CoordinatorStats {
        self.inner.shared.counters.snapshot()
    }

    /// Counts of the hosted participants since the start.
    pub async fn host_stats(&self) -> Vec<(ParticipantName, HostStats)> {
        let hosts = self.inner.hosts.lock().await;
        hosts.iter().map(|host| (host.participant().clone(), host.stats())).collect()
    }

    /// What it runs on.
    pub fn info(&self) -> DtxInfo {
        let shared = &self.inner.shared;
        DtxInfo {
            store: shared.store.info().clone(),
            transport: shared.transport.info().clone(),
            shards_owned: shared.owned().len(),
            allow_volatile: shared.settings.allow_volatile,
        }
    }

    /// Waits until nothing is open: every transaction has ended and its end is durable.
    pub async fn drain(&self) {
        self.inner.shared.drain().await;
    }

    /// Accepts nothing more, waits up to `grace` for what is open, then writes what is left,
    /// stops the hosts, and gives the shards back. What is still open goes on at the next owner.
    /// A further call waits for the same end and gives the same report.
    ///
    /// # Cancel safety
    /// Once it is polled, the shutdown goes on to its end, whether or not the future is dropped.
    pub async fn shutdown(&self, grace: Duration) -> DrainReport {
        self.inner.shutdown(grace).await
    }
}

impl Inner {
    /// Whether a shutdown has begun.
    pub(super) fn is_stopped(&self) -> bool {
        self.shared.in_flight.is_closed()
    }

    async fn attach(self: &Arc<Self>, tx: TxId, is_new: bool) -> Handle {
        let (outcome, told) = oneshot::channel();
        let waiter = Waiter { outcome: Some(outcome), ..Waiter::default() };
        let shard = tx.shard(self.shared.store.info().shards);
        self.shared.send(shard, LaneInput::Attach { tx, waiter }).await;
        Handle::new(tx, self.clone(), is_new, Some(told))
    }
}
