//! Transactions to the end, over Kafka.

use std::{
    env, process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use dtx::{KafkaSettings, KafkaTransport, TopicPrefix, prelude::*};
use dtx_testkit::servers::{Kafka, Service};

const STOCK: u64 = 1_000;

pub(crate) fn settings() -> KafkaSettings {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (variable, name) = (Kafka.variable(), Kafka.name());
    let brokers = env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec {name} -- COMMAND sets it")
    });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let prefix = format!("d{}-{}-{count}", now.as_millis(), process::id());
    KafkaSettings::new(&brokers)
        .unwrap()
        .topic_prefix(TopicPrefix::new(prefix).unwrap())
        .partitions(4)
        .session_timeout(Duration::from_secs(3))
}

/// A coordinator with a ledger and a stock in one process, and Kafka between them.
async fn start(store: &RedbStore, transport: KafkaTransport) -> Dtx {
    let (ledger, stock) = (Ledger::on(store), Reservations::on(store));
    let builder = Dtx::builder().store(store.clone()).transport(transport);
    let builder = builder.participant(ledger.participant("payment").unwrap());
    builder.participant(stock.participant("inventory").unwrap()).start().await.unwrap()
}

fn order(pattern: Pattern, number: u64) -> Transaction {
    Transaction::builder(pattern)
        .key(format!("order-{number}"))
        .call::<Debit>("payment", Amount { account: "alice".into(), cents: 10 })
        .call::<Take>("inventory", Units { item: "cd".into(), units: 1, strict: false })
        .build()
        .unwrap()
}

async fn runs_to_the_end(pattern: Pattern) {
    const ORDERS: u64 = 40;
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path().join("shop.redb")).await.unwrap();
    Ledger::on(&store).open_accounts("payment", &[("alice".into(), 100_000)]).await.unwrap();
    Reservations::on(&store).open_items("inventory", &[("cd".into(), STOCK)]).await.unwrap();
    let settings = settings();
    let dtx = start(&store, settings.clone().connect().await.unwrap()).await;
    let mut handles = Vec::new();
    for number in 0..ORDERS {
        handles.push(dtx.submit(order(pattern, number)).await.unwrap());
    }
    for mut handle in handles {
        assert_eq!(handle.outcome().await.unwrap(), Outcome::Committed);
    }
    // One that cannot be: it goes back over the same topics.
    let too_much = Transaction::builder(pattern)
        .key("too-much")
        .call::<Debit>("payment", Amount { account: "alice".into(), cents: 10 })
        .call::<Take>("inventory", Units { item: "cd".into(), units: STOCK, strict: false })
        .build()
        .unwrap();
    assert_eq!(dtx.submit(too_much).await.unwrap().outcome().await.unwrap(), Outcome::Aborted);
    assert!(dtx.shutdown(Duration::from_secs(20)).await.drained);

    // The next coordinator goes on with the same topics and the same groups.
    let dtx = start(&store, settings.connect().await.unwrap()).await;
    let mut one = dtx.submit(order(pattern, ORDERS)).await.unwrap();
    assert_eq!(one.outcome().await.unwrap(), Outcome::Committed);
    assert!(dtx.shutdown(Duration::from_secs(20)).await.drained);
    let paid = Ledger::on(&store).audit("payment").await.unwrap();
    assert_eq!(paid[0].1.taken(), i128::from((ORDERS + 1) * 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_phase_sagas_run_to_the_end() {
    runs_to_the_end(Pattern::TwoPhaseSaga).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_phase_sagas_run_to_the_end() {
    runs_to_the_end(Pattern::ThreePhaseSaga).await;
}
