//! The stored form of a definition: a versioned frame.
//!
//! Equal definitions have equal bytes, so a second submission under the same key is compared by
//! them.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    frame::{self, FrameError, Kind},
    ids::TxId,
    modifier::{Modifiers, whole_millis},
    pattern::Pattern,
    transaction::{
        DefinitionError, Gate, Key, Limits, Operation, Payload, Transaction, checks,
        definition::{Options, Shape},
    },
};

/// The version that is written.
const VERSION: u8 = 1;

/// The longest stored definition, in bytes. Nothing longer is read. Room for everything that
/// [`Limits::CEILING`] allows, but for many thousands of operations that all depend on each other.
pub const DEFINITION_BYTES_MAX: usize = 192 * 1024 * 1024;

/// A stored definition that cannot be read. Its record is quarantined.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The frame is wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame holds what no builder makes.
    #[error("the stored definition is not valid: {0}")]
    Definition(#[from] DefinitionError),
}

/// Version 1. Fields are read by their place: a change of this type, or of one below it, is a new
/// version with a type of its own.
#[derive(Serialize, Deserialize)]
struct TransactionV1<'a> {
    pattern: Pattern,
    operations: Vec<OperationV1<'a>>,
    key: Option<Cow<'a, Key>>,
    deadline_ms: Option<u64>,
    gate: Gate,
    undo_of: Option<TxId>,
    modifiers: Option<Cow<'a, Modifiers>>,
    metadata: Cow<'a, BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
struct OperationV1<'a> {
    shape: Cow<'a, Shape>,
    payload: Payload,
}

/// The stored form.
pub fn encode(transaction: &Transaction) -> Bytes {
    let operations = transaction.operations.iter().map(|operation| OperationV1 {
        shape: Cow::Borrowed(&*operation.shape),
        payload: operation.payload.clone(),
    });
    let stored = TransactionV1 {
        pattern: transaction.pattern,
        operations: operations.collect(),
        key: transaction.key().map(Cow::Borrowed),
        deadline_ms: transaction.deadline().map(whole_millis),
        gate: transaction.gate,
        undo_of: transaction.undo_of(),
        modifiers: transaction.modifiers().map(Cow::Borrowed),
        metadata: Cow::Borrowed(transaction.all_metadata()),
    };
    frame::encode(Kind::Definition, VERSION, &stored)
        .expect("a definition has only derived forms and lengths that are known")
}

/// Reads the stored form of any released version, and checks it as if it were new.
///
/// # Errors
/// [`CodecError`]; never a panic, whatever the bytes.
pub fn decode(bytes: &[u8]) -> Result<Transaction, CodecError> {
    let frame = frame::open(Kind::Definition, bytes, DEFINITION_BYTES_MAX)?;
    let transaction = match frame.version() {
        1 => from_v1(frame.body()?),
        _ => return Err(frame.unknown_version().into()),
    };
    let names: Vec<_> = transaction.operations.iter().map(|o| o.name().clone()).collect();
    checks::index_names(&names)?;
    // A rule that a later release makes stricter must not shut out what this one has stored.
    checks::check(&transaction, &Limits::CEILING)?;
    Ok(transaction)
}

fn from_v1(stored: TransactionV1<'_>) -> Transaction {
    let operations = stored.operations.into_iter().map(|operation| Operation {
        shape: operation.shape.into_owned().shared(),
        payload: operation.payload,
    });
    let modifiers = stored.modifiers.map(Cow::into_owned).filter(|all| !all.is_empty());
    let options = Options {
        key: stored.key.map(Cow::into_owned),
        deadline: stored.deadline_ms.map(Duration::from_millis),
        undo_of: stored.undo_of,
        modifiers,
        metadata: stored.metadata.into_owned(),
    };
    Transaction {
        pattern: stored.pattern,
        operations: operations.collect(),
        gate: stored.gate,
        options: options.kept(),
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
