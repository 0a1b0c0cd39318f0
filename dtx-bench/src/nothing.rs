//! Participants that do nothing, with a volatile inbox that is declared as one: what a transaction
//! costs with them, coordinator, store and transport cost alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use dtx_core::{
    answer::Answer,
    pattern::Pattern,
    store::Outcome,
    transaction::{Action, Transaction},
};
use dtx_runtime::{
    coordinator::Dtx,
    participant::{Compensate, Context, Execute, Participant, Prepare, Reserve, Validate},
};
use tokio::task::JoinSet;

/// The action, and its handler in `saga`, `2ps` and `3ps`.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Action for Nothing {
    const NAME: &'static str = "nothing";
    type Input = ();
    type Output = ();
}

impl Execute for Nothing {
    async fn execute(&self, _: &mut Context<'_>, (): &()) -> Answer<()> {
        Ok(())
    }
}

impl Compensate for Nothing {
    async fn compensate(&self, _: &mut Context<'_>, (): &()) -> Answer<()> {
        Ok(())
    }
}

impl Prepare for Nothing {
    async fn prepare(&self, _: &mut Context<'_>, (): &()) -> Answer<()> {
        Ok(())
    }
    async fn cancel(&self, _: &mut Context<'_>, (): &()) -> Answer<()> {
        Ok(())
    }
}

impl Reserve for Nothing {
    async fn reserve(&self, _: &mut Context<'_>, (): &()) -> Answer<()> {
        Ok(())
    }
    async fn release(&self, _: &mut Context<'_>, (): &()) -> Answer<()> {
        Ok(())
    }
}

impl Validate for Nothing {
    async fn validate(&self, _: &mut Context<'_>, (): &()) -> Answer<()> {
        Ok(())
    }
}

/// The names of [`participants`].
pub const PARTICIPANTS: [&str; 3] = ["payment", "inventory", "shipping"];

/// Three of them.
///
/// # Panics
/// Never: the names are valid.
pub fn participants() -> Vec<Participant> {
    let one = |name| {
        let participant = Participant::new(name).expect("a valid name");
        participant.saga(Nothing).two_phase(Nothing).three_phase(Nothing).volatile_inbox()
    };
    PARTICIPANTS.map(one).into()
}

/// A transaction of all three, of `saga`, `2ps` or `3ps`.
///
/// # Panics
/// For another pattern.
pub fn transaction(pattern: Pattern) -> Transaction {
    let mut builder = Transaction::builder(pattern);
    for name in PARTICIPANTS {
        builder = builder.call::<Nothing>(name, ());
    }
    builder.build().expect("a pattern that they take part in")
}

/// Runs so many transactions of [`transaction`] and gives how many ended in a second. So many
/// clients submit at once, each one after the other.
///
/// # Panics
/// When one does not end, or not as `Committed`.
pub async fn rate(dtx: &Arc<Dtx>, pattern: Pattern, count: u64, clients: usize) -> f64 {
    let begun = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    let began = Instant::now();
    for _ in 0..clients {
        let (dtx, begun) = (Arc::clone(dtx), Arc::clone(&begun));
        running.spawn(async move {
            while begun.fetch_add(1, Ordering::Relaxed) < count {
                let mut handle = dtx.submit(transaction(pattern)).await.expect("submitted");
                assert_eq!(handle.outcome().await.expect("an outcome"), Outcome::Committed);
            }
        });
    }
    while let Some(client) = running.join_next().await {
        client.expect("no client panics");
    }
    count as f64 / began.elapsed().as_secs_f64()
}
