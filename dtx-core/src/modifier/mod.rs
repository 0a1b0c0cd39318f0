//! Modifiers: what composes with any pattern that has the phase that they touch.

mod bounds;
mod condition;
mod millis;
mod settings;

pub use bounds::{
    Adaptive, BaseTimes, BoundsSettings, Expiration, Expiry, Fixed, NoSuchPhase, PhaseFacts,
    PhaseProgress, Progressive, Strategies, TIME_TO_LIVE_MIN, expiry, extension,
};
pub(crate) use bounds::{can_do, has_phase};
pub use condition::{Condition, Conditions, Facts, unregistered};
pub(crate) use millis::whole_millis;
pub use settings::{
    Approval, ExpiryStrategy, Modifiers, OnExpiry, TimeBounds, Verification, VerifyWhen,
};
