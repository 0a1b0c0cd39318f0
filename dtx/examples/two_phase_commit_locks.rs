//! 2PC with a lock on a key: all or nothing. Rivals queue for the lock, and a vote against takes
//! everything back.
//!
//! `cargo run -p dtx --example two_phase_commit_locks`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use dtx::prelude::*;

/// Changes a document.
#[derive(Clone, Default)]
struct Edit {
    edits: Arc<AtomicU32>,
}

impl Action for Edit {
    const NAME: &'static str = "edit";
    type Input = String;
    type Output = ();
}

impl TwoPhaseCommit for Edit {
    async fn prepare(&self, _: &mut Context<'_>, text: &String) -> Answer<Vote> {
        if text.is_empty() { rejected("nothing to write") } else { Ok(Vote::Commit) }
    }

    async fn commit(&self, _: &mut Context<'_>, _: &String) -> Answer<()> {
        self.edits.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn abort(&self, _: &mut Context<'_>, _: &String) -> Answer<()> {
        Ok(())
    }
}

fn edit(text: &str) -> Result<Transaction, Box<dyn std::error::Error>> {
    let key = LockKey { key: "chapter-1".into(), shared: false };
    Ok(Transaction::builder(Pattern::TwoPhaseCommit)
        .call::<Lock>("locks", key)
        .call::<Edit>("documents", text.to_owned())
        .build()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let documents = Edit::default();
    let folder = tempfile::tempdir()?;
    let store = RedbStore::open(folder.path().join("documents.redb")).await?;
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(InMemoryTransport::new())
        .participant(Locks::on(&store).participant("locks")?)
        .participant(Participant::new("documents")?.two_phase_commit(documents.clone()))
        .start()
        .await?;
    let mut rivals = Vec::new();
    for writer in 0..8 {
        rivals.push(dtx.submit(edit(&format!("by writer {writer}"))?).await?);
    }
    // A busy lock is no refusal: each waits for its turn.
    for rival in &mut rivals {
        assert_eq!(rival.finished().await?, Outcome::Committed);
    }
    // One vote against, and nothing happens anywhere: the lock is free again.
    assert_eq!(dtx.submit(edit("")?).await?.finished().await?, Outcome::Aborted);
    assert_eq!(dtx.submit(edit("once more")?).await?.finished().await?, Outcome::Committed);
    assert_eq!(documents.edits.load(Ordering::SeqCst), 9);
    dtx.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
