//! The conformance suite of transports.
//!
//! ```text
//! dtx_testkit::transport_conformance!(MyHarness);
//! ```
//! makes one test per case of [`CASES`]. What a transport declares is tested, and so is what it
//! does not declare. That every case can fail is shown by the [`mutant`] transports.

mod cases_ack;
mod cases_cancel;
mod cases_close;
mod cases_delivery;
mod cases_faults;
mod cases_limits;
mod cases_routing;
mod contract;
mod harness;
mod list;
mod messages;
pub mod mutant;
mod mutant_subscription;

pub use contract::CONTRACT;
pub use harness::TransportHarness;
pub use list::{CASES, Case, run};
