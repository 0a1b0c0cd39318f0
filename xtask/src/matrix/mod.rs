//! The shipped orders in real processes on real servers: `cargo xtask matrix`, through every store,
//! transport and pattern, and `cargo xtask example checkout`, with every service apart.

mod cell;
mod checkout;
mod processes;
mod report;
mod run;
mod table;

pub(crate) use checkout::{Checkout, checkout};
pub(crate) use run::{ORDERS_DEFAULT, Wanted, prove, run, slice};
