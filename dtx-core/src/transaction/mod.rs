//! Transactions as data: what is to be done, by whom, in which pattern.

mod definition;

pub use definition::{
    Consistency, Gate, KEY_BYTES_MAX, Key, Operation, Payload, RetryPolicy, StepKind, Transaction,
};
