//! Reads at a copy that is new enough, or else at its home.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dtx_core::error::{Effect, ErrorKind, StoreError};
use sqlx::{
    PgConnection, PgPool, Postgres, Row, Transaction,
    postgres::{PgPoolOptions, PgRow},
};
use tokio::{
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::looks::Looks;
use crate::{
    config::PgConfig,
    error::{Failure, NAME, invalid},
    opening::pool_of_primary,
    store::owned,
};

const CONNECT: &str = "connect to a copy";
const READ: &str = "read at a copy";

/// One moment for all statements, and no write.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

const END: &str = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
const REPLAYED: &str = "SELECT pg_is_in_recovery(), \
    coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint, \
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";
const STARTED: &str = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";
const SYSTEM: &str = "SELECT system_identifier FROM pg_control_system()";

/// A copy of a server, a hot standby, that is read as long as it is new enough.
///
/// How old it is follows from looks at the end of the home's log: whatever the home had
/// acknowledged at a look is before that end, so a copy that has come to it is no older than the
/// look. Only the monotonic clock of this process is used; the clocks of the servers do not matter.
///
/// Clones share connections and looks. The looks end with the last one.
///
/// # Failover
/// The address of the home must lead to the server that takes writes. A server that was replaced
/// and still answers there shows itself, as it does to every reader; and what it had not given to
/// its standbys is lost, although a read may have seen it.
#[derive(Clone, Debug)]
pub struct PgCopy {
    inner: Arc<Inner>,
}

struct Inner {
    home: PgPool,
    copy: PgPool,
    call_timeout: Duration,
    looks: Arc<Mutex<Looks>>,
    looking: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgCopy").field("looks", &self.looks).finish_non_exhaustive()
    }
}

/// A read-only transaction that sees one moment. It ends when it is dropped.
#[derive(Debug)]
pub struct CopyRead {
    transaction: Transaction<'static, Postgres>,
    age: Option<Duration>,
}

impl CopyRead {
    /// The connection: `sqlx::query(..).fetch_one(read.connection())`.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// How old it was, at the most, when the read was begun; `None` when it is at the home, which
    /// is never old.
    pub fn age(&self) -> Option<Duration> {
        self.age
    }
}

impl PgCopy {
    /// Connects to a home and to a copy of it, and looks at the home's log every `look_every` from
    /// now on: no read at the copy is younger than that, and one look takes a round trip.
    /// Time-outs and the number of connections are those of each server's settings; the schema is
    /// of no effect.
    ///
    /// # Errors
    /// `Invalid` when `look_every` is zero, the copy takes writes, or it is a copy of another
    /// server; `Unavailable` when one of them cannot be reached, or the home is a standby.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the connections.
    pub async fn connect(
        home: PgConfig,
        copy: PgConfig,
        look_every: Duration,
    ) -> Result<Self, StoreError> {
        if look_every.is_zero() {
            return Err(invalid(
                CONNECT,
                "look_every: it is zero; give how often the home is asked",
            ));
        }
        let call_timeout = home.call_timeout.max(copy.call_timeout);
        let home = pool_of_primary(&home, CONNECT).await?;
        let copy = PgPoolOptions::new()
            .max_connections(copy.connections_max)
            .acquire_timeout(copy.connect_timeout)
            .connect_lazy_with(copy.connect);
        let failed = |failure: Failure| failure.into_error(CONNECT);
        let of_copy = system(&copy, call_timeout).await.map_err(failed)?;
        if of_copy != system(&home, call_timeout).await.map_err(failed)? {
            let context = "copy: it is no copy of the home, whose system_identifier is another one";
            return Err(invalid(CONNECT, context));
        }
        if replayed(&copy, call_timeout).await.map_err(failed)?.is_none() {
            return Err(invalid(CONNECT, "copy: it takes writes; give the address of a standby"));
        }
        let looks = Arc::<Mutex<Looks>>::default();
        let looking = look(home.clone(), looks.clone(), look_every, call_timeout);
        let looking = tokio::spawn(looking).abort_handle();
        Ok(Self { inner: Arc::new(Inner { home, copy, call_timeout, looks, looking }) })
    }

    /// Begins a read that sees all that the home had acknowledged `staleness` ago: at the copy, or,
    /// where that is older, cannot be reached, or has begun to take writes, at the home.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` when the copy is too old and the home cannot be reached: what was
    /// asked for cannot be had now. A retry may succeed.
    ///
    /// # Cancel safety
    /// Dropping the future reads nothing.
    pub async fn read(&self, staleness: Duration) -> Result<CopyRead, StoreError> {
        let why = match self.at_copy(staleness).await {
            Ok(Ok(read)) => return Ok(read),
            Ok(Err(age)) => too_old(age, staleness),
            Err(failure) => failure.into_error(READ).to_string(),
        };
        tracing::debug!(why, "a read goes to the home of its data");
        match begin(&self.inner.home, self.inner.call_timeout).await {
            Ok(transaction) => Ok(CopyRead { transaction, age: None }),
            Err(failure) => {
                let kind = failure.kind;
                let home = failure.into_error(READ);
                let context = format!("{why}; and its home: {home}");
                Err(StoreError::new(kind, NAME, READ).with_context(context))
            }
        }
    }

    /// A read at the copy, or how old that is.
    async fn at_copy(
        &self,
        staleness: Duration,
    ) -> Result<Result<CopyRead, Option<Duration>>, Failure> {
        let (copy, limit) = (&self.inner.copy, self.inner.call_timeout);
        let other = |what| Failure::new(ErrorKind::Unavailable, Effect::None, what);
        // Asked before the read begins: what it sees is later than this.
        let place = replayed(copy, limit).await?;
        let place = place.ok_or_else(|| other("the copy takes writes"))?;
        let is_new = |age: &Duration| *age <= staleness;
        if !self.age(place).as_ref().is_some_and(is_new) {
            return Ok(Err(self.age(place)));
        }
        let mut transaction = begin(copy, limit).await?;
        if started(&mut transaction, limit).await? != place.started {
            return Err(other("the copy was started again, or its address leads to several"));
        }
        let age = self.age(place);
        Ok(match age.filter(is_new) {
            Some(_) => Ok(CopyRead { transaction, age }),
            None => Err(age),
        })
    }

    fn age(&self, place: Place) -> Option<Duration> {
        let looks = self.inner.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.age(place.replayed, Instant::now())
    }
}

fn too_old(age: Option<Duration>, staleness: Duration) -> String {
    let wanted = staleness.as_millis();
    match age {
        Some(age) => {
            format!("the copy is up to {} ms old, and {wanted} are allowed", age.as_millis())
        }
        None => format!("the age of the copy is not known, and {wanted} ms are allowed"),
    }
}

/// Looks again and again. A look that fails is missed, and the copy gets older.
async fn look(home: PgPool, looks: Arc<Mutex<Looks>>, every: Duration, call_timeout: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let at = Instant::now();
        let end = ask(&home, END, call_timeout, |row| row.try_get::<i64, _>(0));
        match end.await {
            Ok(end) => {
                let mut looks = looks.lock().unwrap_or_else(PoisonError::into_inner);
                looks.add(at, end.unsigned_abs());
            }
            Err(failure) => {
                let error = failure.into_error(READ);
                tracing::debug!(%error, "the home of a copy could not be looked at");
            }
        }
    }
}

/// What the one row of an answer says, in time.
async fn ask<T>(
    pool: &PgPool,
    text: &'static str,
    limit: Duration,
    read: impl FnOnce(PgRow) -> Result<T, sqlx::Error>,
) -> Result<T, Failure> {
    let mut connection = pool.acquire().await.map_err(|error| Failure::of_connecting(&error))?;
    match timeout(limit, sqlx::query(text).fetch_one(&mut *connection)).await {
        Ok(row) => row.and_then(read).map_err(|error| Failure::of(&error, Effect::None)),
        Err(_) => {
            // Its answer would be taken for that of the next statement.
            connection.close_on_drop();
            Err(Failure::late(limit, Effect::None))
        }
    }
}

/// Which database cluster a server has.
async fn system(pool: &PgPool, limit: Duration) -> Result<i64, Failure> {
    ask(pool, SYSTEM, limit, |row| row.try_get(0)).await
}

/// How far a copy has come in the log of its home.
#[derive(Clone, Copy, Debug)]
struct Place {
    replayed: u64,
    /// When the server was started: that of another one differs.
    started: i64,
}

/// Where a copy is; `None` when it is no copy.
async fn replayed(copy: &PgPool, limit: Duration) -> Result<Option<Place>, Failure> {
    let read = |row: PgRow| {
        let is_copy: bool = row.try_get(0)?;
        let replayed = row.try_get::<i64, _>(1)?.unsigned_abs();
        Ok(is_copy.then_some(Place { replayed, started: row.try_get(2)? }))
    };
    ask(copy, REPLAYED, limit, read).await
}

/// When the server of a read was started. It is the first statement, so the moment that the read
/// sees is now.
async fn started(
    transaction: &mut Transaction<'static, Postgres>,
    limit: Duration,
) -> Result<i64, Failure> {
    let row = timeout(limit, sqlx::query(STARTED).fetch_one(&mut **transaction)).await;
    let row = row.map_err(|_| Failure::late(limit, Effect::None))?;
    row.and_then(|row| row.try_get(0)).map_err(|error| Failure::of(&error, Effect::None))
}

async fn begin(pool: &PgPool, limit: Duration) -> Result<Transaction<'static, Postgres>, Failure> {
    // To give up in the middle of a begin would spoil the connection.
    let pool = pool.clone();
    let begun = timeout(limit, owned(async move { pool.begin_with(BEGIN).await })).await;
    let begun = begun.map_err(|_| Failure::late(limit, Effect::None))??;
    begun.map_err(|error| Failure::of_connecting(&error))
}
