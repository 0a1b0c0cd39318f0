//! Conformance suites for stores, transports and participants: one macro line runs all of a
//! suite's cases, so that nobody can leave one out. Histories of several processes, checked for
//! linearizability ([`linear`]). And a layer of faults around real stores,
//! transports and participants ([`chaos`]). With the feature `servers` also real servers for tests.
#![forbid(unsafe_code)]

pub mod cancel;
pub mod chaos;
pub mod contract;
pub mod linear;
pub mod parked;
pub mod participant;
#[cfg(feature = "servers")]
pub mod servers;
pub mod store;
pub mod transport;
