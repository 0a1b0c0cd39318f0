//! Reads at a real standby: none is older than it says, and what is too old is read at the home.

use std::time::Duration;

use dtx_core::{
    error::{ErrorKind, StoreError},
    name::RegionName,
};
use dtx_store_postgres::{CopyRead, PgCopy, PgStore, StandbyQuorum};
use dtx_testkit::servers::{Postgres, Server};
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::{
    harness::folder,
    standby::{Pair, config, until},
};

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a copy that has stopped becomes older than.
const TOO_OLD: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(3_600);

/// A table with one number in it.
const TABLE: &str = "CREATE TABLE number (value bigint NOT NULL); INSERT INTO number VALUES (0)";

async fn copy_of(pair: &Pair) -> Result<PgCopy, StoreError> {
    let patient = |url: &str| {
        let limit = Duration::from_secs(2);
        config(url).call_timeout(limit).connect_timeout(limit)
    };
    PgCopy::connect(patient(&pair.primary.url()), patient(&pair.standby.url()), LOOK_EVERY).await
}

async fn sql(url: &str, text: &'static str) {
    let mut connection = PgConnection::connect(url).await.expect("it is there");
    sqlx::raw_sql(text).execute(&mut connection).await.expect("it is right");
}

async fn number(read: &mut CopyRead) -> i64 {
    let query = sqlx::query_scalar("SELECT value FROM number");
    query.fetch_one(read.connection()).await.expect("it is read")
}

/// Reads again and again until it is so.
async fn read_until(copy: &PgCopy, staleness: Duration, is_so: impl Fn(&CopyRead) -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so(&copy.read(staleness).await.expect("one of them is there")) {
        assert!(Instant::now() < end, "it never is so");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn no_read_is_older_than_it_says_while_the_copy_stops_and_goes_on() {
    let pair = Pair::start("ages");
    let (home_url, copy_url) = (pair.primary.url(), pair.standby.url());
    sql(&home_url, TABLE).await;
    let copy = copy_of(&pair).await.expect("it connects");
    read_until(&copy, LONG, |read| read.age().is_some()).await;
    let mut seen = Seen::new(&home_url).await;
    for _ in 0..4 {
        seen.look(&copy, |turn| turn < 50).await;
        sql(&copy_url, "SELECT pg_wal_replay_pause()").await;
        let begun = Instant::now();
        seen.look(&copy, |turn| turn < 50 || begun.elapsed() < TOO_OLD * 4).await;
        sql(&copy_url, "SELECT pg_wal_replay_resume()").await;
    }
    println!("{seen:?}");
    assert!(seen.at_copy >= 200 && seen.too_old >= 20, "{seen:?}");
    assert!(seen.oldest > TOO_OLD, "it was never old: {seen:?}");
}

/// Writes numbers at the home, and reads them with several bounds.
#[derive(Debug)]
struct Seen {
    home: PgConnection,
    /// When each number was acknowledged.
    acknowledged: Vec<Instant>,
    at_copy: u64,
    /// Reads that a copy could have served that had stopped.
    too_old: u64,
    oldest: Duration,
}

impl Seen {
    async fn new(home: &str) -> Self {
        let home = PgConnection::connect(home).await.expect("it is there");
        let acknowledged = vec![Instant::now()];
        Self { home, acknowledged, at_copy: 0, too_old: 0, oldest: Duration::ZERO }
    }

    async fn look(&mut self, copy: &PgCopy, goes_on: impl Fn(usize) -> bool) {
        for turn in (0..).take_while(|turn| goes_on(*turn)) {
            let write = sqlx::query("UPDATE number SET value = value + 1");
            write.execute(&mut self.home).await.expect("it is written");
            self.acknowledged.push(Instant::now());
            self.read(copy, [TOO_OLD, LONG, Duration::ZERO][turn % 3]).await;
        }
    }

    async fn read(&mut self, copy: &PgCopy, staleness: Duration) {
        let asked = Instant::now();
        let mut read = copy.read(staleness).await.expect("both are there");
        let found = number(&mut read).await;
        let Some(age) = read.age() else {
            assert_eq!(found, self.acknowledged.len() as i64 - 1, "the home has all");
            self.too_old += u64::from(staleness == TOO_OLD);
            return;
        };
        assert!(age <= staleness, "{age:?} is older than {staleness:?}");
        // All that was acknowledged before that is there.
        let moment = asked - age;
        let least = self.acknowledged.iter().rposition(|at| *at < moment).unwrap_or(0);
        assert!(found >= least as i64, "{found} of {least} that were there {age:?} ago");
        self.at_copy += 1;
        self.oldest = self.oldest.max(age);
    }
}

#[tokio::test]
async fn what_is_too_old_is_read_at_the_home_and_nowhere_when_that_is_gone() {
    let mut pair = Pair::start("gone");
    sql(&pair.primary.url(), TABLE).await;
    let copy = copy_of(&pair).await.expect("it connects");
    read_until(&copy, LONG, |read| read.age().is_some()).await;
    assert_eq!(copy.read(Duration::ZERO).await.expect("at the home").age(), None);
    pair.primary.kill().expect("it is killed");
    let mut read = copy.read(LONG).await.expect("at the copy");
    assert_eq!((read.age().is_some(), number(&mut read).await), (true, 0));
    drop(read);
    let error = copy.read(Duration::ZERO).await.expect_err("nobody has it");
    let is_passing = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
    assert!(is_passing && error.to_string().contains("and 0 are allowed"), "{error}");
    // The copy takes the place of its home: it is none any more, and nobody says how old it gets.
    sql(&pair.standby.url(), "SELECT pg_promote(true, 60)").await;
    let error = copy.read(LONG).await.expect_err("it is no copy");
    assert!(error.to_string().contains("the copy takes writes"), "{error}");
}

#[tokio::test]
async fn only_a_copy_of_the_home_can_be_read() {
    let pair = Pair::start("strange");
    let other = Server::start(&Postgres, &folder("strange-other")).expect("it starts");
    let (home, copy) = (|| config(&pair.primary.url()), || config(&pair.standby.url()));
    let refused = [
        (PgCopy::connect(home(), copy(), Duration::ZERO).await, ErrorKind::Invalid, "look_every"),
        (PgCopy::connect(home(), home(), LOOK_EVERY).await, ErrorKind::Invalid, "takes writes"),
        (
            PgCopy::connect(config(&other.url()), copy(), LOOK_EVERY).await,
            ErrorKind::Invalid,
            "system_identifier",
        ),
        (PgCopy::connect(copy(), copy(), LOOK_EVERY).await, ErrorKind::Unavailable, "standby"),
    ];
    for (refused, kind, says) in refused {
        let error = refused.expect_err("it is refused");
        assert!(error.kind() == kind && error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_waits_for_fewer_standbys_than_it_must_is_told() {
    let pair = Pair::start("quorum");
    let store = PgStore::connect(config(&pair.primary.url())).await.expect("it opens");
    let standby = RegionName::new("standby").expect("a name");
    let quorum = StandbyQuorum::any(1, [standby]).expect("it can be");
    let error = store.check_standbys(&quorum).await.expect_err("it waits for none");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(&format!("set it to '{quorum}'")), "{error}");
    let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{quorum}'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(store.pool()).await.expect("set");
    sql(&pair.primary.url(), "SELECT pg_reload_conf()").await;
    let waits = "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'quorum'";
    until(store.pool(), waits).await;
    store.check_standbys(&quorum).await.expect("it waits for it");
    sql(&pair.primary.url(), "ALTER DATABASE postgres SET synchronous_commit = 'local'").await;
    let store = PgStore::connect(config(&pair.primary.url())).await.expect("it opens");
    let error = store.check_standbys(&quorum).await.expect_err("it waits for none");
    assert!(error.to_string().contains("synchronous_commit is local"), "{error}");
}
