//! The way to the servers: one, or the masters of a cluster.

mod node;
mod send;
mod topology;

pub(crate) use node::{COMMITS_AT_ONCE, Node, Timeouts};
pub(crate) use send::{Link, Request, Writes};
