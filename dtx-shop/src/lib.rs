//! A shop on dtx: each order is a checkout of payment, inventory and shipping.
#![forbid(unsafe_code)]

mod address;

pub use address::{AddressError, StoreAddress, TransportAddress};
