//! What operators do with the transactions of a store: with a coordinator in the same process,
//! or with none.

mod access;
mod holds;
mod signal;
mod undo;

pub use access::Operator;
pub(crate) use access::fresh_write_id;
pub use holds::HoldError;
pub(crate) use holds::{held, until_durable};
pub use undo::{UndoError, Undone};
pub(crate) use undo::{UndoPlan, new_id};
