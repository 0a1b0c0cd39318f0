//! A store in memory: the state as plain data with synchronous methods, for the simulator, and
//! the same behind the asynchronous traits, for tests and for what need not survive.

mod clock;
mod keys;
mod lane;
mod rows;
mod state;
mod store;

pub use clock::{Clock, ManualClock, SystemClock};
pub use state::{MemorySettings, MemoryState};
pub use store::MemoryStore;
