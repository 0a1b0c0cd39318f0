//! Whether a stored record can be read. One that cannot is quarantined: left as it is, listed,
//! and in nobody's way.

use thiserror::Error;

use crate::{
    engine::StoredState,
    store::TxRecord,
    transaction::{Transaction, codec},
};

/// Why a record is quarantined.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the record cannot be read: {0}")]
pub struct Unreadable(pub String);

/// The state and the definition of a record.
///
/// # Errors
/// [`Unreadable`] when a newer release wrote one of them, or it is damaged.
pub fn readable(record: &TxRecord) -> Result<(StoredState, Transaction), Unreadable> {
    let unreadable = |error: &dyn std::error::Error| Unreadable(error.to_string());
    let state = StoredState::decode(&record.state).map_err(|error| unreadable(&error))?;
    let transaction = codec::decode(&record.definition).map_err(|error| unreadable(&error))?;
    Ok((state, transaction))
}
