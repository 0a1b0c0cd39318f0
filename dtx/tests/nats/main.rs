//! Every pattern over a real NATS server, whose URL is in `DTX_TEST_NATS_URL`: coordinator and
//! hosts of one process, and nothing between them but the server.

use std::{env, time::Duration};

use dtx::{NatsSettings, NatsTransport, prelude::*};
use dtx_testkit::servers::{Nats, Service};

/// A prefix that nobody else has.
fn settings() -> NatsSettings {
    let (variable, name) = (Nats.variable(), Nats.name());
    let url = env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec {name} -- COMMAND sets it")
    });
    let prefix = format!("t{}", uuid::Uuid::new_v4().simple());
    NatsSettings::new(&url).expect("an address").prefix(&prefix).expect("a prefix")
}

async fn shop(settings: NatsSettings, stock: u64) -> (Dtx, MemoryStore) {
    let transport = NatsTransport::connect(settings).await.expect("it connects");
    let store = MemoryStore::new();
    let (ledger, stocks) = (Ledger::on(&store), Reservations::on(&store));
    ledger.open_accounts("payment", &[("alice".into(), 10_000)]).await.expect("opened");
    stocks.open_items("inventory", &[("cd".into(), stock)]).await.expect("opened");
    stocks.open_items("shipping", &[("monday".into(), 100)]).await.expect("opened");
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(transport)
        .participant(ledger.participant("payment").expect("a name"))
        .participant(stocks.clone().participant("inventory").expect("a name"))
        .participant(stocks.participant("shipping").expect("a name"))
        .allow_volatile()
        .start()
        .await
        .expect("it starts");
    (dtx, store)
}

fn checkout(pattern: Pattern, units: u64) -> Transaction {
    Transaction::builder(pattern)
        .call::<Debit>("payment", Amount { account: "alice".into(), cents: 300 })
        .call::<Take>("inventory", Units { item: "cd".into(), units, strict: false })
        .call::<Take>("shipping", Units { item: "monday".into(), units: 1, strict: false })
        .build()
        .expect("it is right")
}

async fn run(dtx: &Dtx, transaction: Transaction) -> Outcome {
    let mut handle = dtx.submit(transaction).await.expect("accepted");
    let finished = tokio::time::timeout(Duration::from_secs(60), handle.finished()).await;
    finished.expect("it ends").expect("told")
}

async fn paid(store: &MemoryStore) -> i128 {
    let audits = Ledger::on(store).audit("payment").await.expect("audited");
    audits.iter().map(|(_, audit)| audit.taken()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pattern_commits() {
    let (dtx, store) = shop(settings(), 100).await;
    for (times, pattern) in (1..).zip(Pattern::ALL) {
        let expected = match pattern {
            Pattern::FireAndForget => Outcome::Dispatched,
            _ => Outcome::Committed,
        };
        assert_eq!(run(&dtx, checkout(pattern, 1)).await, expected, "{pattern}");
        // That of 0.5PS arrives after the end.
        let end = tokio::time::Instant::now() + Duration::from_secs(30);
        while paid(&store).await != times * 300 {
            assert!(tokio::time::Instant::now() < end, "{pattern}: {}", paid(&store).await);
            tokio::task::yield_now().await;
        }
    }
    assert!(dtx.shutdown(Duration::from_secs(10)).await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_leaves_nothing_behind() {
    let (dtx, store) = shop(settings(), 1).await;
    for pattern in Pattern::ALL.into_iter().skip(1) {
        let outcome = run(&dtx, checkout(pattern, 2)).await;
        assert!(matches!(outcome, Outcome::Aborted | Outcome::Compensated), "{pattern}");
        assert_eq!(paid(&store).await, 0, "{pattern}");
    }
    assert!(dtx.shutdown(Duration::from_secs(10)).await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fire_and_forget_needs_no_stream() {
    let (dtx, store) = shop(settings().best_effort_dispatch(true), 100).await;
    for _ in 0..3 {
        assert_eq!(run(&dtx, checkout(Pattern::FireAndForget, 1)).await, Outcome::Dispatched);
    }
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    while paid(&store).await != 900 {
        assert!(tokio::time::Instant::now() < end, "{}", paid(&store).await);
        tokio::task::yield_now().await;
    }
    assert!(dtx.shutdown(Duration::from_secs(10)).await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_all_end() {
    const MANY: u64 = 500;
    let (dtx, store) = shop(settings(), MANY * 10).await;
    Ledger::on(&store).open_accounts("payment", &[("bob".into(), MANY)]).await.expect("opened");
    let mut handles = Vec::new();
    for number in 0..MANY {
        let pattern = [Pattern::TwoPhaseSaga, Pattern::ThreePhaseSaga][number as usize % 2];
        let transaction = Transaction::builder(pattern)
            .call::<Debit>("payment", Amount { account: "bob".into(), cents: 1 })
            .call::<Take>("inventory", Units { item: "cd".into(), units: 1, strict: false })
            .build();
        handles.push(dtx.submit(transaction.expect("it is right")).await.expect("accepted"));
    }
    for handle in &mut handles {
        let finished = tokio::time::timeout(Duration::from_secs(60), handle.finished()).await;
        assert_eq!(finished.expect("it ends").expect("told"), Outcome::Committed);
    }
    assert_eq!(paid(&store).await, i128::from(MANY));
    assert!(dtx.shutdown(Duration::from_secs(10)).await.drained);
}
