//! The settings of the store.

use std::{fmt, time::Duration};

use dtx_core::{error::StoreError, ids::ShardCount, store::StoreLimits};
use sqlx::postgres::PgConnectOptions;

use crate::{error::invalid, opening, schema::SchemaName, store::PgStore};

/// The default of the most writes, or row sets, in one call.
pub const BATCH_WRITES_MAX_DEFAULT: usize = 1024;
/// The default size of the largest definition, state or row, in bytes.
pub const VALUE_BYTES_MAX_DEFAULT: usize = 1 << 20;
/// The default of the most connections: one per lane, and some for everything else.
pub const CONNECTIONS_MAX_DEFAULT: u32 = 10;
/// The default of how long a call waits for a connection.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// The default of how long a call waits for the answer of the server.
pub const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// The settings of a [`PgStore`].
#[derive(Clone)]
pub struct PgConfig {
    pub(crate) connect: PgConnectOptions,
    pub(crate) schema: SchemaName,
    pub(crate) shards: Option<ShardCount>,
    pub(crate) limits: StoreLimits,
    pub(crate) connections_max: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) units_max: Option<u32>,
    pub(crate) migrate: bool,
}

impl fmt::Debug for PgConfig {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgConfig")
            .field("host", &self.connect.get_host())
            .field("port", &self.connect.get_port())
            .field("user", &self.connect.get_username())
            .field("database", &self.connect.get_database())
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl PgConfig {
    /// Settings for a server that a URL names: `postgres://user:password@host:5432/database`.
    /// What the URL leaves out comes from the variables and files of libpq (`PGPASSWORD`,
    /// `~/.pgpass`). With `?sslmode=verify-full&sslrootcert=FILE` the connection is encrypted, and
    /// the server's certificate must be of this authority and of this host. `schema=NAME` is the
    /// same as [`Self::schema`].
    ///
    /// # Errors
    /// `Invalid` when it is no such URL. The message does not repeat it: it may hold a password.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        let (url, schema) = without_schema(url);
        let wrong = || {
            let form = "postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full";
            invalid("connect", format!("the URL cannot be read; it looks like {form}"))
        };
        // sqlx takes any scheme, and then the rest for the name of a database.
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(wrong());
        }
        let options = url.parse::<PgConnectOptions>().map_err(|_| wrong())?;
        let config = Self::new(options);
        match schema.map(SchemaName::new) {
            Some(Ok(schema)) => Ok(config.schema(schema)),
            Some(Err(error)) => Err(invalid("connect", error.to_string())),
            None => Ok(config),
        }
    }

    /// Settings for a server that options of sqlx name.
    pub fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect: connect.application_name("dtx"),
            schema: SchemaName::default(),
            shards: None,
            limits: StoreLimits {
                batch_writes_max: BATCH_WRITES_MAX_DEFAULT,
                value_bytes_max: VALUE_BYTES_MAX_DEFAULT,
            },
            connections_max: CONNECTIONS_MAX_DEFAULT,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            call_timeout: CALL_TIMEOUT_DEFAULT,
            units_max: None,
            migrate: true,
        }
    }

    /// The schema that has the tables; `dtx` if not given. It is dtx's own.
    #[must_use]
    pub fn schema(mut self, schema: SchemaName) -> Self {
        self.schema = schema;
        self
    }

    /// How many shards a new store has; [`ShardCount::DEFAULT`] if not given. A store keeps its
    /// number: opening it with another one fails.
    #[must_use]
    pub fn shards(mut self, shards: ShardCount) -> Self {
        self.shards = Some(shards);
        self
    }

    /// The most writes, or row sets, in one call. At least 1.
    #[must_use]
    pub fn batch_writes_max(mut self, writes: usize) -> Self {
        self.limits.batch_writes_max = writes.max(1);
        self
    }

    /// The largest definition, state or row, in bytes.
    #[must_use]
    pub fn value_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.value_bytes_max = bytes;
        self
    }

    /// The most connections. At least 1. Of no effect on a pool that was given.
    #[must_use]
    pub fn connections_max(mut self, connections: u32) -> Self {
        self.connections_max = connections.max(1);
        self
    }

    /// How long a call waits for a connection before it fails as `Unavailable`. Of no effect on a
    /// pool that was given.
    #[must_use]
    pub fn connect_timeout(mut self, wait: Duration) -> Self {
        self.connect_timeout = wait;
        self
    }

    /// How long a call waits for the answer of the server before it fails as `Timeout`. The
    /// connection is closed then.
    #[must_use]
    pub fn call_timeout(mut self, wait: Duration) -> Self {
        self.call_timeout = wait;
        self
    }

    /// How many transactions of handlers are open at a time; each has a connection until its
    /// handler has ended. More of them wait. At least 1; half of the connections if not given, so
    /// that the store's own calls never wait for handlers alone.
    #[must_use]
    pub fn units_max(mut self, units: u32) -> Self {
        self.units_max = Some(units.max(1));
        self
    }

    /// Whether opening makes or completes the tables, which needs the right to create in the
    /// database; true if not given. When false, tables that are not complete are an error.
    #[must_use]
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// The schema that was chosen.
    pub fn chosen_schema(&self) -> &SchemaName {
        &self.schema
    }

    /// Connects and opens the store.
    ///
    /// # Errors
    /// As [`PgStore::connect`].
    pub async fn open(self) -> Result<PgStore, StoreError> {
        opening::connect(self).await
    }
}

/// The URL without its `schema=NAME`, which the server does not know, and the name.
fn without_schema(url: &str) -> (String, Option<&str>) {
    let Some((place, options)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (mut rest, mut schema) = (Vec::new(), None);
    for option in options.split('&') {
        match option.strip_prefix("schema=") {
            Some(name) => schema = Some(name),
            None => rest.push(option),
        }
    }
    let mark = if rest.is_empty() { "" } else { "?" };
    (format!("{place}{mark}{}", rest.join("&")), schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_name_the_schema() {
        let of = |url: &str| PgConfig::from_url(url).map(|config| config.schema.to_string());
        assert_eq!(of("postgres://h/d").expect("valid"), "dtx");
        assert_eq!(of("postgres://h/d?schema=shop").expect("valid"), "shop");
        let both = without_schema("postgres://h/d?sslmode=require&schema=shop&a=b");
        assert_eq!(both, ("postgres://h/d?sslmode=require&a=b".to_owned(), Some("shop")));
        assert!(of("postgres://h/d?schema=sh\"op").is_err());
    }

    #[test]
    fn neither_settings_nor_errors_show_a_password() {
        let config = PgConfig::from_url("postgres://ann:s3cret@db.example:5433/shop");
        let text = format!("{:?}", config.expect("it is right"));
        assert!(text.contains("db.example") && text.contains("5433") && !text.contains("s3cret"));
        for url in ["postgres://ann:s3cret@db:port/shop", "s3cret", "mysql:s3cret"] {
            let error = PgConfig::from_url(url).expect_err("it is wrong");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
