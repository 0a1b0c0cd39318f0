//! The conformance suite of stores.
//!
//! A backend implements [`StoreHarness`] and writes one line in an integration test:
//!
//! ```text
//! dtx_testkit::store_conformance!(MyHarness);
//! ```
//!
//! which expands to one `#[test]` per case, so that no backend can leave a case out, and to a
//! [`differential`] test against the store in memory.

pub mod cases;
mod contract;
mod differential;
mod harness;
mod macros;
pub mod mutant;
mod mutant_rows;
mod mutant_store;
mod operations;
mod write;

pub use contract::CONTRACT;
pub use differential::{Coverage, STEPS_DEFAULT, compare, differential, steps};
pub use harness::{MemoryHarness, StoreHarness, fresh_name, run, run_differential, wait};
pub use write::{Pen, committed, one, own, record, tx, tx_of};
