//! Conformance suites for stores and transports. One macro line per backend runs all of a
//! suite's cases, so that no backend can leave one out.
#![forbid(unsafe_code)]

pub mod cancel;
pub mod store;
pub mod transport;
