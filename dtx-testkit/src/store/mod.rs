//! The conformance suite of stores.
//!
//! A backend implements [`StoreHarness`] and writes one line in an integration test:
//!
//! ```text
//! dtx_testkit::store_conformance!(MyHarness);
//! ```
//!
//! which expands to one `#[test]` per case, so that no backend can leave a case out.

pub mod cases;
mod harness;
mod macros;
pub mod mutant;
mod write;

pub use harness::{MemoryHarness, StoreHarness, run};
pub use write::{Pen, committed, one, own, record, tx, tx_of};
