//! 1.5PS: the caller waits for the critical part only; the eventual part follows. Each operation
//! says how strictly it belongs to the transaction.
//!
//! `cargo run -p dtx --example critical_eventual`

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dtx::prelude::*;

/// Sends a mail. The server answers the first time with an error.
#[derive(Clone, Default)]
struct SendMail {
    sent: Arc<Mutex<Vec<String>>>,
}

impl Action for SendMail {
    const NAME: &'static str = "send-mail";
    type Input = String;
    type Output = ();
}

impl Deliver for SendMail {
    async fn deliver(&self, cx: &mut Context<'_>, text: &String) -> Answer<()> {
        if cx.attempt() == 1 {
            return Err(NotDone::unknown("the mail server is busy"));
        }
        self.sent.lock().expect("nobody panics with it").push(text.clone());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mail = SendMail::default();
    let folder = tempfile::tempdir()?;
    let store = RedbStore::open(folder.path().join("shop.redb")).await?;
    let ledger = Ledger::on(&store);
    ledger.open_accounts("payment", &[("alice".into(), 1_000)]).await?;
    let dtx = Dtx::builder()
        .store(store)
        .transport(InMemoryTransport::new())
        .participant(ledger.participant("payment")?)
        .participant(Participant::new("mail")?.deliver(mail.clone()))
        .start()
        .await?;
    let text = "thank you".to_owned();
    let checkout = |cents| {
        Transaction::builder(Pattern::CriticalEventual)
            .call::<Debit>("payment", Amount { account: "alice".into(), cents })
            .operation(
                OperationDraft::call::<SendMail>("mail", text.clone())
                    .consistency(Consistency::Eventual),
            )
            .build()
    };
    // `outcome` waits for the payment, `finished` for the mail as well.
    let mut handle = dtx.submit(checkout(300)?).await?;
    assert_eq!(handle.outcome().await?, Outcome::Committed);
    handle.finished().await?;
    assert_eq!(mail.sent.lock().expect("nobody panics with it").as_slice(), ["thank you"]);

    // Without the critical part nothing is delivered.
    assert_eq!(dtx.submit(checkout(5_000)?).await?.finished().await?, Outcome::Aborted);
    assert_eq!(mail.sent.lock().expect("nobody panics with it").len(), 1);
    dtx.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
