//! The store of a region: a file, a schema of PostgreSQL, or a prefix of Redis.

use std::{env, path::Path, path::PathBuf, sync::Arc};

use dtx_runtime::coordinator::Store;
use dtx_store_postgres::{PgConfig, PgStore};
use dtx_store_redb::RedbStore;
use dtx_store_redis::RedisStore;
use dtx_testkit::{
    servers::{Postgres, Redis, Service},
    store::fresh_name,
};
use redis::Commands;
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

/// Where the rows of a region are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Place {
    Redb(PathBuf),
    Postgres { url: String, schema: String },
    Redis { url: String, prefix: String },
}

/// The URL of a server that tests share.
fn url(service: &dyn Service) -> String {
    let (variable, name) = (service.variable(), service.name());
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec {name} -- COMMAND sets it")
    })
}

/// The URL with one more setting.
fn with(url: &str, setting: &str, value: &str) -> String {
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}{setting}={value}")
}

impl Place {
    /// A new place: the second region is on PostgreSQL and the third one on Redis, where the tests
    /// have the feature for it, and the others are in files.
    pub(crate) fn of(region: usize, folder: &Path) -> Self {
        match region {
            1 if cfg!(feature = "test-postgres") => {
                Self::Postgres { url: url(&Postgres), schema: fresh_name() }
            }
            2 if cfg!(feature = "test-redis") => {
                Self::Redis { url: url(&Redis), prefix: fresh_name() }
            }
            _ => Self::Redb(folder.join(format!("{region}.redb"))),
        }
    }

    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Redb(path) => Arc::new(RedbStore::open(path).await.expect("it opens")),
            Self::Postgres { url, schema } => {
                let config = PgConfig::from_url(&with(url, "schema", schema)).expect("valid");
                let store = PgStore::connect(config.connections_max(4)).await;
                Arc::new(store.expect("it opens"))
            }
            Self::Redis { url, prefix } => {
                let store = RedisStore::connect(&with(url, "prefix", prefix)).await;
                Arc::new(store.expect("it opens"))
            }
        }
    }

    /// Removes what is in a server that others use too.
    pub(crate) async fn remove(&self) {
        match self {
            Self::Redb(_) => {}
            Self::Postgres { url, schema } => {
                let pool = sqlx::PgPool::connect(url).await.expect("the server is there");
                let drop = format!("DROP SCHEMA {schema} CASCADE");
                sqlx::raw_sql(AssertSqlSafe(drop)).execute(&pool).await.expect("it is ours");
            }
            Self::Redis { url, prefix } => {
                let client = redis::Client::open(url.as_str()).expect("a URL");
                let mut connection = client.get_connection().expect("the server is there");
                let keys: Vec<Vec<u8>> = connection.keys(format!("*{prefix}*")).expect("keys");
                for key in keys {
                    connection.unlink::<_, u64>(key).expect("it is ours");
                }
            }
        }
    }
}
