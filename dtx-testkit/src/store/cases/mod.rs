//! The cases. Each has a store of its own, and panics when the contract is broken.

pub mod cancel;
pub mod catalog;
pub mod commit;
pub mod decide;
pub mod durable;
pub mod fence;
pub mod keys;
pub mod late;
pub mod lease;
pub mod open;
pub mod rows;
