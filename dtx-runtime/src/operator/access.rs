//! The handle of an operator.

use std::sync::Arc;

use dtx_core::{
    engine::{EngineSettings, Move, Signal, legal_moves},
    ids::{HolderId, TxId, WriteId},
    resource::reversals,
    store::{Catalog, ParticipantStore, StateStore, TxRecord},
    transaction::Reversals,
};

use crate::coordinator::SignalError;

/// An operator at a store. Needs no coordinator in this process: whatever it does is a record of
/// the store, which the owner of the transaction finds on its next look. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Operator {
    pub(super) store: Arc<dyn StateStore>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) rows: Arc<dyn ParticipantStore>,
    pub(super) settings: Arc<EngineSettings>,
    pub(super) reversals: Arc<Reversals>,
}

impl Operator {
    /// An operator at this store, with the default bounds and the reversals of the built-in
    /// participants.
    pub fn on<S: StateStore + Catalog + ParticipantStore>(store: S) -> Self {
        let store = Arc::new(store);
        Self::at(store.clone(), store.clone(), store, Arc::default(), Arc::new(reversals()))
    }

    pub(crate) fn at(
        store: Arc<dyn StateStore>,
        catalog: Arc<dyn Catalog>,
        rows: Arc<dyn ParticipantStore>,
        settings: Arc<EngineSettings>,
        reversals: Arc<Reversals>,
    ) -> Self {
        Self { store, catalog, rows, settings, reversals }
    }

    /// With reversals of one's own.
    #[must_use]
    pub fn reversals(mut self, reversals: Reversals) -> Self {
        self.reversals = Arc::new(reversals);
        self
    }

    /// The moves that a transaction takes now, and what each would do. Its owner may go on in the
    /// meantime, and then refuses what does not fit any more.
    ///
    /// # Errors
    /// `Unknown`, `Invalid` when its record is quarantined, or the failure of the store.
    pub async fn moves(&self, tx: TxId) -> Result<Vec<Move>, SignalError> {
        let record = self.record(tx).await?;
        legal_moves(&record).map_err(|_| SignalError::Invalid("its record cannot be read"))
    }

    /// Gives a signal. Durable when it returns; an operator's move needs a reason.
    ///
    /// # Errors
    /// [`SignalError`]; what is not among the [`moves`](Self::moves) is refused.
    ///
    /// # Idempotency
    /// Of contradictory signals the first durable one stands; the same one again is no error.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the signal given.
    pub async fn signal(
        &self,
        tx: TxId,
        signal: Signal,
        by: &str,
        reason: &str,
    ) -> Result<(), SignalError> {
        self.give(tx, signal, by, reason).await
    }

    /// The rows of the store.
    pub(crate) fn rows(&self) -> &dyn ParticipantStore {
        self.rows.as_ref()
    }

    pub(super) async fn record(&self, tx: TxId) -> Result<TxRecord, SignalError> {
        let records = self.store.load(&[tx]).await.map_err(SignalError::Store)?;
        records.into_iter().next().flatten().ok_or(SignalError::Unknown(tx))
    }
}

/// An id for a write that is made without a lease.
pub(crate) fn fresh_write_id() -> WriteId {
    WriteId { writer: HolderId(uuid::Uuid::new_v4().as_u128()), number: 0 }
}
