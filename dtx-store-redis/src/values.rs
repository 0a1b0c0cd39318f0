//! Reading answers.

use redis::Value;

use crate::{codec::number, error::Failure};

/// A text or a number, as bytes.
pub(crate) fn bytes(value: Value) -> Result<Vec<u8>, Failure> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        _ => Err(Failure::strange()),
    }
}

/// The same, or nothing.
pub(crate) fn maybe(value: Value) -> Result<Option<Vec<u8>>, Failure> {
    if value == Value::Nil { Ok(None) } else { bytes(value).map(Some) }
}

/// A list.
pub(crate) fn list(value: Value) -> Result<Vec<Value>, Failure> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
        _ => Err(Failure::strange()),
    }
}

/// A list of texts.
pub(crate) fn texts(value: Value) -> Result<Vec<Vec<u8>>, Failure> {
    list(value)?.into_iter().map(bytes).collect()
}

/// A list of texts, some of which are not there.
pub(crate) fn fields(value: Value) -> Result<Vec<Option<Vec<u8>>>, Failure> {
    list(value)?.into_iter().map(maybe).collect()
}

/// A number.
pub(crate) fn count(value: Value) -> Result<u64, Failure> {
    number(&bytes(value)?).ok_or_else(Failure::strange)
}
