//! `dtx tx`: looks at the transactions of a store, also while another process runs on it.

mod args;
mod list;
mod show;
mod source;

pub(crate) use args::{TxArgs, tx};
