//! The store of a participant: versioned rows inside named scopes.

use std::{fmt, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    error::StoreError,
    ids::Version,
    store::{Cursor, Page, StoreInfo},
    time::Timestamp,
};

/// The unit of atomicity of a participant: all rows that one command touches are in one scope,
/// such as one account or one item. On a cluster a scope lives on one node.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Arc<str>);

/// The longest scope, in bytes.
pub const SCOPE_BYTES_MAX: usize = 256;

/// A text that cannot be a scope.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "scope {value:?} is not valid: give 1 to 256 bytes without control characters, '{{' or '}}'"
)]
pub struct ScopeError {
    /// The refused text, cut to 80 characters.
    pub value: String,
}

impl Scope {
    /// Checks a scope. Parts are usually joined by `/`.
    ///
    /// # Errors
    /// [`ScopeError`] when it is empty, over 256 bytes, or holds a brace or a control character.
    pub fn new(value: impl AsRef<str>) -> Result<Self, ScopeError> {
        let value = value.as_ref();
        let special = |c: char| c.is_control() || c == '{' || c == '}';
        if value.is_empty() || value.len() > SCOPE_BYTES_MAX || value.contains(special) {
            return Err(ScopeError { value: value.chars().take(80).collect() });
        }
        Ok(Self(Arc::from(value)))
    }

    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;
    fn try_from(value: String) -> Result<Self, ScopeError> {
        Self::new(value)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.0.as_ref().to_owned()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// The key of a row inside its scope: 1 to 256 bytes, ordered as bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowKey(pub Bytes);

impl Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

/// A row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRow {
    /// **P11** One more with each write; a new row begins above every version that a deleted row
    /// of the store ever had (at 1 while none was deleted), so that a version once read never
    /// comes back with other content.
    pub version: Version,
    /// The value.
    pub value: Bytes,
}

/// Which rows to read in one scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRead {
    /// The scope.
    pub scope: Scope,
    /// The keys.
    pub keys: Vec<RowKey>,
}

/// What was read in one scope, all at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRows {
    /// The rows, in the order of the keys.
    pub rows: Vec<Option<StoredRow>>,
    /// The store's clock at that moment: microseconds since the Unix epoch, never going back.
    pub now: Timestamp,
}

/// What a change expects of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowExpect {
    /// There is none.
    Absent,
    /// It has this version.
    Version(Version),
}

/// The change of one row. `value: None` deletes the row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// The key.
    pub key: RowKey,
    /// What the row must be.
    pub expect: RowExpect,
    /// The new value; `None` deletes it.
    pub value: Option<Bytes>,
}

/// The changes of one scope: all of them or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSet {
    /// The scope.
    pub scope: Scope,
    /// The changes; no key twice.
    pub changes: Vec<RowChange>,
    /// Rows that are not changed but must still be what was read.
    pub unchanged: Vec<(RowKey, RowExpect)>,
    /// The write is too late after this moment, on the store's clock, checked in the same
    /// atomic step.
    pub not_after: Option<Timestamp>,
}

/// What became of a [`RowSet`].
#[derive(Debug)]
pub enum RowWriteResult {
    /// All changes are durable.
    Written,
    /// A row was not what was expected. Nothing was changed; read again.
    Conflict,
    /// `not_after` has passed. Nothing was changed.
    TooLate,
    /// The write failed; `effect()` says whether it may have been applied.
    Failed(StoreError),
}

/// The durable memory of participants: inboxes and resources.
///
/// The numbered sentences are those that the conformance suite checks, each by a case of its own.
///
/// # Cancel safety
/// **P16** Dropping a `write` leaves each set applied or not, never a part of it; reading again
/// shows which.
#[async_trait]
pub trait ParticipantStore: Debug + Send + Sync + 'static {
    /// **P1** What the store says of itself: the same each time, and no I/O.
    fn info(&self) -> &StoreInfo;

    /// Reads rows. **P2** Each scope is read at one moment; different scopes may be read at
    /// different moments. **P3** One answer per scope and one row per key, in order.
    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError>;

    /// **P17** Gives what `read` gives, and it is as durable as what `write` has acknowledged, also
    /// that a row is not there.
    ///
    /// Whoever tells what it has read, and has nothing to write before that, reads this way. By
    /// itself it is `read`. It is for stores in which a row can be read before it is durable: a
    /// server whose standbys have not confirmed a write of which nobody was told.
    async fn read_durable(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.read(reads).await
    }

    /// Writes row sets. **P4** Each is atomic by itself. **P5** It sees the sets before it.
    /// **P6** All that are `Written` are durable on return. **P7** One result per set, in order.
    /// **P8** A row that is not what its change expects is a `Conflict`. **P9** So is one that
    /// must be unchanged and is not. **P10** After its `not_after`, on the store's clock, a set is
    /// `TooLate`.
    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult>;

    /// **P12** The rows of a scope whose key begins with `prefix`. **P13** They are in key order,
    /// and page after page each comes once.
    ///
    /// For collecting what is old and for checking what is there, never on the path of a command.
    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError>;

    /// **P14** The scopes with rows that begin with `prefix`. **P15** They are in order, and page
    /// after page each comes once.
    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError>;
}
