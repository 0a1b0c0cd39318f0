//! A saga with a point of no return: what comes before the pivot can be compensated, what comes
//! after it is retried until it is done. Outputs of earlier steps reach later ones.
//!
//! `cargo run -p dtx --example saga_pivot`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use dtx::prelude::*;

/// Sends the ticket. The printer jams twice.
struct Print {
    jams: Arc<AtomicU32>,
}

impl Action for Print {
    const NAME: &'static str = "print";
    type Input = String;
    type Output = String;
}

impl Execute for Print {
    async fn execute(&self, cx: &mut Context<'_>, guest: &String) -> Answer<String> {
        let seat: u32 = cx.input_of("book")?;
        let jammed = |left: u32| left.checked_sub(1);
        if self.jams.fetch_update(Ordering::SeqCst, Ordering::SeqCst, jammed).is_ok() {
            return Err(NotDone::unknown("the printer is jammed"));
        }
        Ok(format!("{guest}: seat {seat}"))
    }
}

/// Books a seat, and gives it back.
struct Book {
    free: Arc<AtomicU32>,
}

impl Action for Book {
    const NAME: &'static str = "book";
    type Input = String;
    type Output = u32;
}

impl Execute for Book {
    async fn execute(&self, _: &mut Context<'_>, _: &String) -> Answer<u32> {
        Ok(self.free.fetch_sub(1, Ordering::SeqCst))
    }
}

impl Compensate for Book {
    async fn compensate(&self, cx: &mut Context<'_>, _: &String) -> Answer<()> {
        let seat: Option<u32> = cx.forward()?;
        assert!(seat.is_some(), "only what was executed is compensated");
        self.free.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn trip(guest: &str, cents: u64) -> Result<Transaction, Box<dyn std::error::Error>> {
    let fare = Amount { account: guest.to_owned(), cents };
    Ok(Transaction::builder(Pattern::Saga)
        .call::<Book>("seats", guest.to_owned())
        .operation(OperationDraft::call::<Debit>("payment", fare).step(StepKind::Pivot))
        .operation(
            OperationDraft::call::<Print>("printer", guest.to_owned())
                .step(StepKind::Retriable)
                .depends_on(["book", "debit"]),
        )
        .in_sequence()
        .build()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (free, jams) = (Arc::new(AtomicU32::new(10)), Arc::new(AtomicU32::new(2)));
    let folder = tempfile::tempdir()?;
    let store = RedbStore::open(folder.path().join("trips.redb")).await?;
    let ledger = Ledger::on(&store);
    ledger.open_accounts("payment", &[("alice".into(), 500), ("bob".into(), 0)]).await?;
    let dtx = Dtx::builder()
        .store(store)
        .transport(InMemoryTransport::new())
        .participant(Participant::new("seats")?.saga(Book { free: free.clone() }))
        .participant(ledger.participant("payment")?)
        .participant(Participant::new("printer")?.retriable(Print { jams: jams.clone() }))
        .start()
        .await?;

    // After the pivot a failing step is retried: two jams do not turn the saga.
    let outcome = dtx.submit(trip("alice", 300)?).await?.outcome().await?;
    assert_eq!((outcome, jams.load(Ordering::SeqCst)), (Outcome::Committed, 0));
    // The pivot's own no turns it: the seat is given back.
    let outcome = dtx.submit(trip("bob", 300)?).await?.outcome().await?;
    assert_eq!((outcome, free.load(Ordering::SeqCst)), (Outcome::Compensated, 9));
    // A step that must be compensated cannot come after the pivot: found before anything is sent.
    let wrong = Transaction::builder(Pattern::Saga)
        .operation(OperationDraft::new("payment", "debit").step(StepKind::Pivot))
        .call::<Book>("seats", "carol".to_owned())
        .in_sequence()
        .build();
    println!("not built: {}", wrong.expect_err("a compensatable step after the pivot"));
    dtx.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
