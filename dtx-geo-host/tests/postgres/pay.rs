//! A participant whose effect is a row in a table of its own server. What is done twice is there
//! twice.

use std::{collections::BTreeMap, sync::Arc};

use dtx_core::{answer::Answer, transaction::Action};
use dtx_runtime::participant::{
    Context, Deliver, Execute, Host, HostHandle, HostSettings, Participant, UnitParticipant,
};
use dtx_store_postgres::{Pg, PgStore};
use dtx_transport_inmem::InMemoryTransport;
use sqlx::{AssertSqlSafe, Row};

/// The schema of the participants' stores.
pub(crate) const SCHEMA: &str = "shop";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pay;

impl Action for Pay {
    const NAME: &'static str = "pay";
    /// What it is for.
    type Input = String;
    type Output = ();
}

async fn add(cx: &mut Context<'_, Pg>, what: &str) -> Answer<()> {
    let query = sqlx::query("INSERT INTO shop.paid (what) VALUES ($1)").bind(what.to_owned());
    query.execute(&mut **cx.tx()).await?;
    Ok(())
}

impl Execute<Pg> for Pay {
    async fn execute(&self, cx: &mut Context<'_, Pg>, what: &String) -> Answer<()> {
        add(cx, what).await
    }
}

impl Deliver<Pg> for Pay {
    async fn deliver(&self, cx: &mut Context<'_, Pg>, what: &String) -> Answer<()> {
        add(cx, what).await
    }
}

pub(crate) async fn make_table(store: &PgStore) {
    let table = "CREATE TABLE IF NOT EXISTS shop.paid (what text NOT NULL)";
    sqlx::raw_sql(table).execute(store.pool()).await.expect("it is made");
}

/// A participant that commits by two phases of its server, or at once, or eventually.
fn participant(name: &str, store: &PgStore) -> UnitParticipant<Pg> {
    let participant = Participant::resource_manager(name, store.clone()).expect("a name");
    participant.prepared(Pay).retriable(Pay).deliver(Pay)
}

/// Serves it, with its table.
pub(crate) async fn serve(
    name: &str,
    store: &PgStore,
    transport: &Arc<InMemoryTransport>,
) -> HostHandle {
    make_table(store).await;
    let settings = HostSettings { backoff_ms: 20, ..HostSettings::default() };
    let host = Host::start(participant(name, store), transport.clone(), None, settings).await;
    host.expect("it starts")
}

/// How often each is paid.
pub(crate) async fn paid(store: &PgStore) -> BTreeMap<String, i64> {
    let query = "SELECT what, count(*) FROM shop.paid GROUP BY what";
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(store.pool()).await;
    let rows = rows.expect("it is read");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}
