//! In which regions data should lie, and from where a transaction is carried out.
//!
//! [`replicas`] chooses the regions that bring a demand nearest to its data, says how far the
//! choice can be from the best one, and proves that it is the best wherever it can. [`PlanMap`]
//! says how one transaction is carried out over data that lies in several regions.

mod bound;
mod delays;
mod durability;
mod keep;
mod kinds;
mod latency;
mod map;
mod money;
mod offer;
mod remaster;
mod replica_set;
mod risk;
mod search;
mod transaction;

pub use durability::{Durability, Quorum};
pub use keep::{GAIN_MIN, Keeper, LOOKS};
pub use map::PlanMap;
pub use money::Transfer;
pub use offer::{Criterion, Market, Offer};
pub use remaster::{HomeMove, Remaster};
pub use replica_set::{REPLICAS_MAX, ReplicaSet, ReplicaSetError, replicas};
pub use risk::{Risk, RiskError};
pub use search::NODES_MAX;
pub use transaction::{
    DataOperation, Kind, Mode, OPERATIONS_MAX, PlanError, ROUNDS_MAX, Shape, TransactionPlan,
};
