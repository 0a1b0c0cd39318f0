//! Exactly once: the effect is in the same database transaction as the participant's memory of
//! it. Many answers are lost here, so commands come again and again, and money moves once.
//!
//! Needs a PostgreSQL: `cargo xtask services exec postgres -- cargo run -p dtx --features postgres
//! --example exactly_once_postgres`, or `DTX_POSTGRES_URL=postgres://..`.

use std::{env, error::Error, sync::Arc, time::Duration};

use dtx::{
    answer::{NotDone, Reason},
    prelude::*,
};
use dtx_testkit::chaos::{Chaos, ChaosSettings};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Due {
    account: String,
    cents: i64,
}

/// Takes money from an account in the user's own table.
struct Pay;

impl Action for Pay {
    const NAME: &'static str = "pay";
    type Input = Due;
    type Output = i64;
}

impl Execute<Pg> for Pay {
    async fn execute(&self, cx: &mut Context<'_, Pg>, due: &Due) -> Answer<i64> {
        // The first statement of this transaction was the claim of the inbox row; it commits
        // together with the answer.
        let left: Option<i64> = sqlx::query_scalar(
            "UPDATE account SET cents = cents - $1 WHERE id = $2 AND cents >= $1 RETURNING cents",
        )
        .bind(due.cents)
        .bind(&due.account)
        .fetch_optional(&mut **cx.tx())
        .await?;
        left.ok_or_else(|| NotDone::Rejected(Reason::new("not enough money")))
    }
}

impl Compensate<Pg> for Pay {
    async fn compensate(&self, cx: &mut Context<'_, Pg>, due: &Due) -> Answer<()> {
        sqlx::query("UPDATE account SET cents = cents + $1 WHERE id = $2")
            .bind(due.cents)
            .bind(&due.account)
            .execute(&mut **cx.tx())
            .await?;
        Ok(())
    }
}

fn url() -> Result<String, Box<dyn Error>> {
    let given = env::var("DTX_POSTGRES_URL").or_else(|_| env::var("DTX_TEST_POSTGRES_URL"));
    given.map_err(|_| "set DTX_POSTGRES_URL to postgres://USER:PASSWORD@HOST/DATABASE".into())
}

async fn balance(store: &PgStore, account: &str) -> Result<i64, sqlx::Error> {
    let query =
        sqlx::query_scalar("SELECT cents FROM account WHERE id = $1").bind(account.to_owned());
    query.fetch_one(store.pool()).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = PgStore::connect(PgConfig::from_url(&url()?)?).await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS account (id text PRIMARY KEY, cents bigint NOT NULL);
         INSERT INTO account VALUES ('alice', 10000), ('bob', 5)
             ON CONFLICT (id) DO UPDATE SET cents = excluded.cents",
    )
    .execute(store.pool())
    .await?;

    let payment = Participant::within("payment", store.clone())?.saga(Pay);
    let chaos = Chaos::new(ChaosSettings { seed: 7, timeout_rate: 0.4, ..Default::default() })?;
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(chaos.transport(Arc::new(InMemoryTransport::new())))
        .participant(payment)
        .start()
        .await?;
    let pay = |account: &str, cents| Due { account: account.into(), cents };
    for (cents, from_bob) in [(2_933, 0), (2_933, 100)] {
        let transaction = Transaction::builder(Pattern::Saga)
            .in_sequence()
            .call::<Pay>("payment", pay("alice", cents))
            .call::<Pay>("payment", pay("bob", from_bob))
            .build()?;
        let outcome = dtx.submit(transaction).await?.outcome().await?;
        let (alice, bob) = (balance(&store, "alice").await?, balance(&store, "bob").await?);
        println!("{outcome}: alice has {alice}, bob has {bob}");
    }
    let stats = dtx.host_stats().await;
    println!("{} commands were delivered, {} handlers ran", stats[0].1.commands, stats[0].1.runs);
    assert_eq!(balance(&store, "alice").await?, 10_000 - 2_933);
    dtx.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
