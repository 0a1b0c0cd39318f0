//! Resources: pure functions from rows, time and commands to rows and answers.
//!
//! [`barrier`] is the memory of a participant and is used for users' handlers too. The built-in
//! participants are [`Reservations`], [`Ledger`] and [`Locks`]; [`plan`] puts their rows, the
//! inbox rows and a batch of commands together into one write.

pub mod barrier;
mod codec;
mod contract;
mod holds;
mod ledger;
mod locks;
mod pool;
mod reservations;
mod reversals;
mod run;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use codec::ROW_VERSION;
pub use contract::{DamagedRow, ReadRows, Resource, ScopeState, StatusOutput, StatusState};
pub use holds::{HoldSettings, HoldSettingsError};
pub use ledger::{Amount, Credit, Debit, Ledger};
pub use locks::{LOCK_SHARES, Lock, LockKey, Locks};
pub use pool::{
    Audit, ClaimFacts, EffectRow, ExtendError, LEVEL_MAX, NAME_MAX, OpenError, PoolFacts,
    PoolOutput, audit,
};
pub use reservations::{PutBack, Reservations, Take, Units};
pub use reversals::reversals;
pub use run::{Plan, Work, plan, read_keys, route};
