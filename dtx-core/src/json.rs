//! Inputs and outputs as JSON.

use std::{cell::RefCell, io::Write};

use bytes::Bytes;
use serde::Serialize;

/// The most room that is kept for the next value, in bytes.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// What an input or an output without content is.
const NOTHING: &[u8] = b"null";

thread_local! {
    /// Room in which a value grows, so that it is allocated once and in its final size.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes a value as JSON, into exactly as many bytes as it has. A value without content, such as
/// `()`, takes none of its own.
///
/// # Errors
/// Those of the value's own `Serialize`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, serde_json::Error> {
    let mut text = SCRATCH.take();
    text.clear();
    serde_json::to_writer(text.by_ref(), value)?;
    let bytes = match text.as_slice() {
        NOTHING => Bytes::from_static(NOTHING),
        text => Bytes::copy_from_slice(text),
    };
    if text.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(text);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn values_are_written_as_json_one_after_the_other() {
        assert_eq!(encode(&()).expect("it is JSON"), "null");
        assert_eq!(encode("a longer text").expect("it is JSON"), "\"a longer text\"");
        assert_eq!(encode(&7).expect("it is JSON"), "7");
        let long = "x".repeat(SCRATCH_BYTES_MAX);
        assert_eq!(encode(&long).expect("it is JSON").len(), SCRATCH_BYTES_MAX + 2);
        assert_eq!(encode(&7).expect("it is JSON"), "7");
    }

    #[test]
    fn what_is_no_json_is_an_error_and_leaves_nothing_behind() {
        let bad = BTreeMap::from([((1, 2), 3)]);
        assert!(encode(&bad).is_err());
        assert_eq!(encode(&true).expect("it is JSON"), "true");
    }
}
