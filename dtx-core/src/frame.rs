//! Stored records: a versioned frame around postcard.
//!
//! A frame is three bytes, [`MAGIC`], the kind and the version of the format, and then the body.
//! A reader looks at the version first and then reads the body in the form of that version, so
//! every version that was ever released stays readable. Stores keep their own checksums; there is
//! none here.

use std::cell::RefCell;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The first byte of every frame.
pub const MAGIC: u8 = 0xD7;

/// The bytes before the body.
pub const HEADER_BYTES: usize = 3;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Kind {
    /// The definition of a transaction.
    Definition = 1,
    /// The state of an open transaction in the engine.
    EngineState = 2,
    /// The inbox row of an operation.
    InboxRow = 3,
    /// The mark below which inbox rows may have been collected.
    InboxMark = 4,
    /// The row of a pool: an account, or the stock of an item.
    PoolRow = 5,
    /// One effect on a pool.
    EffectRow = 6,
    /// The row of the locks on a key.
    LockRow = 7,
    /// The holds of a participant.
    Hold = 8,
    /// How long a coordinator lives.
    Member = 9,
}

/// Bytes that cannot be read or a value that cannot be written. The caller quarantines what it
/// cannot read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// There are too many bytes; nothing was read.
    #[error("{bytes} bytes are too many for a record; {max} are the most")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// How many were allowed.
        max: usize,
    },
    /// The bytes do not begin as a frame does.
    #[error("the bytes are no record of dtx")]
    NotAFrame,
    /// It is a frame of another kind.
    #[error("the record is of kind {found}, not {expected:?}")]
    Kind {
        /// What was wanted.
        expected: Kind,
        /// What the frame says.
        found: u8,
    },
    /// The version is unknown: written by a newer release, or damaged.
    #[error("version {found} of a {kind:?} record is unknown to this release")]
    Version {
        /// What the frame holds.
        kind: Kind,
        /// The version that the frame says.
        found: u8,
    },
    /// The body is not what its version says.
    #[error("the body of a {kind:?} record cannot be coded: {reason}")]
    Body {
        /// What the frame holds.
        kind: Kind,
        /// What is wrong.
        reason: String,
    },
}

/// The most room that is kept for the next frame, in bytes.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// Room in which a frame grows, so that it is allocated once and in its final size.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A frame whose header was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    kind: Kind,
    version: u8,
    body: &'a [u8],
}

/// Writes a value as a frame.
///
/// # Errors
/// [`FrameError::Body`] when the value does not know the length of one of its sequences, or says
/// itself that it cannot be written; derived implementations do neither.
pub fn encode<T: Serialize + ?Sized>(
    kind: Kind,
    version: u8,
    value: &T,
) -> Result<Bytes, FrameError> {
    let mut frame = SCRATCH.take();
    frame.clear();
    frame.extend_from_slice(&[MAGIC, kind as u8, version]);
    let frame = postcard::to_extend(value, frame)
        .map_err(|error| FrameError::Body { kind, reason: error.to_string() })?;
    let bytes = Bytes::copy_from_slice(&frame);
    if frame.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(frame);
    }
    Ok(bytes)
}

/// Reads the header of a frame of one kind. Its version is not judged.
///
/// # Errors
/// [`FrameError`] `TooLarge`, `NotAFrame` or `Kind`.
pub fn open(kind: Kind, bytes: &[u8], bytes_max: usize) -> Result<Frame<'_>, FrameError> {
    if bytes.len() > bytes_max {
        return Err(FrameError::TooLarge { bytes: bytes.len(), max: bytes_max });
    }
    match bytes {
        [MAGIC, found, version, body @ ..] if *found == kind as u8 => {
            Ok(Frame { kind, version: *version, body })
        }
        [MAGIC, found, _, ..] => Err(FrameError::Kind { expected: kind, found: *found }),
        _ => Err(FrameError::NotAFrame),
    }
}

/// Reads a frame of which there is one version so far.
///
/// # Errors
/// [`FrameError`].
pub fn decode<'a, T: Deserialize<'a>>(
    kind: Kind,
    version: u8,
    bytes: &'a [u8],
    bytes_max: usize,
) -> Result<T, FrameError> {
    let frame = open(kind, bytes, bytes_max)?;
    if frame.version == version { frame.body() } else { Err(frame.unknown_version()) }
}

impl<'a> Frame<'a> {
    /// The version of the format.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Reads the body, to its last byte.
    ///
    /// # Errors
    /// [`FrameError::Body`].
    pub fn body<T: Deserialize<'a>>(&self) -> Result<T, FrameError> {
        let wrong = |reason: String| FrameError::Body { kind: self.kind, reason };
        let (value, rest) =
            postcard::take_from_bytes(self.body).map_err(|error| wrong(error.to_string()))?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(wrong(format!("{} bytes are left over", rest.len())))
        }
    }

    /// The error for a version that the caller does not know.
    pub fn unknown_version(&self) -> FrameError {
        FrameError::Version { kind: self.kind, found: self.version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Bytes {
        encode(Kind::EngineState, 1, &(7_u8, "ab")).expect("encodes")
    }

    #[test]
    fn a_frame_is_its_header_and_its_body() {
        assert_eq!(&pair()[..], [MAGIC, 2, 1, 7, 2, b'a', b'b']);
        let read: (u8, String) = decode(Kind::EngineState, 1, &pair(), 64).expect("decodes");
        assert_eq!(read, (7, "ab".to_owned()));
    }

    #[test]
    fn the_limit_is_checked_before_anything_is_read() {
        let bytes = pair();
        assert!(open(Kind::EngineState, &bytes, bytes.len()).is_ok());
        assert_eq!(
            open(Kind::EngineState, &bytes, bytes.len() - 1),
            Err(FrameError::TooLarge { bytes: 7, max: 6 })
        );
    }

    #[test]
    fn what_is_no_frame_of_this_kind_and_version_is_an_error() {
        let read = |bytes: &[u8]| decode::<(u8, String)>(Kind::EngineState, 1, bytes, 64);
        assert_eq!(read(&[]), Err(FrameError::NotAFrame));
        assert_eq!(read(&[MAGIC, 2]), Err(FrameError::NotAFrame));
        assert_eq!(read(&[0, 2, 1, 7]), Err(FrameError::NotAFrame));
        assert!(matches!(read(&[MAGIC, 1, 1, 7]), Err(FrameError::Kind { found: 1, .. })));
        assert!(matches!(read(&[MAGIC, 2, 9, 7]), Err(FrameError::Version { found: 9, .. })));
        assert!(matches!(read(&[MAGIC, 2, 1, 7]), Err(FrameError::Body { .. })));
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        let mut bytes = pair().to_vec();
        bytes.push(0);
        let read = decode::<(u8, String)>(Kind::EngineState, 1, &bytes, 64);
        assert!(matches!(read, Err(FrameError::Body { .. })), "{read:?}");
    }
}
