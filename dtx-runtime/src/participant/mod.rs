//! Participants: what a service offers, and the host that serves it.

mod builder;
mod builtin;
mod context;
mod host;
mod offer;
mod offering;
mod phases;
mod settings;
mod span;
mod unit;

pub use builder::{Participant, ParticipantError};
pub use builtin::{BuiltinError, OnStore, OnStoreOf};
pub use context::Context;
pub use host::{DeadLetter, Host, HostError, HostHandle, HostReport, HostStats};
pub use offer::Capability;
pub use phases::{
    Compensate, Deliver, Execute, Handled, Prepare, Reserve, Status, TwoPhaseCommit, Validate, Vote,
};
pub use settings::{HostSettings, SettingsError};
pub use unit::UnitParticipant;

pub use dtx_core::store::{Detached, Unit};
