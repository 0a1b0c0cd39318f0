//! Transactions as data: what is to be done, by whom, in which pattern.

mod action;
mod builder;
mod checks;
pub mod codec;
mod definition;
mod error;
mod form;
mod limits;
mod resolve;
mod undo;

#[cfg(test)]
pub(crate) mod arbitrary;

pub use action::Action;
pub use builder::{OperationDraft, TransactionBuilder};
pub use definition::{
    Consistency, Gate, KEY_BYTES_MAX, Key, Operation, Payload, RetryPolicy, StepKind, Transaction,
};
pub use error::{DefinitionError, Problem};
pub use limits::Limits;
pub use undo::{Reversals, UNDO_NAMESPACE, UndoPlanError, undo_key};
