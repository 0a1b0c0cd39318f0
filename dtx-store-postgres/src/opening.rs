//! Opening: what the server is, and whether the tables are complete.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    ids::ShardCount,
    store::{Durability, StoreCapabilities, StoreInfo},
};
use sqlx::{PgConnection, PgPool, Row, postgres::PgPoolOptions};
use tokio::sync::Semaphore;

use crate::{
    config::PgConfig,
    error::{Failure, NAME, corrupt, invalid},
    hints::Notices,
    migration, partitions,
    statements::Statements,
    store::{Inner, PgStore},
};

/// How many commits run side by side.
const LANES: usize = 4;

const OPERATION: &str = "open";

/// What was read of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// Its version, such as `15.18`.
    pub version: String,
    /// `synchronous_commit` of this session.
    pub synchronous_commit: String,
    /// Whether `fsync` is on.
    pub fsync: bool,
    /// Whether `full_page_writes` is on.
    pub full_page_writes: bool,
    /// Whether it is a standby.
    pub standby: bool,
    /// Whether `synchronous_standby_names` names any.
    pub waits_for_standbys: bool,
    /// How many standbys were connected that nobody waits for; 0 when we may not see them.
    pub asynchronous_standbys: i64,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: i64,
}

#[cfg(test)]
impl ServerReport {
    /// A server whose settings are as they should be.
    pub(crate) fn sample() -> Self {
        Self {
            version: "15".into(),
            synchronous_commit: "on".into(),
            fsync: true,
            full_page_writes: true,
            standby: false,
            waits_for_standbys: false,
            asynchronous_standbys: 0,
            max_prepared_transactions: 0,
        }
    }
}

impl ServerReport {
    async fn read(connection: &mut PgConnection) -> Result<Self, StoreError> {
        let read = sqlx::query(
            "SELECT current_setting('server_version'), current_setting('synchronous_commit'), \
             current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on', \
             pg_is_in_recovery(), current_setting('synchronous_standby_names') <> '', \
             (SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'async'), \
             current_setting('max_prepared_transactions')::bigint",
        );
        let row = read.fetch_one(connection).await;
        let report = row.and_then(|row| {
            Ok(Self {
                version: row.try_get(0)?,
                synchronous_commit: row.try_get(1)?,
                fsync: row.try_get(2)?,
                full_page_writes: row.try_get(3)?,
                standby: row.try_get(4)?,
                waits_for_standbys: row.try_get(5)?,
                asynchronous_standbys: row.try_get(6)?,
                max_prepared_transactions: row.try_get(7)?,
            })
        });
        report.map_err(|error| Failure::of(&error, Effect::None).into_error(OPERATION))
    }

    /// What an acknowledged write survives on this server.
    pub fn durability(&self) -> Durability {
        if self.synchronous_commit == "off" {
            // The log is written later, by another process: it may die before.
            Durability::Nothing
        } else if self.fsync && self.full_page_writes {
            Durability::PowerLoss
        } else {
            Durability::ProcessCrash
        }
    }

    /// What is right and what is wrong with its settings, the most important first.
    pub fn findings(&self) -> Vec<Finding> {
        let on_off = |on: bool| if on { "on" } else { "off" };
        let commit = self.synchronous_commit.as_str();
        let local = self.waits_for_standbys && matches!(commit, "local" | "remote_write");
        let promoted = self.asynchronous_standbys > 0 && !self.waits_for_standbys;
        vec![
            Finding {
                is_right: commit != "off" && !local,
                says: format!("synchronous_commit is {commit}"),
                means: if local {
                    "a standby that is promoted may lack acknowledged writes"
                } else {
                    "acknowledged writes are lost when the server crashes"
                },
                fix: "set synchronous_commit to on",
            },
            Finding {
                is_right: self.fsync,
                says: format!("fsync is {}", on_off(self.fsync)),
                means: "acknowledged writes, and all data, may be lost with the power",
                fix: "set fsync to on",
            },
            Finding {
                is_right: self.full_page_writes,
                says: format!("full_page_writes is {}", on_off(self.full_page_writes)),
                means: "a loss of power may damage pages",
                fix: "set full_page_writes to on",
            },
            Finding {
                is_right: !promoted,
                says: match self.waits_for_standbys {
                    true => "synchronous_standby_names is set".to_owned(),
                    false => format!(
                        "synchronous_standby_names is empty; {} standbys are asynchronous",
                        self.asynchronous_standbys
                    ),
                },
                means: "one that is promoted lacks acknowledged writes, verdicts among them",
                fix: "name them in synchronous_standby_names, or never promote one",
            },
        ]
    }

    /// What of its settings weakens a promise, each with what to do about it.
    pub fn warnings(&self) -> Vec<String> {
        let wrong = self.findings().into_iter().filter(|finding| !finding.is_right);
        wrong.map(|found| format!("{}: {}; {}", found.says, found.means, found.fix)).collect()
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is as it should be.
    pub is_right: bool,
    /// How it is.
    pub says: String,
    /// What comes of it when it is wrong.
    pub means: &'static str,
    /// What to do about it when it is wrong.
    pub fix: &'static str,
}

/// Connections to a primary. The address may lead to a standby later on, which may not know of a
/// verdict yet, so every new connection is asked.
fn pool(config: &PgConfig) -> PgPool {
    PgPoolOptions::new()
        .max_connections(config.connections_max)
        .acquire_timeout(config.connect_timeout)
        .after_connect(|connection, _| {
            Box::pin(async move {
                match is_standby(connection).await? {
                    true => Err(sqlx::Error::Configuration(STANDBY.into())),
                    false => Ok(()),
                }
            })
        })
        .connect_lazy_with(config.connect.clone())
}

async fn is_standby(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await
}

const STANDBY: &str = "the server is a standby, which may not know of a verdict yet; give the \
    address of the primary";

fn refuse_standby(standby: bool, operation: &'static str) -> Result<(), StoreError> {
    match standby {
        true => Err(StoreError::new(ErrorKind::Unavailable, NAME, operation).with_context(STANDBY)),
        false => Ok(()),
    }
}

/// The pool of a server that takes writes. It would try until its time is over; a first connection
/// says at once, and exactly, what is wrong.
pub(crate) async fn pool_of_primary(
    config: &PgConfig,
    operation: &'static str,
) -> Result<PgPool, StoreError> {
    use sqlx::Connection;
    let first = async {
        let mut first = PgConnection::connect_with(&config.connect).await?;
        let standby = is_standby(&mut first).await?;
        // The server sees it go when it is dropped; that it was told so changes nothing here.
        let _ = first.close().await;
        Ok(standby)
    };
    let first = tokio::time::timeout(config.connect_timeout, first).await;
    let first = first.map_err(|_| Failure::late(config.connect_timeout, Effect::None));
    let first = first.and_then(|made| made.map_err(|error| Failure::of_connecting(&error)));
    refuse_standby(first.map_err(|failure| failure.into_error(operation))?, operation)?;
    Ok(pool(config))
}

pub(crate) async fn connect(config: PgConfig) -> Result<PgStore, StoreError> {
    open(pool_of_primary(&config, OPERATION).await?, config).await
}

pub(crate) async fn open(pool: PgPool, config: PgConfig) -> Result<PgStore, StoreError> {
    let mut connection = pool
        .acquire()
        .await
        .map_err(|error| Failure::of_connecting(&error).into_error(OPERATION))?;
    let report = ServerReport::read(&mut connection).await?;
    refuse_standby(report.standby, OPERATION)?;
    for warning in report.warnings() {
        tracing::warn!(store = NAME, "{warning}");
    }
    if config.migrate {
        migration::apply(&mut connection, &config.schema).await?;
    } else {
        migration::check(&mut connection, &config.schema).await?;
    }
    let sql = Statements::new(&config.schema);
    let shards = shards(&mut connection, &sql, config.shards).await?;
    drop(connection);
    let info = StoreInfo {
        name: NAME,
        capabilities: StoreCapabilities { durability: report.durability(), shared: true },
        limits: config.limits,
        lanes: LANES,
        shards,
        opening: None,
    };
    // Handlers keep connections: the store's own calls must not wait for them alone.
    let half = pool.options().get_max_connections() / 2;
    let units = config.units_max.unwrap_or(half).max(1);
    let units = usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS);
    let mut inner = Inner {
        pool,
        info,
        schema: config.schema,
        report,
        sql,
        units: Arc::new(Semaphore::new(units)),
        call_timeout: config.call_timeout.max(Duration::from_millis(1)),
        latest: AtomicU64::new(0),
        upkeep: None,
        hints: Notices::default(),
    };
    partitions::add_days(&inner).await?;
    let upkeep = |weak: &std::sync::Weak<Inner>| partitions::keep(weak.clone());
    let inner = Arc::new_cyclic(|weak| {
        inner.upkeep = Some(tokio::spawn(upkeep(weak)).abort_handle());
        inner
    });
    Ok(PgStore { inner })
}

/// The number of shards of the store, which is made now if it is new.
async fn shards(
    connection: &mut PgConnection,
    sql: &Statements,
    wanted: Option<ShardCount>,
) -> Result<ShardCount, StoreError> {
    let failed = |error: &sqlx::Error| Failure::of(error, Effect::Unknown).into_error(OPERATION);
    let new = wanted.unwrap_or(ShardCount::DEFAULT);
    let make = sql.make.query().bind(i32::from(new.get()));
    make.execute(&mut *connection).await.map_err(|error| failed(&error))?;
    let leases = sql.make_leases.query().execute(&mut *connection).await;
    leases.map_err(|error| failed(&error))?;
    let row = sql.shards.query().fetch_one(&mut *connection).await;
    let stored: i32 = row.and_then(|row| row.try_get(0)).map_err(|error| failed(&error))?;
    let stored = u16::try_from(stored).ok().and_then(ShardCount::new);
    let stored = stored.ok_or_else(|| corrupt(OPERATION, "the number of shards is not one"))?;
    if wanted.is_some_and(|wanted| wanted != stored) {
        let context = format!("shards: the store has {}, and they are fixed", stored.get());
        return Err(invalid(OPERATION, context));
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe() -> ServerReport {
        ServerReport::sample()
    }

    #[test]
    fn every_weakness_lowers_the_durability_or_is_warned_of() {
        assert_eq!(safe().durability(), Durability::PowerLoss);
        assert!(safe().warnings().is_empty());
        let off = ServerReport { synchronous_commit: "off".into(), ..safe() };
        assert_eq!(off.durability(), Durability::Nothing);
        for weak in [
            ServerReport { fsync: false, ..safe() },
            ServerReport { full_page_writes: false, ..safe() },
        ] {
            assert_eq!(weak.durability(), Durability::ProcessCrash);
            assert_eq!(weak.warnings().len(), 1);
        }
        let promoted = ServerReport { asynchronous_standbys: 2, ..safe() };
        assert!(promoted.warnings()[0].contains("never promote"));
        let local = ServerReport { synchronous_commit: "local".into(), ..safe() };
        assert!(local.warnings().is_empty(), "there is no standby");
        let local = ServerReport { waits_for_standbys: true, ..local };
        assert_eq!(local.warnings().len(), 1);
        assert_eq!(local.durability(), Durability::PowerLoss);
    }
}
