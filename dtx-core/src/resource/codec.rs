//! How rows are encoded: one version byte, then postcard.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// The version that rows are written in.
pub const ROW_VERSION: u8 = 1;

/// A stored row that cannot be read. It is left as it is and never guessed at.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RowError {
    /// The row was written by a newer release.
    #[error("the row has version {0}, this release reads up to {ROW_VERSION}")]
    Version(u8),
    /// The row is damaged.
    #[error("the row is damaged")]
    Damaged,
}

/// Encodes a row.
pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    let bytes = postcard::to_extend(value, vec![ROW_VERSION])
        .expect("rows have no type that postcard cannot encode");
    Bytes::from(bytes)
}

/// Decodes a row; bytes that are left over are damage.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RowError> {
    let (&version, rest) = bytes.split_first().ok_or(RowError::Damaged)?;
    if version != ROW_VERSION {
        return Err(RowError::Version(version));
    }
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        _ => Err(RowError::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_and_anything_else_is_an_error() {
        let bytes = encode(&(7_u32, "x".to_owned()));
        assert_eq!(decode::<(u32, String)>(&bytes), Ok((7, "x".to_owned())));
        assert_eq!(decode::<(u32, String)>(&[]), Err(RowError::Damaged));
        assert_eq!(decode::<(u32, String)>(&[2, 7]), Err(RowError::Version(2)));
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(decode::<(u32, String)>(&longer), Err(RowError::Damaged));
        assert_eq!(decode::<(u32, String)>(&bytes[..2]), Err(RowError::Damaged));
    }
}
