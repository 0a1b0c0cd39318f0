//! A participant over an API that the user already has, in a three-phase transaction with a
//! built-in one. An error of the API is never taken for a no.
//!
//! `cargo run -p dtx --example own_participant`

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use dtx::prelude::*;
use serde::{Deserialize, Serialize};

/// A carrier's API with idempotency keys. One van a day.
#[derive(Clone, Default)]
struct Carrier {
    holds: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Carrier {
    async fn hold(&self, key: &str, day: &str, _for: Option<Duration>) -> io::Result<bool> {
        let mut holds = self.holds.lock().map_err(|_| io::Error::other("the carrier is down"))?;
        if holds.iter().any(|(other, held)| held == day && other != key) {
            return Ok(false);
        }
        holds.insert(key.to_owned(), day.to_owned());
        Ok(true)
    }

    async fn has(&self, key: &str) -> io::Result<bool> {
        let holds = self.holds.lock().map_err(|_| io::Error::other("the carrier is down"))?;
        Ok(holds.contains_key(key))
    }

    async fn free(&self, key: &str) -> io::Result<()> {
        let mut holds = self.holds.lock().map_err(|_| io::Error::other("the carrier is down"))?;
        holds.remove(key);
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Slot {
    day: String,
}

struct BookSlot {
    carrier: Carrier,
}

impl Action for BookSlot {
    const NAME: &'static str = "book-slot";
    type Input = Slot;
    type Output = String;
}

impl Reserve for BookSlot {
    async fn reserve(&self, cx: &mut Context<'_>, slot: &Slot) -> Answer<()> {
        // `?` makes `Unknown` of an error: it may or may not have happened.
        let held = self.carrier.hold(cx.operation_key(), &slot.day, cx.ttl()).await?;
        if held { Ok(()) } else { rejected("no slot left") }
    }

    async fn release(&self, cx: &mut Context<'_>, _: &Slot) -> Answer<()> {
        Ok(self.carrier.free(cx.operation_key()).await?)
    }
}

impl Validate for BookSlot {
    async fn validate(&self, cx: &mut Context<'_>, _: &Slot) -> Answer<()> {
        // This carrier's holds do not end by themselves, so there is nothing to pin.
        if self.carrier.has(cx.operation_key()).await? { Ok(()) } else { rejected("it is gone") }
    }
}

impl Execute for BookSlot {
    async fn execute(&self, cx: &mut Context<'_>, slot: &Slot) -> Answer<String> {
        Ok(format!("{} for {}", slot.day, cx.operation_key()))
    }
}

fn checkout(key: &str) -> Result<Transaction, Box<dyn std::error::Error>> {
    Ok(Transaction::builder(Pattern::ThreePhaseSaga)
        .key(key)
        .call::<Debit>("payment", Amount { account: "alice".into(), cents: 100 })
        .call::<BookSlot>("shipping", Slot { day: "2026-12-01".into() })
        .build()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let carrier = Carrier::default();
    let folder = tempfile::tempdir()?;
    let store = RedbStore::open(folder.path().join("shop.redb")).await?;
    let ledger = Ledger::on(&store);
    ledger.open_accounts("payment", &[("alice".into(), 1_000)]).await?;
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(InMemoryTransport::new())
        .participant(ledger.clone().participant("payment")?)
        .participant(
            Participant::new("shipping")?.three_phase(BookSlot { carrier: carrier.clone() }),
        )
        .start()
        .await?;
    assert_eq!(dtx.submit(checkout("order-1")?).await?.finished().await?, Outcome::Committed);
    // The van is full: nothing executes, also not the payment.
    assert_eq!(dtx.submit(checkout("order-2")?).await?.finished().await?, Outcome::Aborted);
    // The same key is the same transaction: nothing happens a second time.
    let mut again = dtx.submit(checkout("order-1")?).await?;
    assert!(!again.is_new());
    assert_eq!(again.outcome().await?, Outcome::Committed);

    // A phase that a participant does not offer is found before anything is sent.
    let wrong = Transaction::builder(Pattern::TwoPhaseCommit)
        .call::<BookSlot>("shipping", Slot { day: "2026-12-02".into() })
        .build()?;
    println!("not accepted: {}", dtx.submit(wrong).await.expect_err("there is no prepare"));

    dtx.shutdown(Duration::from_secs(5)).await;
    assert_eq!(carrier.holds.lock().expect("nobody panics with it").len(), 1);
    assert_eq!(ledger.audit("payment").await?[0].1.taken(), 100);
    Ok(())
}
