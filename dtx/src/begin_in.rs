//! Transactions that begin as a part of the caller's own database transaction.

use std::future::Future;

use dtx_core::{ids::TxId, transaction::Transaction};
use dtx_runtime::coordinator::{Dtx, SubmitError};
use dtx_store_postgres::{PgConnection, PgStore};

/// Begins transactions as a part of the caller's own.
///
/// ```no_run
/// use dtx::{PgStore, prelude::*};
/// # async fn order(dtx: Dtx, store: PgStore, checkout: Transaction) -> Result<(), Box<dyn std::error::Error>> {
/// let mut tx = store.pool().begin().await?;
/// sqlx::query("INSERT INTO orders (id) VALUES (1001)").execute(&mut *tx).await?;
/// let id = dtx.begin_in(&mut *tx, checkout).await?;
/// tx.commit().await?;
/// println!("{}", dtx.attach(id).await.outcome().await?);
/// # Ok(())
/// # }
/// ```
pub trait BeginIn {
    /// Begins a transaction in the caller's open transaction, on the store of this coordinator:
    /// it is there when that commits, and never was if it does not. Its owner finds it on its
    /// next look; [`Dtx::attach`] makes this coordinator look at once, and waits for the outcome.
    ///
    /// # Errors
    /// As [`Dtx::begin_over`].
    ///
    /// # Cancel safety
    /// As [`Dtx::begin_over`].
    fn begin_in(
        &self,
        connection: &mut PgConnection,
        transaction: Transaction,
    ) -> impl Future<Output = Result<TxId, SubmitError>> + Send;
}

impl BeginIn for Dtx {
    async fn begin_in(
        &self,
        connection: &mut PgConnection,
        transaction: Transaction,
    ) -> Result<TxId, SubmitError> {
        self.begin_over::<PgStore>(connection, transaction).await
    }
}
