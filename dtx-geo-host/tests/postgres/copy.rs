//! `ReadReplica`: reads at the nearest copy, unless that is too old.

use std::time::Duration;

use dtx_geo::plan::{DataOperation, Kind, Mode};
use dtx_store_postgres::{PgConfig, PgCopy};
use sqlx::query_scalar;
use tokio::time::Instant;

use crate::{
    LAG, NAMES,
    data::{Data, run, until},
    plans,
    proxy::{Delays, Line, Proxy},
    rtt, shape,
};

const HOME: usize = 0;
/// Where the client is, and a copy.
const NEAR: usize = 2;

const LOOK_EVERY: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_served_by_the_copy_of_the_plan_unless_that_is_too_old() {
    let read = |staleness| DataOperation {
        write: false,
        pooled: false,
        home: HOME,
        copies: &[NEAR],
        staleness,
        bytes: 0,
    };
    let served = |staleness| {
        let operations = [read(staleness)];
        let plan = plans().plan(&shape(NEAR, Mode::StrongGlobal, &operations));
        let plan = plan.expect("it can be had");
        assert_eq!(plan.kind, Kind::ReadReplica);
        plan.served_by[0]
    };
    assert_eq!((served(LAG), served(Duration::ZERO)), (NEAR, HOME));
    let data = Data::start("replica", HOME).with_copies(&[NEAR]).await;
    run(&data.server, "CREATE TABLE number (value bigint); INSERT INTO number VALUES (1)").await;
    // The home, as it is reached from where the client is.
    let half = rtt(NEAR, HOME) / 2;
    let way = Proxy::start(data.server.port(), Delays { there: half, back: half }).await;
    let home = format!("postgres://dtx@127.0.0.1:{}/postgres", way.port());
    let home = PgConfig::from_url(&home).expect("valid").call_timeout(Duration::from_secs(3));
    let copy = &data.follower(NAMES[NEAR]).server;
    let copy = PgConfig::from_url(&copy.url()).expect("valid");
    let copy = PgCopy::connect(home, copy, LOOK_EVERY).await.expect("it connects");
    let number = async |staleness| {
        let mut read = copy.read(staleness).await.expect("it is read");
        let number = query_scalar::<_, i64>("SELECT value FROM number");
        (read.age(), number.fetch_one(read.connection()).await.expect("it is there"))
    };
    until("the copy is new", async || number(LAG).await.0.is_some()).await;
    let (age, found) = number(LAG).await;
    assert_eq!(found, 1);
    // What the looks say takes a round trip to the home, and half of one to the copy.
    assert!(age.is_some_and(|age| age >= half), "{age:?}");
    // What may not be old at all is read at the home.
    let began = Instant::now();
    assert_eq!(number(Duration::ZERO).await, (None, 1));
    assert!(began.elapsed() >= rtt(NEAR, HOME));
    // The copy is cut off, and the home goes on.
    data.set_ways(Line::Silent);
    run(&data.server, "UPDATE number SET value = 2").await;
    until("it is too old", async || number(LAG).await == (None, 2)).await;
    let (age, found) = number(Duration::from_secs(3_600)).await;
    assert!(age.is_some_and(|age| age > LAG) && found == 1, "{age:?}");
    // The home cannot be reached either: then it is said, and nothing old is given.
    way.set(Line::Broken);
    let error = copy.read(LAG).await.expect_err("nobody has it");
    assert!(error.to_string().contains("and 1000 are allowed"), "{error}");
    data.set_ways(Line::Open);
    way.set(Line::Open);
    until("it is new again", async || copy.read(LAG).await.is_ok_and(|read| read.age().is_some()))
        .await;
    assert_eq!(number(LAG).await.1, 2);
}
