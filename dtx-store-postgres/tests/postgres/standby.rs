//! A real standby: nothing is read from it, and the settings that decide what its promotion would
//! lose are told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use dtx_core::{
    error::{Effect, ErrorKind},
    store::{CommitResult, Durability, StateStore},
};
use dtx_store_postgres::{PgConfig, PgStore};
use dtx_testkit::{
    servers::{Postgres, PostgresStandby, Server},
    store::{Pen, committed, one, record, tx},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::harness::folder;

/// A server and a standby that follows it.
pub(super) struct Pair {
    pub(super) primary: Server,
    pub(super) standby: Server,
}

impl Pair {
    pub(super) fn start(name: &str) -> Self {
        let primary = Server::start(&Postgres, &folder(&format!("{name}-primary")));
        let primary = primary.expect("it starts");
        let folder = folder(&format!("{name}-standby"));
        let standby = PostgresStandby::follow(&folder, primary.port(), "standby");
        let standby = standby.expect("it follows");
        Self { primary, standby }
    }
}

pub(super) fn config(url: &str) -> PgConfig {
    PgConfig::from_url(url).expect("valid")
}

/// Waits until a question is answered with yes.
pub(super) async fn until(pool: &sqlx::PgPool, question: &'static str) {
    let end = Instant::now() + Duration::from_secs(30);
    while !sqlx::query_scalar::<_, bool>(question).fetch_one(pool).await.expect("asked") {
        assert!(Instant::now() < end, "{question}");
        tokio::task::yield_now().await;
    }
}

/// Has the standbys of this name waited for; none when it is empty.
pub(super) async fn wait_for_standbys(pool: &sqlx::PgPool, names: &'static str) {
    let set = match names {
        "" => "ALTER SYSTEM RESET synchronous_standby_names",
        _ => "ALTER SYSTEM SET synchronous_standby_names = '*'",
    };
    sqlx::raw_sql(set).execute(pool).await.expect("set");
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(pool).await.expect("told");
    until(pool, if names.is_empty() { UNSET } else { SYNC }).await;
}

const UNSET: &str = "SELECT current_setting('synchronous_standby_names') = ''";
pub(super) const SYNC: &str =
    "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
const CONNECTED: &str = "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'";

#[tokio::test]
async fn a_standby_is_refused_and_what_its_promotion_would_lose_is_told() {
    let mut pair = Pair::start("told");
    let url = pair.primary.url();
    let first = PgStore::connect(config(&url)).await.expect("it opens");
    until(first.pool(), CONNECTED).await;
    let standby = || config(&pair.standby.url());
    let pool = sqlx::PgPool::connect_lazy(&pair.standby.url()).expect("valid");
    for refused in [
        PgStore::connect(standby()).await.map(drop),
        PgStore::connect(standby().migrate(false)).await.map(drop),
        PgStore::migrate(standby()).await.map(drop),
        PgStore::from_pool(pool, standby()).await.map(drop),
    ] {
        let error = refused.expect_err("it is a standby");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
        assert!(error.to_string().contains("is a standby"), "{error}");
    }

    let store = PgStore::connect(config(&url)).await.expect("it opens");
    let report = store.report();
    assert_eq!((report.asynchronous_standbys, report.waits_for_standbys), (1, false));
    assert_eq!(report.warnings().len(), 1, "{:?}", report.warnings());
    let warning = &report.warnings()[0];
    assert!(warning.contains("synchronous_standby_names is empty; 1 standbys"), "{warning}");

    wait_for_standbys(first.pool(), "*").await;
    let call_timeout = Duration::from_secs(2);
    let store = PgStore::connect(config(&url).call_timeout(call_timeout)).await.expect("it opens");
    let report = store.report();
    assert!(report.waits_for_standbys && report.warnings().is_empty(), "{:?}", report.warnings());
    let says = report.findings().into_iter().map(|found| found.says);
    assert!(says.into_iter().any(|says| says == "synchronous_standby_names is set"));
    assert_eq!(report.durability(), Durability::PowerLoss);
    let mut pen = Pen::new(1);
    committed(&one(&store, &pen.accept(tx(1))).await);

    // Nobody confirms: it is durable on the primary, and nobody may be told.
    pair.standby.kill().expect("it is killed");
    let accept = pen.accept(tx(2));
    let CommitResult::Failed(error) = one(&store, &accept).await else {
        panic!("it was acknowledged without the standby")
    };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    pair.standby.restart().expect("it starts again");
    until(first.pool(), SYNC).await;
    assert_eq!(committed(&one(&store, &accept).await), 1, "the same id settles it, once");
}

/// An address that leads to one server, and then to another.
struct Address {
    port: u16,
    to: Arc<Mutex<SocketAddr>>,
    open: Arc<Mutex<JoinSet<()>>>,
}

impl Address {
    async fn of(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it has one").port();
        let to = Arc::new(Mutex::new(SocketAddr::from(([127, 0, 0, 1], server.port()))));
        let open = Arc::<Mutex<JoinSet<()>>>::default();
        let (target, conns) = (to.clone(), open.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let to = *target.lock().expect("nobody panics");
                conns.lock().expect("nobody panics").spawn(async move {
                    let Ok(mut far) = TcpStream::connect(to).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { port, to, open }
    }

    /// Every connection ends, and new ones are to this server.
    async fn lead_to(&self, server: &Server) {
        self.to.lock().expect("nobody panics").set_port(server.port());
        let mut open = std::mem::take(&mut *self.open.lock().expect("nobody panics"));
        open.shutdown().await;
    }
}

#[tokio::test]
async fn no_verdict_is_read_where_the_address_leads_to_a_standby_later() {
    let pair = Pair::start("moved");
    let address = Address::of(&pair.primary).await;
    let url =
        pair.primary.url().replace(&pair.primary.port().to_string(), &address.port.to_string());
    let config = config(&url).connect_timeout(Duration::from_secs(1));
    let store = PgStore::connect(config).await.expect("it opens");
    committed(&one(&store, &Pen::new(1).accept(tx(1))).await);
    let direct = sqlx::PgPool::connect_lazy(&pair.standby.url()).expect("valid");
    let there = "SELECT to_regclass('dtx.open') IS NOT NULL";
    until(&direct, there).await;
    until(&direct, "SELECT count(*) = 1 FROM dtx.open").await;

    address.lead_to(&pair.standby).await;
    // The first ones meet connections that have ended.
    for _ in 0..4 {
        let error = store.load(&[tx(1)]).await.expect_err("a standby may not know");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
    }
    address.lead_to(&pair.primary).await;
    let end = Instant::now() + Duration::from_secs(30);
    while store.load(&[tx(1)]).await.is_err() {
        assert!(Instant::now() < end, "the primary is there again");
        tokio::task::yield_now().await;
    }
    assert_eq!(record(&store, tx(1)).await.version.0, 1);
}
