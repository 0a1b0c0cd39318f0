//! The shard engine: everything a coordinator decides, without doing any I/O.
//!
//! One [`ShardEngine`] holds the open transactions of one shard. It takes [`Input`]s and gives
//! [`Outputs`]: writes, commands, loads and notices. The same engine runs under tokio and under
//! the simulator; recovery is the same loop fed from the store. It never reads a clock: time
//! arrives in the [`Context`].

mod digest;
mod gate;
mod inquiry;
mod open;
mod output;
mod peers;
mod send;
mod settings;
mod shard;
mod signal;
mod state;
mod timeline;
mod write;

pub use inquiry::{InquiryStep, answer_inquiry};
pub use output::{Context, Input, Notice, Outputs, Refused};
pub use peers::{Breaker, Peers};
pub use settings::{EngineSettings, SettingsError};
pub use shard::ShardEngine;
pub use signal::{Signal, SignalEntry, SignalStep, signal_write};
pub use state::StoredState;
