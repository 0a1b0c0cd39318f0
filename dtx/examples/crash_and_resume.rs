//! A process that dies in the middle of its transactions: this program starts itself, kills
//! itself, and a second start goes on where the first one was. Nothing is lost or doubled.
//!
//! `cargo run -p dtx --example crash_and_resume`

use std::{env, path::Path, process::Command, time::Duration};

use dtx::prelude::*;

const ORDERS: u64 = 200;

async fn shop(path: &Path) -> Result<(Dtx, RedbStore), Box<dyn std::error::Error>> {
    let store = RedbStore::open(path).await?;
    let (ledger, stock) = (Ledger::on(&store), Reservations::on(&store));
    ledger.open_accounts("payment", &[("alice".into(), 10 * ORDERS)]).await?;
    stock.open_items("inventory", &[("cd".into(), ORDERS)]).await?;
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(InMemoryTransport::new())
        .participant(ledger.participant("payment")?)
        .participant(stock.participant("inventory")?)
        .start()
        .await?;
    Ok((dtx, store))
}

fn order(number: u64) -> Result<Transaction, Box<dyn std::error::Error>> {
    Ok(Transaction::builder(Pattern::TwoPhaseSaga)
        .key(format!("order-{number}"))
        .call::<Debit>("payment", Amount { account: "alice".into(), cents: 10 })
        .call::<Take>("inventory", Units { item: "cd".into(), units: 1, strict: false })
        .build()?)
}

/// Submits all orders and dies when half of them have their outcome, as `kill -9` would do it.
async fn die_half_way(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let (dtx, _) = shop(path).await?;
    let mut handles = Vec::new();
    for number in 0..ORDERS {
        handles.push(dtx.submit(order(number)?).await?);
    }
    for handle in &mut handles[..ORDERS as usize / 2] {
        assert_eq!(handle.outcome().await?, Outcome::Committed);
    }
    std::process::abort();
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(path) = env::args_os().nth(1) {
        return die_half_way(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("shop.redb");
    let died = Command::new(env::current_exe()?).arg(&path).status()?;
    assert!(!died.success(), "the first process dies");

    // The second process submits the same orders again: the keys say which they are.
    let (dtx, store) = shop(&path).await?;
    let mut known = 0;
    for number in 0..ORDERS {
        let mut handle = dtx.submit(order(number)?).await?;
        known += u64::from(!handle.is_new());
        assert_eq!(handle.outcome().await?, Outcome::Committed);
    }
    assert!(known >= ORDERS / 2, "what had its outcome was there before the crash");
    assert!(dtx.shutdown(Duration::from_secs(10)).await.drained);
    let (paid, sold) = (Ledger::on(&store), Reservations::on(&store));
    let (paid, sold) = (paid.audit("payment").await?, sold.audit("inventory").await?);
    assert_eq!(paid[0].1.taken(), i128::from(10 * ORDERS), "nobody paid twice");
    assert_eq!(sold[0].1.taken(), i128::from(ORDERS));
    assert!(paid[0].1.is_clean() && sold[0].1.is_clean());
    println!("{ORDERS} orders, {known} of them known from before the crash: each sold once");
    Ok(())
}
