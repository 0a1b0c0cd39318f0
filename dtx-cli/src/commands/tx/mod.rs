//! `dtx tx`: looks at the transactions of a store, also while another process runs on it.

mod args;
mod list;
mod show;
mod source;
mod words;

pub(crate) use args::{TxArgs, tx};
