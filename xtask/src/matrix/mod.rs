//! `cargo xtask matrix`: the shipped orders through every store, transport and pattern, with
//! faults and kills, on real servers.

mod cell;
mod processes;
mod report;
mod run;
mod table;

pub(crate) use run::{ORDERS_DEFAULT, Wanted, prove, run, slice};
