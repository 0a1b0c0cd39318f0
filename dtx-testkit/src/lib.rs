//! Conformance suites for stores and transports: one macro line per backend runs all of a suite's
//! cases, so that no backend can leave one out. And a layer of faults around real stores,
//! transports and participants ([`chaos`]).
#![forbid(unsafe_code)]

pub mod cancel;
pub mod chaos;
pub mod linear;
pub mod participant;
pub mod store;
pub mod transport;
