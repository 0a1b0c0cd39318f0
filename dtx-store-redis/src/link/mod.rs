//! The way to the servers: one, or the masters of a cluster.

mod node;
mod send;
mod topology;

pub(crate) use node::{Node, Timeouts};
pub(crate) use send::{Link, Request, Writes};
