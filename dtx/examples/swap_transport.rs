//! One line of configuration says what carries the messages, and nothing else changes.
//!
//! ```sh
//! cargo run --example swap_transport
//! cargo run --example swap_transport --features nats -- inmem nats://127.0.0.1:4222
//! cargo run --example swap_transport --features kafka -- inmem kafka://127.0.0.1:9092
//! ```
//!
//! Each address that is given runs the same orders on a store of its own. What became of each
//! order and what is left must be the same.

use std::error::Error;

use dtx::prelude::*;

/// What became of the orders, and what is left of money and stock.
type Sum = (Vec<Outcome>, u64, u64);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut transports: Vec<String> = std::env::args().skip(1).collect();
    if transports.is_empty() {
        transports.push("inmem".to_owned());
    }
    let mut sums = Vec::new();
    for transport in &transports {
        let sum = sell(transport).await?;
        println!("{transport}: {:?}, {} cents and {} units are left", sum.0, sum.1, sum.2);
        sums.push(sum);
    }
    assert!(sums.iter().all(|sum| *sum == sums[0]), "the transport has changed something");
    Ok(())
}

/// Sells three units to whoever can pay, until nothing is left.
async fn sell(transport: &str) -> Result<Sum, Box<dyn Error>> {
    let store = MemoryStore::new();
    let (money, stock) = (Ledger::on(&store), Reservations::on(&store));
    money.open_accounts("payment", &[("ann".into(), 1_000), ("bob".into(), 10)]).await?;
    stock.open_items("inventory", &[("chair".into(), 3)]).await?;
    let dtx = Dtx::builder()
        .store(store)
        // The line.
        .shared_transport(dtx::open_transport(transport).await?)
        .participant(money.clone().participant("payment")?)
        .participant(stock.clone().participant("inventory")?)
        .allow_volatile()
        .start()
        .await?;
    let mut outcomes = Vec::new();
    for account in ["ann", "bob", "ann", "ann", "ann"] {
        let paid = Amount { account: account.to_owned(), cents: 100 };
        let chair = Units { item: "chair".to_owned(), units: 1, strict: false };
        let order = Transaction::builder(Pattern::ThreePhaseSaga)
            .operation(OperationDraft::call::<Debit>("payment", paid))
            .operation(OperationDraft::call::<Take>("inventory", chair))
            .build()?;
        outcomes.push(dtx.submit(order).await?.finished().await?);
    }
    dtx.shutdown(std::time::Duration::from_secs(5)).await;
    let left = |audits: Vec<(_, dtx::resource::Audit)>| audits.iter().map(|(_, a)| a.level).sum();
    let money: u64 = left(money.audit("payment").await?);
    Ok((outcomes, money, left(stock.audit("inventory").await?)))
}
