//! OV: when the participants are asked before the verdict. Pure: whoever asks hands in what is
//! known at that moment.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use crate::{
    modifier::{ExpiryStrategy, Modifiers, Strategies, VerifyWhen},
    name::ActionName,
};

/// What is known when a transaction comes to its last gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The transaction's amount in its own minor units.
    pub amount: i64,
    /// The time since its accept.
    pub elapsed: Duration,
    /// How much of the coordinator's capacity is in flight, from 0 to 100.
    pub load_percent: u8,
    /// How many of the last hundred transactions did not commit.
    pub recent_failures_percent: u8,
}

/// A condition of one's own, used as [`VerifyWhen::Custom`] under the name that it was
/// registered with. It must not block, and the same facts must give the same answer.
pub trait Condition: Debug + Send + Sync + 'static {
    /// Whether the participants are asked.
    fn holds(&self, facts: &Facts) -> bool;
}

/// The registered conditions by name.
pub type Conditions = BTreeMap<ActionName, Arc<dyn Condition>>;

impl VerifyWhen {
    /// Whether the participants are asked. A condition that is not registered holds, because to
    /// ask in vain is only slower.
    pub fn holds(&self, facts: &Facts, conditions: &Conditions) -> bool {
        match self {
            Self::Always => true,
            Self::AmountOver(limit) => facts.amount > *limit,
            Self::ElapsedOver(limit) => facts.elapsed > *limit,
            Self::LoadOver(limit) => facts.load_percent > *limit,
            Self::RecentFailuresOver(limit) => facts.recent_failures_percent > *limit,
            Self::Custom(name) => {
                conditions.get(name).is_none_or(|condition| condition.holds(facts))
            }
        }
    }
}

/// The name of a strategy or condition that the modifiers use and nobody registered. Whoever
/// takes transactions in refuses such a one; a stored one goes on with the defaults.
pub fn unregistered<'a>(
    modifiers: &'a Modifiers,
    strategies: &Strategies,
    conditions: &Conditions,
) -> Option<&'a ActionName> {
    if let Some(VerifyWhen::Custom(name)) = modifiers.verification.as_ref().map(|ov| &ov.when)
        && !conditions.contains_key(name)
    {
        return Some(name);
    }
    if let Some(ExpiryStrategy::Custom(name)) =
        modifiers.time_bounds.as_ref().map(|bounds| &bounds.strategy)
        && !strategies.contains_key(name)
    {
        return Some(name);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modifier::{TimeBounds, Verification};

    #[derive(Debug)]
    struct RoundAmount;
    impl Condition for RoundAmount {
        fn holds(&self, facts: &Facts) -> bool {
            facts.amount % 100 == 0
        }
    }

    fn name(text: &str) -> ActionName {
        ActionName::new(text).expect("a name")
    }

    #[test]
    fn each_condition_begins_to_hold_one_past_its_limit() {
        let facts = Facts {
            amount: 500,
            elapsed: Duration::from_millis(500),
            load_percent: 50,
            recent_failures_percent: 5,
        };
        let none = Conditions::new();
        for (when, holds) in [
            (VerifyWhen::Always, true),
            (VerifyWhen::AmountOver(499), true),
            (VerifyWhen::AmountOver(500), false),
            (VerifyWhen::ElapsedOver(Duration::from_millis(499)), true),
            (VerifyWhen::ElapsedOver(Duration::from_millis(500)), false),
            (VerifyWhen::LoadOver(49), true),
            (VerifyWhen::LoadOver(50), false),
            (VerifyWhen::RecentFailuresOver(4), true),
            (VerifyWhen::RecentFailuresOver(5), false),
        ] {
            assert_eq!(when.holds(&facts, &none), holds, "{when:?}");
        }
    }

    #[test]
    fn a_custom_condition_decides_and_an_unknown_one_holds() {
        let conditions: Conditions =
            [(name("round"), Arc::new(RoundAmount) as Arc<dyn Condition>)].into();
        let facts = Facts { amount: 101, ..Facts::default() };
        assert!(!VerifyWhen::Custom(name("round")).holds(&facts, &conditions));
        let facts = Facts { amount: 100, ..Facts::default() };
        assert!(VerifyWhen::Custom(name("round")).holds(&facts, &conditions));
        let facts = Facts { amount: 101, ..Facts::default() };
        assert!(VerifyWhen::Custom(name("gone")).holds(&facts, &conditions));
    }

    #[test]
    fn what_nobody_registered_is_named() {
        let mut modifiers = Modifiers {
            verification: Some(Verification { when: VerifyWhen::Always, amount: 0 }),
            ..Modifiers::default()
        };
        let none = (Strategies::new(), Conditions::new());
        assert_eq!(unregistered(&modifiers, &none.0, &none.1), None);
        modifiers.time_bounds = Some(TimeBounds {
            strategy: ExpiryStrategy::Custom(name("mine")),
            ..TimeBounds::default()
        });
        assert_eq!(unregistered(&modifiers, &none.0, &none.1), Some(&name("mine")));
        modifiers.verification =
            Some(Verification { when: VerifyWhen::Custom(name("round")), amount: 0 });
        assert_eq!(unregistered(&modifiers, &none.0, &none.1), Some(&name("round")));
        let conditions: Conditions =
            [(name("round"), Arc::new(RoundAmount) as Arc<dyn Condition>)].into();
        assert_eq!(unregistered(&modifiers, &none.0, &conditions), Some(&name("mine")));
    }
}
