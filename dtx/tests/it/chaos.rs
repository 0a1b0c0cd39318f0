//! All patterns while stores, transports and participants fail: nothing is lost, doubled or
//! oversold.

use std::{sync::Arc, time::Duration};

use dtx::{
    participant::Participant,
    prelude::*,
    store::{Filter, Status},
};
use dtx_testkit::chaos::{Chaos, ChaosSettings};

use crate::kit::*;

const ORDERS: u64 = 24;
const STOCK: u64 = 15;
const CENTS: u64 = 7;

fn order(pattern: Pattern, number: u64) -> Transaction {
    let amount = Amount { account: "alice".into(), cents: CENTS };
    let units = Units { item: "cd".into(), units: 1, strict: false };
    Transaction::builder(pattern)
        .key(format!("order-{number}"))
        .operation(OperationDraft::call::<Debit>("payment", amount))
        .operation(OperationDraft::call::<Take>("inventory", units))
        .deadline(Duration::from_secs(20))
        .build()
        .unwrap()
}

async fn start(memory: &MemoryStore, seed: u64) -> (Dtx, Chaos) {
    let chaos = Chaos::new(ChaosSettings {
        seed,
        failure_rate: 0.05,
        timeout_rate: 0.03,
        network_delay: Duration::from_millis(20),
        partition_rate: 0.1,
        partition_length: Duration::from_millis(500),
    })
    .unwrap();
    chaos.calm(true);
    let store = chaos.store(memory.clone());
    let rows = Arc::new(store.clone());
    let named = |name: &str| Participant::new(name).unwrap();
    let mut settings = quick();
    settings.lease_ttl = Duration::from_secs(10);
    let dtx = Dtx::builder()
        .store(store)
        .shared_transport(Arc::new(chaos.transport(Arc::new(InMemoryTransport::new()))))
        .participant(named("payment").resource(chaos.resource(Ledger::default()), rows.clone()))
        .participant(named("inventory").resource(chaos.resource(Reservations::default()), rows))
        .settings(settings)
        .allow_volatile()
        .start()
        .await
        .unwrap();
    (dtx, chaos)
}

/// Hands all orders in. One whose fate is not known is handed in again by its key.
async fn submit_all(dtx: &Dtx, pattern: Pattern) {
    let mut accepted = 0;
    for number in 0..ORDERS {
        for _ in 0..50 {
            match within(dtx.submit(order(pattern, number))).await {
                Ok(_) => {
                    accepted += 1;
                    break;
                }
                Err(_) => pass(Duration::from_millis(100)).await,
            }
        }
        pass(Duration::from_millis(40)).await;
    }
    assert_eq!(accepted, ORDERS, "{pattern}");
}

/// Until all have ended, with an operator who tries again what is stuck. Says how many committed.
async fn end_all(dtx: &Dtx) -> u64 {
    let mut committed = 0;
    eventually("all have ended", async || {
        let page = dtx.list(&Filter { limit: 1_000, ..Filter::default() }).await.unwrap();
        let attention = page.items.iter().filter(|r| r.summary.status == Status::NeedsAttention);
        for record in attention {
            let retry = dtx::engine::Signal::Retry;
            drop(dtx.signal(record.tx, retry, "op", "the faults are over").await);
        }
        let ended = page.items.iter().filter(|record| record.due.is_none()).count();
        let with = |wanted: Outcome| {
            let is = |r: &&dtx::store::TxRecord| r.summary.status == Status::Finished(wanted);
            page.items.iter().filter(is).count() as u64
        };
        committed = with(Outcome::Committed) + with(Outcome::Dispatched);
        assert_eq!(page.items.len() as u64, ORDERS, "each is there once");
        ended as u64 == ORDERS
    })
    .await;
    committed
}

async fn run(pattern: Pattern, seed: u64) -> (u64, Chaos) {
    let memory = World::with(2, 4, InMemoryTransport::new()).memory;
    let (ledger, stock) = (Ledger::on(&memory), Reservations::on(&memory));
    ledger.open_accounts("payment", &[("alice".into(), 10_000)]).await.unwrap();
    stock.open_items("inventory", &[("cd".into(), STOCK)]).await.unwrap();
    let (dtx, chaos) = start(&memory, seed).await;
    chaos.calm(false);
    submit_all(&dtx, pattern).await;
    pass(Duration::from_secs(30)).await;
    chaos.calm(true);
    let committed = end_all(&dtx).await;
    within(dtx.shutdown(LONG)).await;
    for (what, audits, each) in [
        ("money", ledger.audit("payment").await.unwrap(), CENTS),
        ("stock", stock.audit("inventory").await.unwrap(), 1),
    ] {
        let audit = &audits[0].1;
        assert!(audit.is_clean(), "{pattern} {seed} {what}: {audit:?}");
        assert_eq!(audit.pinned, 0, "{pattern} {what}: {audit:?}");
        if pattern != Pattern::FireAndForget {
            let taken = i128::from(committed * each);
            assert_eq!(audit.taken(), taken, "{pattern} {seed} {what}: {audit:?}");
        }
    }
    (committed, chaos)
}

#[tokio::test(start_paused = true)]
async fn every_pattern_stays_sound_while_everything_fails_now_and_then() {
    for pattern in Pattern::ALL {
        let (mut committed, mut faults) = (0, [0; 3]);
        for seed in 1..=3 {
            let (of_run, chaos) = run(pattern, seed).await;
            committed += of_run;
            let counts = chaos.counts();
            faults[0] += counts.failures;
            faults[1] += counts.timeouts;
            faults[2] += counts.cut;
        }
        assert!(committed > 0, "{pattern}: nothing went through");
        assert!(faults.iter().all(|count| *count > 10), "{pattern}: {faults:?}");
    }
}
