//! Writes over a connection of the caller's, in the caller's own transaction.

use async_trait::async_trait;
use dtx_core::{
    error::{Effect, StoreError},
    ids::TxId,
    store::{CallerStore, CommitResult, TxWrite},
};
use sqlx::{Connection, PgConnection};

use crate::{
    batch, codec,
    error::{Failure, invalid},
    store::PgStore,
};

/// The longest name of what is done once, in bytes.
pub const ONCE_BYTES_MAX: usize = 256;

/// An error when the caller's connection has no open transaction: what is written over it would
/// be there at once, whatever became of the rest.
pub(crate) fn check_open(
    connection: &PgConnection,
    operation: &'static str,
) -> Result<(), StoreError> {
    if connection.is_in_transaction() {
        return Ok(());
    }
    Err(invalid(operation, "the connection has no open transaction; give one that was begun"))
}

#[async_trait]
impl CallerStore for PgStore {
    type Connection = PgConnection;

    async fn accept_over(&self, connection: &mut PgConnection, write: TxWrite) -> CommitResult {
        if let Err(error) = check_open(connection, "begin_in") {
            return CommitResult::Failed(error);
        }
        batch::commit_over(&self.inner, connection, &write).await
    }
}

/// Whether something was done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// It was not: do it in the same transaction.
    First,
    /// It was, by a transaction that has committed.
    Repeated,
}

/// The memory of what was done once, for consumers that no host of dtx serves.
///
/// ```no_run
/// # use dtx_core::ids::TxId;
/// # use dtx_store_postgres::{Once, PgInbox, PgStore};
/// # async fn handle(store: PgStore, tx_id: TxId) -> Result<(), Box<dyn std::error::Error>> {
/// let inbox = PgInbox::on(&store);
/// let mut tx = store.pool().begin().await?;
/// if inbox.once(&mut *tx, tx_id, "pay").await? == Once::First {
///     sqlx::query("UPDATE account SET cents = cents - 1").execute(&mut *tx).await?;
/// }
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PgInbox {
    store: PgStore,
}

impl PgInbox {
    /// The memory in this store's schema.
    pub fn on(store: &PgStore) -> Self {
        Self { store: store.clone() }
    }

    /// Notes, in the caller's open transaction, that this is done of a transaction or a message,
    /// and says whether it was done before. Whoever asks for the same meanwhile waits until that
    /// transaction has ended. Commit also after [`Once::Repeated`], before anybody is told: only
    /// then the standbys that the server waits for are known to have what was done.
    ///
    /// # Errors
    /// `Invalid` when no transaction is open, or the name is empty or over [`ONCE_BYTES_MAX`]; or
    /// the failure of the server, after which the transaction cannot commit.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the caller's transaction in an unknown state: roll it back.
    pub async fn once(
        &self,
        connection: &mut PgConnection,
        tx: TxId,
        operation: &str,
    ) -> Result<Once, StoreError> {
        const OPERATION: &str = "once";
        check_open(connection, OPERATION)?;
        if operation.is_empty() || operation.len() > ONCE_BYTES_MAX || operation.contains('\0') {
            let context = format!("operation: give 1 to {ONCE_BYTES_MAX} bytes without a zero");
            return Err(invalid(OPERATION, context));
        }
        let query = self.store.inner.sql.once.query().bind(codec::id(tx));
        let failed = |error| Failure::of(&error, Effect::None).into_error(OPERATION);
        let done = query.bind(operation.to_owned()).execute(&mut *connection).await;
        if done.map_err(failed)?.rows_affected() == 1 {
            return Ok(Once::First);
        }
        // The commit of the caller, who changes nothing then, waits for the one that did it.
        let confirm = self.store.inner.sql.confirm.query().execute(connection).await;
        confirm.map(|_| Once::Repeated).map_err(failed)
    }

    /// Forgets up to `limit` entries that are older than this, and says how many. What is
    /// forgotten would be done again: keep them longer than anything may be repeated.
    ///
    /// # Errors
    /// The failure of the server.
    pub async fn forget(
        &self,
        older_than: std::time::Duration,
        limit: u64,
    ) -> Result<u64, StoreError> {
        let micros = i64::try_from(older_than.as_micros()).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = self.store.inner.sql.forget_once.query().bind(micros).bind(limit);
        let rows = self.store.inner.fetch(query, Effect::Unknown).await;
        let rows = rows.map_err(|failure| failure.into_error("forget"))?;
        Ok(rows.len() as u64)
    }
}
