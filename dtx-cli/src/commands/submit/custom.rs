//! A strategy and a condition of this program's own, under the names by which the modifiers of a
//! file can ask for them.

use std::{sync::Arc, time::Duration};

use dtx::{
    modifier::{Condition, Conditions, Expiration, Facts, OnExpiry, PhaseFacts, Strategies},
    name::ActionName,
};

/// The strategy `patient`: twice the base time.
#[derive(Debug)]
struct Patient;

impl Expiration for Patient {
    fn time_to_live(&self, facts: &PhaseFacts) -> Duration {
        facts.with_gate_wait(facts.base.saturating_mul(2))
    }
    fn on_expiry(&self, facts: &PhaseFacts) -> OnExpiry {
        facts.default_on_expiry()
    }
}

/// The condition `round-amount`: the amount is a whole number of major units.
#[derive(Debug)]
struct RoundAmount;

impl Condition for RoundAmount {
    fn holds(&self, facts: &Facts) -> bool {
        facts.amount % 100 == 0
    }
}

fn name(text: &str) -> ActionName {
    ActionName::new(text).expect("the name is valid")
}

/// The strategies that a file can name.
pub(crate) fn strategies() -> Strategies {
    let patient: Arc<dyn Expiration> = Arc::new(Patient);
    [(name("patient"), patient)].into()
}

/// The conditions that a file can name.
pub(crate) fn conditions() -> Conditions {
    let round: Arc<dyn Condition> = Arc::new(RoundAmount);
    [(name("round-amount"), round)].into()
}
