//! All interleavings of one transaction: the real engines, barrier rows and rules of the store
//! under a model checker.
//!
//! What is in the model: two coordinators with leases and epochs that may be lost at any moment,
//! crashes, a network on which a message that was sent may come at any time, again, or never, a
//! store whose answers and writes are late or lost, inquiries, a caller who cancels, and clocks
//! that may pass any deadline at any moment. Time is nothing but that: a timer that is set may
//! fire. Two reductions: operations of the same kind, and coordinators, are interchangeable; and
//! the attempt of a command is not told from its repeats, which the network makes anyway.

mod action;
mod bug;
mod case;
mod checker;
mod digest;
mod participant;
mod state;
mod step;
mod store;

pub use bug::Bug;
pub use case::Case;
pub use checker::{Checked, check_case};
