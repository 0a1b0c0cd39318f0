//! An operator's tools: a transaction that cannot go back is looked at, moved with a reason, and
//! listed with its history; another one that was committed is undone.

use std::time::Duration;

use dtx::{
    engine::Signal,
    prelude::*,
    store::{Filter, JournalEvent, Status as Standing},
    transaction::RetryPolicy,
};

/// A mail that can be sent and, today, cannot be called back.
struct Mail;

impl Action for Mail {
    const NAME: &'static str = "mail";
    type Input = String;
    type Output = ();
}

impl Execute for Mail {
    async fn execute(&self, _: &mut Context<'_>, text: &String) -> Answer<()> {
        println!("sent: {text}");
        Ok(())
    }
}

impl Compensate for Mail {
    async fn compensate(&self, _: &mut Context<'_>, _: &String) -> Answer<()> {
        Err(NotDone::unknown("the mail server is down"))
    }
}

fn pay(cents: u64) -> OperationDraft {
    let amount = Amount { account: "alice".into(), cents };
    OperationDraft::call::<Debit>("payment", amount)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let ledger = Ledger::on(&store);
    ledger.open_accounts("payment", &[("alice".into(), 1_000)]).await?;
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(InMemoryTransport::new())
        .participant(Ledger::on(&store).participant("payment")?)
        .participant(Participant::new("mail")?.saga(Mail))
        .allow_volatile()
        .start()
        .await?;

    // Alice cannot pay, so the mail is to be taken back, which fails until nobody tries any more.
    let retry = RetryPolicy { attempts_max: 2, backoff_ms: 1, backoff_ms_max: 1 };
    let mail = OperationDraft::call::<Mail>("mail", "your order is on its way".into()).retry(retry);
    let order = Transaction::builder(Pattern::Saga).operation(mail).operation(pay(5_000));
    let mut order = dtx.submit(order.in_sequence().build()?).await?;
    let stuck = Filter { status: Some(Standing::NeedsAttention), ..Filter::default() };
    while dtx.list(&stuck).await?.items.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for legal in dtx.moves(order.tx()).await? {
        println!("{:16} {}", legal.verb, legal.effect);
    }
    let mail = dtx::ids::OperationIndex(0);
    dtx.signal(order.tx(), Signal::Skip(mail), "ann", "the customer was called").await?;
    println!("ended: {}", order.finished().await?);
    for entry in dtx.history(order.tx()).await? {
        if let JournalEvent::Exception(what) = &entry.event {
            println!("exception: {what}");
        }
        if let JournalEvent::Signalled(what) = &entry.event {
            println!("move: {what}");
        }
    }

    let paid = Transaction::builder(Pattern::Saga).operation(pay(300)).build()?;
    let mut paid = dtx.submit(paid).await?;
    assert_eq!(paid.finished().await?, Outcome::Committed);
    let mut undo = dtx.undo(paid.tx(), "ann", "the goods came back").await?;
    println!("undone by {}: {}", undo.tx(), undo.finished().await?);
    assert_eq!(ledger.audit("payment").await?[0].1.level, 1_000);
    dtx.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
