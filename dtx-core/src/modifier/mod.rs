//! Modifiers: what composes with any pattern that has the phase that they touch.

mod settings;

pub use settings::{
    Approval, ExpiryStrategy, Modifiers, OnExpiry, TimeBounds, Verification, VerifyWhen,
};
