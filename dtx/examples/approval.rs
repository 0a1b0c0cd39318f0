//! A transaction that waits for a person. Meanwhile it is parked in the store; the decision is
//! durable before it is acknowledged.
//!
//! `cargo run -p dtx --example approval`

use std::time::Duration;

use dtx::prelude::*;

fn transfer(cents: u64) -> Result<Transaction, Box<dyn std::error::Error>> {
    Ok(Transaction::builder(Pattern::ThreePhaseSaga)
        .call::<Debit>("bank", Amount { account: "alice".into(), cents })
        .call::<Credit>("bank", Amount { account: "bob".into(), cents })
        .approval(Duration::from_secs(3600))
        .build()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = RedbStore::open(folder.path().join("bank.redb")).await?;
    let ledger = Ledger::on(&store);
    ledger.open_accounts("bank", &[("alice".into(), 1_000), ("bob".into(), 0)]).await?;
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(InMemoryTransport::new())
        .participant(ledger.clone().participant("bank")?)
        .start()
        .await?;

    let mut agreed = dtx.submit(transfer(400)?).await?;
    agreed.approve("carol", "she knows them").await?;
    assert_eq!(agreed.finished().await?, Outcome::Committed);

    let mut refused = dtx.submit(transfer(500)?).await?;
    refused.reject("carol", "too much").await?;
    // Of contradictory signals the first stands.
    println!(
        "too late: {}",
        refused.approve("mallory", "please").await.expect_err("it is refused")
    );
    assert_eq!(refused.finished().await?, Outcome::Aborted);

    dtx.shutdown(Duration::from_secs(5)).await;
    let mut taken: Vec<_> =
        ledger.audit("bank").await?.iter().map(|(_, audit)| audit.taken()).collect();
    taken.sort_unstable();
    assert_eq!(taken, [-400, 400], "nothing of the refused one stays behind");
    Ok(())
}
