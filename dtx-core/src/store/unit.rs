//! The unit of work: a database transaction in which a handler's effect and the participant's
//! memory of it become durable together.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::StoreError,
    store::{ParticipantStore, RowKey, RowWriteResult, Scope, StoredRow},
    time::Timestamp,
};

/// Where the effects of a handler live.
///
/// A store that can hold the inbox next to the user's own tables has a unit of its own, whose
/// `Tx` is that store's database transaction. A phase that is written for one unit cannot be
/// given to a participant of another one: that does not compile.
pub trait Unit: Debug + Send + Sync + 'static {
    /// An open transaction. Dropping it undoes it.
    type Open: Send + 'static;
    /// The handle to the open transaction; `'a` is the call of the handler.
    type Tx<'a>: Send;

    /// Lends the transaction to a handler.
    fn tx(open: &mut Self::Open) -> Self::Tx<'_>;
}

/// The effect lies outside the inbox: a remote service, a file, another database.
///
/// The promise is then **at least once**: when the host ends between the effect and the stored
/// answer, the handler runs again with the same idempotency key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detached;

impl Unit for Detached {
    type Open = ();
    type Tx<'a> = ();

    fn tx(_: &mut ()) {}
}

/// A transaction that has begun, and whose first statement claimed an inbox row.
#[derive(Debug)]
pub struct Opened<O> {
    /// The transaction.
    pub open: O,
    /// The row as it is stored.
    pub row: Option<StoredRow>,
    /// The mark of the shard as it is stored.
    pub mark: Option<StoredRow>,
    /// The store's clock.
    pub now: Timestamp,
}

/// What came of a wish to begin.
#[derive(Debug)]
pub enum Begun<O> {
    /// Nobody else has the row until the transaction ends.
    Open(Opened<O>),
    /// Another transaction has the row, here or in another process. Nothing was begun.
    Busy,
}

/// A store whose rows live in the same database as what handlers change.
///
/// # Cancel safety
/// Dropping a `begin` begins nothing. Dropping a `commit` may leave it applied; beginning again
/// shows whether it was.
#[async_trait]
pub trait UnitStore: ParticipantStore {
    /// Its transactions.
    type Unit: Unit;

    /// Begins a transaction whose first statement claims the row `key` and reads it and `mark`.
    /// The claim ends with the transaction, also when the process or the connection dies.
    async fn begin(
        &self,
        scope: &Scope,
        key: &RowKey,
        mark: &RowKey,
    ) -> Result<Begun<<Self::Unit as Unit>::Open>, StoreError>;

    /// Undoes all that was done since `begin`; the claim stays.
    async fn undo(&self, open: &mut <Self::Unit as Unit>::Open) -> Result<(), StoreError>;

    /// Writes the claimed row and makes it durable together with all that was done. When it
    /// fails, `effect()` says whether it may have been applied.
    async fn commit(&self, open: <Self::Unit as Unit>::Open, value: Bytes) -> RowWriteResult;

    /// Undoes all, and ends the claim.
    async fn roll_back(&self, open: <Self::Unit as Unit>::Open);

    /// The same, and answers once what was read in the transaction is as durable as what was
    /// committed: for whoever tells it. By itself at once, as
    /// [`read_durable`](ParticipantStore::read_durable) is.
    async fn roll_back_durable(&self, open: <Self::Unit as Unit>::Open) -> Result<(), StoreError> {
        self.roll_back(open).await;
        Ok(())
    }
}
