//! The store: a pool, and what is known of the server.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dtx_core::{
    error::{Effect, StoreError},
    store::StoreInfo,
    time::Timestamp,
};
use sqlx::{
    PgPool, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tokio::{sync::Semaphore, task::AbortHandle};

use crate::{
    codec,
    config::PgConfig,
    error::{Failure, NAME},
    hints::Notices,
    migration::{self, Migration},
    opening::{self, ServerReport},
    schema::SchemaName,
    statements::Statements,
};

/// A store on PostgreSQL. Clones share the pool.
#[derive(Clone)]
pub struct PgStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) pool: PgPool,
    pub(crate) info: StoreInfo,
    pub(crate) schema: SchemaName,
    pub(crate) report: ServerReport,
    pub(crate) sql: Statements,
    pub(crate) call_timeout: Duration,
    /// How many transactions of handlers may be open.
    pub(crate) units: Arc<Semaphore>,
    /// The latest time that this process has seen: the server's clock may be set back.
    pub(crate) latest: AtomicU64,
    pub(crate) upkeep: Option<AbortHandle>,
    pub(crate) hints: Notices,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(upkeep) = self.upkeep.take() {
            upkeep.abort();
        }
    }
}

impl fmt::Debug for PgStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgStore")
            .field("info", &self.inner.info)
            .field("schema", &self.inner.schema)
            .finish_non_exhaustive()
    }
}

impl PgStore {
    /// Connects to the server and opens the store; makes or completes its tables unless the
    /// settings say otherwise. Says in the log what of the server's settings weakens it.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached, its certificate is not trusted, or it is
    /// a standby; `Invalid` when it refuses the user, when the tables are not complete or cannot
    /// be made, and for another number of shards than the store has; `Unsupported` when the
    /// tables are of a newer release.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the connections. Steps of the tables are whole or not there.
    pub async fn connect(config: PgConfig) -> Result<Self, StoreError> {
        opening::connect(config).await
    }

    /// Opens the store on a pool of the caller's. The settings of connections are the pool's own:
    /// it must never lead to a standby, which is looked at only now.
    ///
    /// # Errors
    /// As [`Self::connect`].
    ///
    /// # Cancel safety
    /// As [`Self::connect`].
    pub async fn from_pool(pool: PgPool, config: PgConfig) -> Result<Self, StoreError> {
        opening::open(pool, config).await
    }

    /// Makes or completes the tables and says which steps were applied.
    ///
    /// # Errors
    /// As [`Self::connect`].
    ///
    /// # Cancel safety
    /// Steps are whole or not there.
    pub async fn migrate(config: PgConfig) -> Result<Vec<Migration>, StoreError> {
        let pool = opening::pool_of_primary(&config, "migrate").await?;
        let mut connection = pool
            .acquire()
            .await
            .map_err(|error| Failure::of_connecting(&error).into_error("migrate"))?;
        let applied = migration::apply(&mut connection, &config.schema).await;
        drop(connection);
        pool.close().await;
        applied
    }

    /// The pool, for the caller's own statements beside the store.
    pub fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    /// The schema that has the tables.
    pub fn schema(&self) -> &SchemaName {
        &self.inner.schema
    }

    /// What was read of the server when the store was opened.
    pub fn report(&self) -> &ServerReport {
        &self.inner.report
    }

    /// Closes the pool: calls that are under way end, later ones fail as `Closed`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the pool closing.
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }
}

/// The rows that a statement answered with.
pub(crate) type Rows = Result<Vec<PgRow>, Failure>;

impl Inner {
    /// Sends one statement. `effect`: what it may have done when its answer is lost.
    pub(crate) async fn fetch(
        &self,
        query: Query<'_, Postgres, PgArguments>,
        effect: Effect,
    ) -> Rows {
        let mut connection =
            self.pool.acquire().await.map_err(|error| Failure::of_connecting(&error))?;
        let answer = tokio::time::timeout(self.call_timeout, query.fetch_all(&mut *connection));
        match answer.await {
            Ok(answer) => answer.map_err(|error| Failure::of(&error, effect)),
            Err(_) => {
                // Its answer would be taken for that of the next statement's.
                connection.close_on_drop();
                Err(Failure::late(self.call_timeout, effect))
            }
        }
    }

    /// Reads.
    pub(crate) async fn read(
        &self,
        operation: &'static str,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        self.fetch(query, Effect::None).await.map_err(|failure| failure.into_error(operation))
    }

    /// The time of a row, which is never before what was seen before.
    pub(crate) fn seen(&self, micros: i64) -> Timestamp {
        let now = codec::read_time(micros).as_micros();
        let earlier = self.latest.fetch_max(now, Ordering::AcqRel);
        Timestamp::from_micros(now.max(earlier))
    }
}

/// A column that the store's own statement must have.
pub(crate) fn column<'r, T>(
    row: &'r PgRow,
    index: usize,
    operation: &'static str,
) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
{
    use sqlx::Row;
    row.try_get(index).map_err(|error| Failure::of(&error, Effect::None).into_error(operation))
}

/// Runs what writes in a task of its own, so that a caller who is dropped does not stop it half
/// way. The error is that of a task that has panicked.
pub(crate) async fn owned<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Failure> {
    tokio::spawn(work).await.map_err(|error| {
        let context = format!("a call of {NAME} ended early: {error}");
        Failure::new(dtx_core::error::ErrorKind::Internal, Effect::Unknown, context)
    })
}
