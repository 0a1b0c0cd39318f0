//! Participants that do nothing, with a volatile inbox that is declared as one: what a transaction
//! costs with them, coordinator, store and transport cost alone.

use dtx_core::{
    answer::Answer,
    pattern::Pattern,
    transaction::{Action, Transaction},
};
use dtx_runtime::participant::{
    Compensate, Context, Execute, Participant, Prepare, Reserve, Validate,
};

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
