//! Participants that do nothing, with a volatile inbox that is declared as one.

use dtx::prelude::*;

pub(crate) struct Nothing;

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

pub(crate) const PARTICIPANTS: [&str; 3] = ["payment", "inventory", "shipping"];

pub(crate) fn participants() -> Vec<Participant> {
    let one = |name| {
        Participant::new(name)
            .unwrap()
            .saga(Nothing)
            .two_phase(Nothing)
            .three_phase(Nothing)
            .volatile_inbox()
    };
    PARTICIPANTS.map(one).into()
}

pub(crate) fn transaction(pattern: Pattern) -> Transaction {
    let mut builder = Transaction::builder(pattern);
    for name in PARTICIPANTS {
        builder = builder.call::<Nothing>(name, ());
    }
    builder.build().unwrap()
}
