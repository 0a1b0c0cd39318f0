//! Faults on purpose, around real stores, transports and participants.
//!
//! Four knobs: how often a call fails, how often it takes too long, how slow the network is, and
//! how often a part of it cannot be reached. What goes wrong is drawn from a seed.

mod knobs;
mod layer;
mod resource;
mod store;
mod transport;

pub use knobs::{ChaosCounts, ChaosError, ChaosSettings};
pub use layer::{Chaos, Injected};
pub use resource::ChaosResource;
pub use store::ChaosStore;
pub use transport::ChaosTransport;
