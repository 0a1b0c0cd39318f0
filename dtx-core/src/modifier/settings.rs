//! Modifiers as data, a part of the definition.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{name::ActionName, pattern::Phase};

/// The modifiers of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Modifiers {
    /// OV: ask the participants for their status at the last gate.
    pub verification: Option<Verification>,
    /// OV: wait at the last gate for a person.
    pub approval: Option<Approval>,
    /// OV: pass the last gate no sooner than this long after the accept.
    pub execute_after: Option<Duration>,
    /// TBS: how long each phase may take, and what happens then.
    pub time_bounds: Option<TimeBounds>,
}

/// OV: whether the participants are asked for their status before the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// When to ask.
    pub when: VerifyWhen,
    /// The number that `AmountOver` looks at, in the transaction's own minor units.
    #[serde(default)]
    pub amount: i64,
}

/// When a verification takes place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyWhen {
    /// Always.
    Always,
    /// When the transaction's amount is over this.
    AmountOver(i64),
    /// When more than this has passed since the accept.
    ElapsedOver(Duration),
    /// When the coordinator has more than this share of its capacity in flight, in percent.
    LoadOver(u8),
    /// When more than this many of the last hundred transactions did not commit.
    RecentFailuresOver(u8),
    /// What a condition that was registered under this name says.
    Custom(ActionName),
}

/// OV: a person must agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// How long to wait; afterwards the transaction goes back.
    pub timeout: Duration,
}

/// TBS: how long phases may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeBounds {
    /// Turns the base time into the time that a phase gets.
    pub strategy: ExpiryStrategy,
    /// Base times that replace those of the table.
    pub base: BTreeMap<Phase, Duration>,
    /// What happens when a phase expires; `None` leaves it to the strategy.
    pub on_expiry: Option<OnExpiry>,
    /// How often a phase may be extended; `None` means three times.
    pub extensions_max: Option<u8>,
}

/// TBS: how the time of a phase is computed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryStrategy {
    /// The base time.
    #[default]
    Fixed,
    /// More with every extension.
    Progressive,
    /// Less under load.
    Adaptive,
    /// What a strategy that was registered under this name says.
    Custom(ActionName),
}

/// TBS: what happens when a phase has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// Go back by the verdict `Abort`.
    Abort,
    /// Go back; what was prepared is cancelled.
    Cancel,
    /// Go back; what was reserved is released.
    Release,
    /// Ask the participants for their status, then decide.
    Ask,
    /// Go on sending.
    Retry,
    /// Stop and wait for an operator.
    Attention,
}
