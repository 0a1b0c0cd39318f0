//! Conformance suites for stores and transports: one macro line per backend runs all of a suite's
//! cases, so that no backend can leave one out. And a layer of faults around real stores,
//! transports and participants ([`chaos`]). With the feature `servers` also real servers for tests.
#![forbid(unsafe_code)]

pub mod cancel;
pub mod chaos;
#[cfg(feature = "servers")]
pub mod servers;
pub mod store;
pub mod transport;
