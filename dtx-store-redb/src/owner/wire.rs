//! What goes over the socket.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    ids::{HolderId, ShardCount, TxId, Version},
    store::{
        CommitResult, RowKey, RowSet, RowWriteResult, Scope, ScopeRead, ScopeRows, StoreLimits,
        StoredRow, TxRecord, TxWrite, Verdict,
    },
    time::Timestamp,
    transaction::Key,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::NAME;

/// The largest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The version of the messages. Both sides must have the same.
pub(super) const PROTOCOL: u8 = 1;

/// The scopes that operators may touch begin so; no participant's can.
pub(super) const OPERATOR_SCOPES: &str = "_dtx/";

/// The process that owns a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerInfo {
    /// Its process id.
    pub pid: u32,
    /// The name of its program.
    pub program: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Hello,
    Now,
    Load(TxId),
    ByKey(Key),
    /// Without a fence only.
    Commit(Box<TxWrite>),
    ReadRows(ScopeRead),
    WriteRows(RowSet),
    ScanRows {
        scope: Scope,
        after: Option<Bytes>,
        limit: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Response {
    Hello { owner: OwnerInfo, limits: StoreLimits, shards: ShardCount, opening: Option<HolderId> },
    Now(Timestamp),
    Loaded(Option<Box<TxRecord>>),
    Key(Option<TxId>),
    Committed(TxWritten),
    Rows(ScopeRows),
    RowsWritten(RowsWritten),
    Page { items: Vec<(RowKey, StoredRow)>, next: Option<Bytes> },
    Failed(Failed),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum TxWritten {
    Committed(Version),
    Conflict { found: Option<Version>, verdict: Option<Verdict> },
    Fenced,
    DuplicateKey(TxId),
    Failed(Failed),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum RowsWritten {
    Written,
    Conflict,
    TooLate,
    Failed(Failed),
}

/// A failure of the owner's store.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failed {
    kind: FailedKind,
    may_have_happened: bool,
    context: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum FailedKind {
    Unavailable,
    Invalid,
    Unsupported,
    Corrupt,
    Closed,
    Internal,
}

impl From<&StoreError> for Failed {
    fn from(error: &StoreError) -> Self {
        let kind = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Busy => {
                FailedKind::Unavailable
            }
            ErrorKind::Invalid => FailedKind::Invalid,
            ErrorKind::Unsupported => FailedKind::Unsupported,
            ErrorKind::Corrupt => FailedKind::Corrupt,
            ErrorKind::Closed => FailedKind::Closed,
            _ => FailedKind::Internal,
        };
        let may_have_happened = error.effect() == Effect::Unknown;
        Self { kind, may_have_happened, context: error.to_string() }
    }
}

impl Failed {
    pub(super) fn into_error(self, operation: &'static str) -> StoreError {
        let kind = match self.kind {
            FailedKind::Unavailable => ErrorKind::Unavailable,
            FailedKind::Invalid => ErrorKind::Invalid,
            FailedKind::Unsupported => ErrorKind::Unsupported,
            FailedKind::Corrupt => ErrorKind::Corrupt,
            FailedKind::Closed => ErrorKind::Closed,
            FailedKind::Internal => ErrorKind::Internal,
        };
        let effect = if self.may_have_happened { Effect::Unknown } else { Effect::None };
        StoreError::new(kind, NAME, operation).with_effect(effect).with_context(self.context)
    }
}

impl From<CommitResult> for TxWritten {
    fn from(result: CommitResult) -> Self {
        match result {
            CommitResult::Committed(version) => Self::Committed(version),
            CommitResult::Conflict { found, verdict } => Self::Conflict { found, verdict },
            CommitResult::Fenced => Self::Fenced,
            CommitResult::DuplicateKey { tx } => Self::DuplicateKey(tx),
            CommitResult::Failed(error) => Self::Failed(Failed::from(&error)),
        }
    }
}

impl From<TxWritten> for CommitResult {
    fn from(result: TxWritten) -> Self {
        match result {
            TxWritten::Committed(version) => Self::Committed(version),
            TxWritten::Conflict { found, verdict } => Self::Conflict { found, verdict },
            TxWritten::Fenced => Self::Fenced,
            TxWritten::DuplicateKey(tx) => Self::DuplicateKey { tx },
            TxWritten::Failed(failed) => Self::Failed(failed.into_error("commit")),
        }
    }
}

impl From<RowWriteResult> for RowsWritten {
    fn from(result: RowWriteResult) -> Self {
        match result {
            RowWriteResult::Written => Self::Written,
            RowWriteResult::Conflict => Self::Conflict,
            RowWriteResult::TooLate => Self::TooLate,
            RowWriteResult::Failed(error) => Self::Failed(Failed::from(&error)),
        }
    }
}

impl From<RowsWritten> for RowWriteResult {
    fn from(result: RowsWritten) -> Self {
        match result {
            RowsWritten::Written => Self::Written,
            RowsWritten::Conflict => Self::Conflict,
            RowsWritten::TooLate => Self::TooLate,
            RowsWritten::Failed(failed) => Self::Failed(failed.into_error("write")),
        }
    }
}

/// The socket of a file. The file must be there: both sides follow links to the same place.
pub(super) fn socket_of(file: &Path) -> io::Result<PathBuf> {
    let file = std::fs::canonicalize(file)?;
    let mut name = OsString::from(file.file_name().unwrap_or_default());
    name.push(".sock");
    Ok(file.with_file_name(name))
}

/// Writes a message: the version of the protocol, the length of the body in four bytes, the
/// body.
pub(super) fn send<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(too_large(body.len()));
    }
    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.push(PROTOCOL);
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&body);
    to.write_all(&bytes)
}

/// Reads a message; `None` when the other side has hung up between two of them. Nothing is
/// allocated for a message that is too large.
pub(super) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut header = [0; 5];
    match from.read(&mut header[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut header[1..])?,
    }
    if header[0] != PROTOCOL {
        let text = format!("protocol {} where {PROTOCOL} is spoken", header[0]);
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(too_large(length));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    postcard::from_bytes(&body)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("no message: {error}")))
}

fn too_large(bytes: usize) -> io::Error {
    let text = format!("a message of {bytes} bytes; {MESSAGE_BYTES_MAX} are the most");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_at_the_limit_goes_through_and_one_past_it_does_not() {
        // The length of the sequence itself takes four bytes here.
        let fits = vec![7_u8; MESSAGE_BYTES_MAX - 4];
        let mut bytes = Vec::new();
        send(&mut bytes, &Bytes::from(fits.clone())).expect("it fits");
        assert_eq!(bytes.len(), MESSAGE_BYTES_MAX + 5);
        let read: Option<Bytes> = receive(&mut bytes.as_slice()).expect("it is read");
        assert_eq!(read.expect("a message"), fits);
        send(&mut Vec::new(), &Bytes::from(vec![7; fits.len() + 1])).expect_err("one too many");
        let mut header = vec![PROTOCOL];
        header.extend_from_slice(&(MESSAGE_BYTES_MAX as u32 + 1).to_le_bytes());
        receive::<Bytes>(&mut header.as_slice()).expect_err("it is not even read");
    }

    #[test]
    fn what_is_no_message_is_an_error_and_a_hang_up_is_none() {
        assert!(receive::<Request>(&mut [].as_slice()).expect("a hang-up").is_none());
        for bytes in [&[9, 0, 0, 0, 0][..], &[PROTOCOL, 1], &[PROTOCOL, 1, 0, 0, 0, 99]] {
            receive::<Request>(&mut &*bytes).expect_err("no message");
        }
    }
}
