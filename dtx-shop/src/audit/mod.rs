//! The audit: everything is counted again from the rows of the participants, and compared with
//! what the store says became of each order.

mod books;
mod findings;
mod records;
mod verdicts;

pub(crate) use findings::{Findings, audit};

pub(crate) use records::records;
