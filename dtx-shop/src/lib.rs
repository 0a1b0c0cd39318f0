//! A shop on dtx: each order is a checkout of payment, inventory and shipping, in any pattern,
//! with faults on demand, and an audit that counts everything again from the participants' rows.
#![forbid(unsafe_code)]

mod address;
mod audit;
mod checkout;
#[cfg(test)]
mod conformance;
mod error;
mod faults;
mod hash;
mod messages;
mod money;
mod options;
mod orders;
mod report;
mod run;
mod serve;
mod services;
mod store;

pub use address::{AddressError, ServerUrl, StoreAddress, TransportAddress};
pub use checkout::{Checkout, PARTICIPANTS};
pub use error::ShopError;
pub use faults::{FaultRates, LOSE_MAX, Rate, RateError};
pub use messages::{Analyse, Message, Notify};
pub use options::{RUN_NAME_RULE, RunOptions, default_run_name};
pub use orders::{BadRow, Order, Orders, OrdersError};
pub use report::{DurableWrites, Invariants, LatencyMs, Report};
pub use run::{CONCURRENCY_DEFAULT, CONCURRENCY_MAX, RunSettings, Told, run, run_through};
pub use serve::{ServeSettings, Serving, serve};
pub use services::{ServiceSettings, Services, open_books, start_services};
pub use store::ShopStore;
