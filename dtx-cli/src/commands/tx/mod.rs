//! `dtx tx`: looks at the transactions of a store and moves them, also while another process runs
//! on it.

mod args;
mod list;
mod resolve;
mod show;
mod source;
mod undo;

pub(crate) use args::{TxArgs, tx};
pub(crate) use source::{DURABLE_ONLY, open};
