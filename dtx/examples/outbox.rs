//! The outbox: an order, the transaction that carries it out and a message about it begin in one
//! database transaction of the shop's own, or none of them does.
//!
//! Needs a PostgreSQL: `cargo xtask services exec postgres -- cargo run -p dtx --features postgres
//! --example outbox`, or `DTX_POSTGRES_URL=postgres://..`.

use std::{env, error::Error, time::Duration};

use dtx::{PgOutbox, Relay, RelaySettings, outbox::Message, prelude::*};
use sqlx::{Postgres, Transaction as DatabaseTransaction};

/// Charges a customer, in the transaction that holds the participant's inbox.
struct Charge;

impl Action for Charge {
    const NAME: &'static str = "charge";
    type Input = i64;
    type Output = ();
}

impl Execute<Pg> for Charge {
    async fn execute(&self, cx: &mut Context<'_, Pg>, order: &i64) -> Answer<()> {
        let paid = "UPDATE shop_order SET state = 'paid' WHERE id = $1";
        sqlx::query(paid).bind(order).execute(&mut **cx.tx()).await?;
        Ok(())
    }
}

/// Takes messages in.
struct Note;

impl Action for Note {
    const NAME: &'static str = "note";
    type Input = String;
    type Output = ();
}

impl Deliver for Note {
    async fn deliver(&self, _: &mut Context<'_>, text: &String) -> Answer<()> {
        println!("analytics: {text}");
        Ok(())
    }
}

/// Everything about an order in the caller's transaction.
async fn order(
    dtx: &Dtx,
    outbox: &PgOutbox,
    tx: &mut DatabaseTransaction<'_, Postgres>,
    id: i64,
) -> Result<dtx::ids::TxId, Box<dyn Error>> {
    let insert = "INSERT INTO shop_order VALUES ($1, 'new') ON CONFLICT (id) DO UPDATE SET \
        state = 'new'";
    sqlx::query(insert).bind(id).execute(&mut **tx).await?;
    let charge = Transaction::builder(Pattern::Saga)
        .operation(OperationDraft::call::<Charge>("payment", id).step(StepKind::Pivot));
    let begun = dtx.begin_in(tx, charge.build()?).await?;
    let text = format!("order {id} came in");
    outbox.append(tx, Message::to::<Note>("analytics", &text)?.key("orders")).await?;
    Ok(begun)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let given = env::var("DTX_POSTGRES_URL").or_else(|_| env::var("DTX_TEST_POSTGRES_URL"));
    let url =
        given.map_err(|_| "set DTX_POSTGRES_URL to postgres://USER:PASSWORD@HOST/DATABASE")?;
    let store = PgStore::connect(PgConfig::from_url(&url)?).await?;
    let table = "CREATE TABLE IF NOT EXISTS shop_order (id bigint PRIMARY KEY, state text)";
    sqlx::raw_sql(table).execute(store.pool()).await?;
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(InMemoryTransport::new())
        .participant(Participant::within("payment", store.clone())?.retriable(Charge))
        .participant(Participant::new("analytics")?.deliver(Note))
        .start()
        .await?;
    let outbox = PgOutbox::on(&store);
    // Any number of these, in any number of processes.
    let relay = Relay::new(outbox.clone(), dtx.clone(), RelaySettings::default())?.start();

    let mut tx = store.pool().begin().await?;
    order(&dtx, &outbox, &mut tx, 1).await?;
    tx.rollback().await?;
    println!("order 1 was rolled back: no charge, no message");

    let mut tx = store.pool().begin().await?;
    let begun = order(&dtx, &outbox, &mut tx, 2).await?;
    tx.commit().await?;
    let outcome = dtx.attach(begun).await.outcome().await?;
    let paid = "SELECT state FROM shop_order WHERE id = 2";
    let state: String = sqlx::query_scalar(paid).fetch_one(store.pool()).await?;
    println!("order 2: {outcome}, {state}");
    while outbox.waiting().await? > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{} message sent", relay.stop().await.sent);
    dtx.drain().await;
    dtx.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
