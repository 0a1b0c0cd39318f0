//! The owner's local socket: how operators of other processes write to a file that has an owner.
//!
//! The socket lies beside the file (`shop.redb.sock` for `shop.redb`), for its user alone (mode
//! 0600). It takes what needs no lease: signals, accepts, and the operators' own rows. Messages
//! are framed, bounded in size, answered one at a time, and each connection is bounded too.

mod client;
mod server;
mod wire;

pub use client::RedbOwner;
pub(crate) use server::OwnerSocket;
pub use wire::{MESSAGE_BYTES_MAX, OwnerInfo};
