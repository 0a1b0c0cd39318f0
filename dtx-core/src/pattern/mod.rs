//! The patterns: what they are called, which phases they have, and the machine that runs them.
//!
//! Each pattern is a table, at the top of its own file; [`machine`] is the one interpreter of all
//! of them. Nothing in here reads a clock, draws a number, waits or does I/O.

pub mod critical_eventual;
pub mod fire_and_forget;
mod kind;
pub mod machine;
mod progress;
mod run;
pub mod saga;
pub mod table;
pub mod tables;
pub mod three_phase_saga;
pub mod two_phase_commit;
pub mod two_phase_saga;

pub use kind::{Pattern, Phase, UnknownPattern};
pub use machine::{Effect, Event, Heard, Machine, Step, UndefinedTransition, step};
pub use progress::{Mark, Progress, Undo};
#[doc(hidden)]
pub use run::Fired;
pub use table::State;
