//! Regions of a pool over stores and a transport, under a virtual clock.
#![allow(missing_docs)]

mod chaos;
mod checkout;
mod conformance;
mod crash;
mod link;
mod nodes;
mod redb;
mod regional;
mod store;
mod watch;
mod world;
