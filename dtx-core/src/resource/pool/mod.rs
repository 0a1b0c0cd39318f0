//! A pool: a quantity that is taken from and added to, with claims on it. One row holds all of
//! it, so that every change of one item or account is serialised; every change of the quantity
//! appends an effect row. Stock and money are both pools.

mod admin;
mod audit;
mod facts;
mod row;
mod state;

pub use admin::OpenError;
pub use audit::{Audit, audit};
pub use facts::{ClaimFacts, PoolFacts};
pub use row::{EffectRow, LEVEL_MAX, NAME_MAX, PoolOutput};

pub(super) use admin::{extend, open};
pub(super) use row::{pool_key, scope_of};
pub(super) use state::{PoolState, Terms};

pub use super::holds::ExtendError;
