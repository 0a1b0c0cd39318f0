//! A three-phase checkout of two services on the embedded store, in one process.
//!
//! `cargo run -p dtx --example quick_start`

use std::time::Duration;

use dtx::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = RedbStore::open(folder.path().join("shop.redb")).await?;
    let (ledger, stock) = (Ledger::on(&store), Reservations::on(&store));
    ledger.open_accounts("payment", &[("alice".into(), 10_000)]).await?;
    stock.open_items("inventory", &[("cd-17".into(), 5)]).await?;
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(InMemoryTransport::new())
        .participant(ledger.participant("payment")?)
        .participant(stock.participant("inventory")?)
        .start()
        .await?;
    let checkout = Transaction::builder(Pattern::ThreePhaseSaga)
        .key("order-1001")
        .call::<Debit>("payment", Amount { account: "alice".into(), cents: 2_933 })
        .call::<Take>("inventory", Units { item: "cd-17".into(), units: 2, strict: false })
        .build()?;
    let outcome = dtx.submit(checkout).await?.outcome().await?;
    assert_eq!(outcome, Outcome::Committed);
    println!("order-1001: {outcome}");

    // The execution follows the verdict; a shutdown waits for it.
    assert!(dtx.shutdown(Duration::from_secs(5)).await.drained);
    let paid = Ledger::on(&store).audit("payment").await?;
    assert_eq!(paid[0].1.taken(), 2_933);
    Ok(())
}
