//! The coordinator: drives the shard engines of `dtx-core` under tokio.

mod balance;
mod begin_in;
mod builder;
mod clock;
mod crash_points;
mod dtx;
mod error;
mod handle;
mod heal;
mod inquiries;
mod lane;
mod lanes;
mod leases;
mod operate;
mod outbox;
mod receive;
mod resume;
mod settings;
mod stats;
mod stop;
mod waiters;

pub use builder::{DtxBuilder, Store};
pub use dtx::{Dtx, DtxInfo};
pub use error::{OutcomeError, SignalError, StartError, SubmitError};
pub use handle::Handle;
pub use heal::{Found, HealReport, Quarantined};
pub use settings::CoordinatorSettings;
pub use stats::CoordinatorStats;
pub use stop::DrainReport;
pub use waiters::TxEvent;
