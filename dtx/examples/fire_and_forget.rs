//! 0.5PS: messages that are delivered at least once and that nobody waits for. What cannot be
//! delivered becomes a dead letter and is counted, never dropped silently.
//!
//! `cargo run -p dtx --example fire_and_forget`

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use dtx::{ids::TxId, prelude::*, transaction::RetryPolicy};

/// Counts page views. Unlucky pages fail once, page 13 always.
#[derive(Clone, Default)]
struct CountView {
    seen: Arc<Mutex<BTreeSet<TxId>>>,
}

impl Action for CountView {
    const NAME: &'static str = "count-view";
    type Input = u32;
    type Output = ();
}

impl Deliver for CountView {
    async fn deliver(&self, cx: &mut Context<'_>, page: &u32) -> Answer<()> {
        if *page == 13 || (page % 10 == 3 && cx.attempt() == 1) {
            return Err(NotDone::unknown("the counter is out of order"));
        }
        // A set: at least once means that the same message may come again.
        self.seen.lock().expect("nobody panics with it").insert(cx.tx_id());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let views = CountView::default();
    let folder = tempfile::tempdir()?;
    let store = RedbStore::open(folder.path().join("views.redb")).await?;
    let dtx = Dtx::builder()
        .store(store)
        .transport(InMemoryTransport::new())
        .participant(Participant::new("analytics")?.deliver(views.clone()))
        .start()
        .await?;
    let retry = RetryPolicy { attempts_max: 3, backoff_ms: 5, backoff_ms_max: 20 };
    let mut handles = Vec::new();
    for page in 0..100 {
        let view = OperationDraft::call::<CountView>("analytics", page).retry(retry.clone());
        let view = Transaction::builder(Pattern::FireAndForget).operation(view).build()?;
        handles.push(dtx.submit(view).await?);
    }
    let mut dead_letters = 0;
    for handle in &mut handles {
        // The accept is the verdict: the outcome is there at once.
        assert_eq!(handle.outcome().await?, Outcome::Dispatched);
        handle.finished().await?;
    }
    dtx.drain().await;
    for handle in &handles {
        let record = dtx.get(handle.tx()).await?.expect("it was accepted");
        dead_letters += record.summary.dead_letters;
    }
    assert_eq!(views.seen.lock().expect("nobody panics with it").len(), 99);
    assert_eq!(dead_letters, 1);
    println!("99 delivered, {dead_letters} dead letter");
    dtx.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
