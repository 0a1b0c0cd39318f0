//! The shard engine: everything a coordinator decides, without doing any I/O.
//!
//! One [`ShardEngine`] holds the open transactions of one shard. It takes [`Input`]s and gives
//! [`Outputs`]: writes, commands, loads and notices. The same engine runs under tokio and under
//! the simulator; recovery is the same loop fed from the store. It never reads a clock: time
//! arrives in the [`Context`].

mod accept;
mod digest;
mod gate;
mod healing;
mod hold;
mod inquiry;
mod members;
mod moves;
mod open;
mod operate;
mod output;
mod peers;
mod placement;
mod readable;
mod send;
mod settings;
mod shard;
mod signal;
mod state;
mod timeline;
mod write;

pub use accept::accept_write;
pub use healing::{Condition, HEALER, HealSettings, examine, next_pause};
pub use hold::{
    HOLD_MOVES_MAX, Hold, HoldMove, HoldStep, hold_of, hold_read, hold_scope, hold_write,
};
pub use inquiry::{InquiryStep, answer_inquiry};
pub use members::{
    Member, forget_member, member_of, member_read, member_scope, member_write, share, surplus,
};
pub use moves::{Move, UnknownVerb, Verb, legal_moves};
pub use output::{Context, Input, Notice, Outputs, Refused};
pub use peers::{Breaker, Peers};
pub use placement::Placement;
pub use readable::{Unreadable, readable};
pub use settings::{EngineSettings, SettingsError};
pub use shard::ShardEngine;
pub use signal::{Signal, SignalEntry, SignalStep, signal_write};
pub use state::StoredState;
