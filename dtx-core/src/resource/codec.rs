//! How rows are encoded: a frame of its own kind for each sort of row, all in their first version.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::frame::{self, FrameError, Kind};

/// The version that rows are written in.
pub const ROW_VERSION: u8 = 1;

/// Encodes a row.
pub(crate) fn encode<T: Serialize>(kind: Kind, value: &T) -> Bytes {
    frame::encode(kind, ROW_VERSION, value).expect("rows have no type that postcard cannot encode")
}

/// Decodes a row; bytes that are left over are damage. Stores bound the size of rows themselves.
pub(crate) fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, FrameError> {
    frame::decode::<T>(kind, ROW_VERSION, bytes, bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_and_anything_else_is_an_error() {
        let bytes = encode(Kind::LockRow, &(7_u32, "x".to_owned()));
        let read = |bytes: &[u8]| decode::<(u32, String)>(Kind::LockRow, bytes);
        assert_eq!(read(&bytes), Ok((7, "x".to_owned())));
        assert_eq!(read(&[]), Err(FrameError::NotAFrame));
        let other = encode(Kind::PoolRow, &(7_u32, "x".to_owned()));
        assert!(matches!(read(&other), Err(FrameError::Kind { .. })), "a row of another sort");
        let mut newer = bytes.to_vec();
        newer[2] = ROW_VERSION + 1;
        assert!(matches!(read(&newer), Err(FrameError::Version { found: 2, .. })));
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(matches!(read(&longer), Err(FrameError::Body { .. })));
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
