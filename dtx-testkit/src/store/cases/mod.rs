//! The cases. Each opens its own store, and panics when the contract is broken.

pub mod catalog;
pub mod commit;
pub mod decide;
pub mod durable;
pub mod fence;
pub mod keys;
pub mod lease;
pub mod open;
pub mod rows;
