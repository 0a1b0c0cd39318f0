//! A strategy of one's own for how long phases may take and what happens then.
//!
//! `cargo run -p dtx --example time_bounds_strategy`

use std::{sync::Arc, time::Duration};

use dtx::{
    modifier::{Expiration, ExpiryStrategy, OnExpiry, PhaseFacts, TimeBounds},
    name::ActionName,
    pattern::Phase,
    prelude::*,
};

/// Half a second to reserve, then the transaction is given up. Everything else as ever.
#[derive(Debug)]
struct Impatient;

impl Expiration for Impatient {
    fn time_to_live(&self, facts: &PhaseFacts) -> Duration {
        match facts.phase {
            Phase::Reserve => facts.with_gate_wait(Duration::from_millis(500)),
            _ => facts.with_gate_wait(facts.base),
        }
    }

    fn on_expiry(&self, facts: &PhaseFacts) -> OnExpiry {
        match facts.phase {
            Phase::Reserve => OnExpiry::Release,
            _ => facts.default_on_expiry(),
        }
    }
}

/// A service that never answers.
struct Sleepy;

impl Action for Sleepy {
    const NAME: &'static str = "sleep";
    type Input = ();
    type Output = ();
}

impl Reserve for Sleepy {
    async fn reserve(&self, _: &mut Context<'_>, _: &()) -> Answer<()> {
        std::future::pending().await
    }

    async fn release(&self, _: &mut Context<'_>, _: &()) -> Answer<()> {
        Ok(())
    }
}

impl Validate for Sleepy {
    async fn validate(&self, _: &mut Context<'_>, _: &()) -> Answer<()> {
        Ok(())
    }
}

impl Execute for Sleepy {
    async fn execute(&self, _: &mut Context<'_>, _: &()) -> Answer<()> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = ActionName::new("impatient")?;
    let mut settings = CoordinatorSettings::default();
    settings.engine.strategies.insert(name.clone(), Arc::new(Impatient));

    let folder = tempfile::tempdir()?;
    let store = RedbStore::open(folder.path().join("shop.redb")).await?;
    let ledger = Ledger::on(&store);
    ledger.open_accounts("payment", &[("alice".into(), 1_000)]).await?;
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(InMemoryTransport::new())
        .settings(settings)
        .participant(ledger.clone().participant("payment")?)
        .participant(Participant::new("sleepy")?.three_phase(Sleepy))
        .start()
        .await?;
    let transaction = |strategy: ExpiryStrategy| {
        Transaction::builder(Pattern::ThreePhaseSaga)
            .call::<Debit>("payment", Amount { account: "alice".into(), cents: 1 })
            .call::<Sleepy>("sleepy", ())
            .time_bounds(TimeBounds { strategy, ..TimeBounds::default() })
            .build()
    };
    let mut handle = dtx.submit(transaction(ExpiryStrategy::Custom(name))?).await?;
    // Ten minutes is the base time of a reserve; nobody waits for that here.
    let outcome = tokio::time::timeout(Duration::from_secs(30), handle.outcome()).await??;
    assert_eq!(outcome, Outcome::Aborted);

    // A name that nobody registered is found before anything is sent.
    let unknown = ExpiryStrategy::Custom(ActionName::new("unheard-of")?);
    let refused = dtx.submit(transaction(unknown)?).await;
    println!("not accepted: {}", refused.expect_err("nobody registered it"));
    dtx.shutdown(Duration::from_secs(5)).await;
    assert_eq!(ledger.audit("payment").await?[0].1.taken(), 0);
    Ok(())
}
