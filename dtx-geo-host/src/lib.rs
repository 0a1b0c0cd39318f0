//! Regional pools as durable services, and transports over regions.
//!
//! A pool region of [`dtx_geo::pool`] decides and does nothing. A [`PoolNode`] drives one: it
//! keeps its writes as rows of a [`ParticipantStore`](dtx_core::store::ParticipantStore), carries
//! its messages over a [`Transport`](dtx_core::transport::Transport), and tells it the time.
//! [`TakeFromPool`] offers pools to transactions: reserve, validate, execute and release of a
//! three-phase saga.
//!
//! [`RegionalTransport`] joins the brokers of several regions to one transport.
//!
//! Nothing is sent and nothing is answered before what it rests on has landed, and every write
//! expects the version of the one before it: of two processes that drive the same region of the
//! same pool one can write, and the other one finds that out by its next write. No clock and no
//! lease decides that.
#![forbid(unsafe_code)]

mod action;
mod asks;
mod dispatch;
mod driver;
mod error;
mod handle;
mod node;
mod peers;
mod regional;
mod rows;
mod settings;
mod spec;

pub use action::{PoolSold, PoolUnits, Pools, TakeFromPool};
pub use error::PoolError;
pub use handle::{PoolHandle, PoolState, Told};
pub use node::PoolNode;
pub use regional::{
    Directory, RegionalBuilder, RegionalError, RegionalSettings, RegionalSettingsError,
    RegionalStats, RegionalTransport,
};
pub use settings::{PoolNodeSettings, PoolNodeSettingsError};
pub use spec::{PoolSpec, PoolSpecError};
