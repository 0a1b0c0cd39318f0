//! Three regions of a pool, each a process of its own with a store of its own and a broker of its
//! own. What one says to another goes through a proxy that holds it up for half a round trip of
//! the shipped map, and that can be cut.
#![allow(missing_docs)]

mod broker;
mod checkout;
mod child;
mod cut;
mod hanging;
mod kill;
mod lease;
mod plan;
mod process;
mod proxy;
mod reach;
mod sales;
mod stores;
mod world;
