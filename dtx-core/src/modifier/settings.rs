//! Modifiers as data, a part of the definition. In JSON a duration is a whole number of
//! milliseconds, and the name of its field ends in `_ms`.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{modifier::millis, name::ActionName, pattern::Phase};

/// The modifiers of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Modifiers {
    /// OV: ask the participants for their status at the last gate.
    pub verification: Option<Verification>,
    /// OV: wait at the last gate for a person.
    pub approval: Option<Approval>,
    /// OV: pass the last gate no sooner than this long after the accept.
    #[serde(rename = "execute_after_ms", with = "millis::option")]
    pub execute_after: Option<Duration>,
    /// TBS: how long each phase may take, and what happens then.
    pub time_bounds: Option<TimeBounds>,
}

impl Modifiers {
    /// Whether nothing is modified.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How long the transaction may wait at the last gate at the most: for the approval and for
    /// the delayed execution.
    pub fn gate_wait(&self) -> Duration {
        let approval = self.approval.as_ref().map_or(Duration::ZERO, |approval| approval.timeout);
        approval.saturating_add(self.execute_after.unwrap_or(Duration::ZERO))
    }
}

/// OV: whether the participants are asked for their status before the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// When to ask.
    pub when: VerifyWhen,
    /// The number that `AmountOver` looks at, in the transaction's own minor units.
    #[serde(default)]
    pub amount: i64,
}

/// When a verification takes place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyWhen {
    /// Always.
    Always,
    /// When the transaction's amount is over this.
    AmountOver(i64),
    /// When more than this has passed since the accept.
    #[serde(rename = "elapsed_over_ms", with = "millis")]
    ElapsedOver(Duration),
    /// When the coordinator has more than this share of its capacity in flight, in percent.
    LoadOver(u8),
    /// When more than this many of the last hundred transactions did not commit.
    RecentFailuresOver(u8),
    /// What a condition that was registered under this name says.
    Custom(ActionName),
}

/// OV: a person must agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// How long to wait; afterwards the transaction goes back.
    #[serde(rename = "timeout_ms", with = "millis")]
    pub timeout: Duration,
}

/// TBS: how long phases may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeBounds {
    /// Turns the base time into the time that a phase gets.
    pub strategy: ExpiryStrategy,
    /// Base times that replace those of the table.
    #[serde(rename = "base_ms", with = "millis::map")]
    pub base: BTreeMap<Phase, Duration>,
    /// What happens when a phase expires; `None` leaves it to the strategy.
    pub on_expiry: Option<OnExpiry>,
    /// How often a phase may be extended; `None` means three times.
    pub extensions_max: Option<u8>,
}

/// TBS: how the time of a phase is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Go back: by the verdict `Abort`, or by `Turned` where the pattern goes back by that one.
    Abort,
    /// 2PS: go back; what was prepared is cancelled.
    Cancel,
    /// 3PS: go back; what was reserved is released.
    Release,
    /// Ask the participants for their status, then decide.
    Ask,
    /// Go on sending.
    Retry,
    /// Stop and wait for an operator.
    Attention,
}
