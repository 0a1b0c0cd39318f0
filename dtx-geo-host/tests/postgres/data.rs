//! The data of one home: a server there, and standbys that follow it.

use std::{path::PathBuf, time::Duration};

use dtx_core::name::RegionName;
use dtx_geo::plan::Quorum;
use dtx_store_postgres::{PgConfig, PgStore, StandbyQuorum};
use dtx_testkit::servers::{Postgres, PostgresStandby, Server};
use sqlx::{AssertSqlSafe, PgPool, Row};
use tokio::{
    task::block_in_place,
    time::{Instant, interval},
};

use crate::{
    NAMES,
    proxy::{Delays, Line, Proxy},
    rtt,
};

/// How long anything may take that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a call of a store waits for standbys.
const CALL_TIMEOUT: Duration = Duration::from_millis(800);

/// Looks until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    let mut looks = interval(Duration::from_millis(20));
    while !is_so().await {
        assert!(Instant::now() < end, "too late: {what}");
        looks.tick().await;
    }
}

pub(crate) async fn ask<T>(server: &Server, question: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let pool = PgPool::connect(&server.url()).await.expect("it is there");
    let row = sqlx::query(AssertSqlSafe(question)).fetch_one(&pool).await;
    let row = row.expect("it is right");
    pool.close().await;
    row.get(0)
}

pub(crate) async fn run(server: &Server, statement: &str) {
    let pool = PgPool::connect(&server.url()).await.expect("it is there");
    let ran = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await;
    ran.expect("it is right");
    pool.close().await;
}

/// A standby.
pub(crate) struct Follower {
    /// What the server that it follows knows it by.
    pub(crate) name: String,
    pub(crate) region: usize,
    pub(crate) server: Server,
    /// The way from it to the server that it follows.
    pub(crate) way: Proxy,
}

pub(crate) struct Data {
    folder: String,
    pub(crate) home: usize,
    pub(crate) server: Server,
    pub(crate) followers: Vec<Follower>,
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    folder
}

impl Data {
    /// A server, with no standby yet.
    pub(crate) fn start(name: &str, home: usize) -> Self {
        let server = block_in_place(|| Server::start(&Postgres, &folder(name)));
        let server = server.expect("it starts");
        Self { folder: name.to_owned(), home, server, followers: Vec::new() }
    }

    /// With a standby in each of these regions, which has the name of its region.
    pub(crate) async fn with_copies(mut self, regions: &[usize]) -> Self {
        for region in regions {
            self.follow(NAMES[*region], *region).await;
        }
        self
    }

    pub(crate) async fn follow(&mut self, name: &str, region: usize) {
        let (there, back) = (rtt(region, self.home) / 2, rtt(self.home, region) / 2);
        let delays = match region == self.home {
            true => Delays { there: Duration::ZERO, back: Duration::ZERO },
            false => Delays { there, back },
        };
        let way = Proxy::start(self.server.port(), delays).await;
        let folder = folder(&format!("{}-{name}", self.folder));
        let server = block_in_place(|| PostgresStandby::follow(&folder, way.port(), name));
        let server = server.expect("it follows");
        self.followers.push(Follower { name: name.to_owned(), region, server, way });
    }

    /// Has the server wait for what a plan says: the quorum has the home and regions of standbys.
    pub(crate) async fn wait_for(&self, quorum: &Quorum) {
        assert_eq!(quorum.regions[0], self.home);
        let names = quorum.regions[1..].iter().map(|region| NAMES[*region]);
        self.wait_for_any(quorum.needed - 1, names).await;
    }

    /// Has the server wait for so many of these standbys.
    pub(crate) async fn wait_for_any<'a>(
        &self,
        needed: usize,
        names: impl IntoIterator<Item = &'a str>,
    ) {
        let names: Vec<_> = names.into_iter().collect();
        let regions = names.iter().map(|name| RegionName::new(name).expect("a name"));
        let quorum = StandbyQuorum::any(needed, regions).expect("they can be waited for");
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{quorum}'");
        run(&self.server, &set).await;
        run(&self.server, "SELECT pg_reload_conf()").await;
        let store = self.store("dtx").await;
        until("it waits for them", async || store.check_standbys(&quorum).await.is_ok()).await;
        let followed = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'";
        let count = names.len() as i64;
        until("they follow", async || ask::<i64>(&self.server, followed).await == count).await;
        store.close().await;
    }

    /// A store in a schema of this server.
    pub(crate) async fn store(&self, schema: &str) -> PgStore {
        let url = format!("{}?schema={schema}", self.server.url());
        let config = PgConfig::from_url(&url).expect("valid").call_timeout(CALL_TIMEOUT);
        PgStore::connect(config.connections_max(12)).await.expect("it opens")
    }

    pub(crate) fn follower(&self, name: &str) -> &Follower {
        let found = self.followers.iter().find(|follower| follower.name == name);
        found.expect("it is one of them")
    }

    /// Sets the ways of all standbys in other regions.
    pub(crate) fn set_ways(&self, line: Line) {
        for follower in self.followers.iter().filter(|follower| follower.region != self.home) {
            follower.way.set(line);
        }
    }

    /// A region is lost, with what runs there.
    pub(crate) fn lose(&mut self, region: usize) {
        if self.home == region {
            self.server.kill().expect("it is killed");
        }
        // What is dropped is killed.
        self.followers.retain(|follower| follower.region != region);
    }

    /// The standby that has most of the log takes the place of the server, and the others follow
    /// it.
    pub(crate) async fn fail_over(&mut self) {
        const HAS: &str = "SELECT greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0'), \
            pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'))::bigint";
        let mut best = (0, 0);
        for (index, follower) in self.followers.iter().enumerate() {
            best = best.max((ask::<i64>(&follower.server, HAS).await, index));
        }
        let Follower { server, region, .. } = self.followers.remove(best.1);
        let promoted = ask::<bool>(&server, "SELECT pg_promote(true, 60)").await;
        assert!(promoted, "it takes the place");
        (self.server, self.home) = (server, region);
        for follower in std::mem::take(&mut self.followers) {
            let (there, back) =
                (rtt(follower.region, self.home) / 2, rtt(self.home, follower.region) / 2);
            let way = Proxy::start(self.server.port(), Delays { there, back }).await;
            let follows = format!(
                "ALTER SYSTEM SET primary_conninfo = \
                 'host=127.0.0.1 user=dtx port={} application_name={}'",
                way.port(),
                follower.name
            );
            run(&follower.server, &follows).await;
            run(&follower.server, "SELECT pg_reload_conf()").await;
            self.followers.push(Follower { way, ..follower });
        }
        let names: Vec<_> = self.followers.iter().map(|follower| follower.name.clone()).collect();
        self.wait_for_any(1, names.iter().map(String::as_str)).await;
    }
}
