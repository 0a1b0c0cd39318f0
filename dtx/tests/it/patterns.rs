//! Every pattern from its submit to its end, over the built-in participants.

use std::time::Duration;

use dtx::prelude::*;

async fn shop(stock: u64) -> (Dtx, MemoryStore) {
    let store = MemoryStore::new();
    let (ledger, stocks) = (Ledger::on(&store), Reservations::on(&store));
    ledger.open_accounts("payment", &[("alice".into(), 1_000)]).await.unwrap();
    stocks.open_items("inventory", &[("cd".into(), stock)]).await.unwrap();
    stocks.open_items("shipping", &[("monday".into(), 100)]).await.unwrap();
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(InMemoryTransport::new())
        .participant(ledger.participant("payment").unwrap())
        .participant(stocks.clone().participant("inventory").unwrap())
        .participant(stocks.participant("shipping").unwrap())
        .allow_volatile()
        .start()
        .await
        .unwrap();
    (dtx, store)
}

fn checkout(pattern: Pattern, cents: u64, units: u64) -> Transaction {
    Transaction::builder(pattern)
        .call::<Debit>("payment", Amount { account: "alice".into(), cents })
        .call::<Take>("inventory", Units { item: "cd".into(), units, strict: false })
        .call::<Take>("shipping", Units { item: "monday".into(), units: 1, strict: false })
        .build()
        .unwrap()
}

async fn run(dtx: &Dtx, transaction: Transaction) -> Outcome {
    let mut handle = dtx.submit(transaction).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), handle.finished()).await.unwrap().unwrap()
}

#[tokio::test]
async fn every_pattern_commits() {
    for pattern in Pattern::ALL {
        let (dtx, store) = shop(10).await;
        let outcome = run(&dtx, checkout(pattern, 300, 2)).await;
        let expected = match pattern {
            Pattern::FireAndForget => Outcome::Dispatched,
            _ => Outcome::Committed,
        };
        assert_eq!(outcome, expected, "{pattern}");
        let paid = Ledger::on(&store).audit("payment").await.unwrap();
        assert_eq!(paid[0].1.taken(), 300, "{pattern}");
        assert!(paid[0].1.is_clean(), "{pattern}: {paid:?}");
        assert!(dtx.shutdown(Duration::from_secs(5)).await.drained, "{pattern}");
    }
}

#[tokio::test]
async fn a_refusal_leaves_nothing_behind() {
    for pattern in Pattern::ALL.into_iter().skip(1) {
        let (dtx, store) = shop(1).await;
        let outcome = run(&dtx, checkout(pattern, 300, 2)).await;
        assert!(matches!(outcome, Outcome::Aborted | Outcome::Compensated), "{pattern}");
        for (scope, audit) in Ledger::on(&store).audit("payment").await.unwrap() {
            assert_eq!(
                (audit.taken(), audit.is_clean()),
                (0, true),
                "{pattern} {scope}: {audit:?}"
            );
        }
        for (scope, audit) in Reservations::on(&store).audit("shipping").await.unwrap() {
            assert_eq!(
                (audit.taken(), audit.is_clean()),
                (0, true),
                "{pattern} {scope}: {audit:?}"
            );
        }
        assert!(dtx.shutdown(Duration::from_secs(5)).await.drained, "{pattern}");
    }
}
