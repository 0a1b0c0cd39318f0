//! Holding a participant: no coordinator of the store sends it anything until it is released.
//!
//! A hold is a row of the store, so that it binds every coordinator, is there after a restart,
//! and can be given without one. Its row keeps who held and released it, and why.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    answer::Reason,
    frame::{self, FrameError, Kind},
    name::ParticipantName,
    store::{RowChange, RowExpect, RowKey, RowSet, Scope, ScopeRead, ScopeRows, StoredRow},
    time::Timestamp,
};

/// The most moves that a row keeps; the oldest are forgotten first.
pub const HOLD_MOVES_MAX: usize = 64;

/// The scope of the rows. It begins as no participant's own scope can.
const SCOPE: &str = "_dtx/holds";

const FORMAT: u8 = 1;

/// The largest row that is read, in bytes.
const ROW_BYTES_MAX: usize = 256 * 1024;

/// A participant was held or released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldMove {
    /// Whether it was held; else it was released.
    pub held: bool,
    /// Who did it.
    pub by: Reason,
    /// Why.
    pub reason: Reason,
    /// When, on the store's clock.
    pub at: Timestamp,
}

/// What is known of the holds of a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The participant.
    pub participant: ParticipantName,
    /// What was done, the oldest first; at least one, at most [`HOLD_MOVES_MAX`].
    pub moves: Vec<HoldMove>,
}

impl Hold {
    /// Whether it is held now.
    pub fn is_held(&self) -> bool {
        self.moves.last().is_some_and(|last| last.held)
    }
}

/// What a hold or a release means for the row.
#[derive(Debug)]
pub enum HoldStep {
    /// Write this; on a conflict read again and ask again.
    Write(RowSet),
    /// It is so already.
    Settled,
    /// It cannot be done, and why.
    Invalid(&'static str),
}

/// The scope of all holds.
pub fn hold_scope() -> Scope {
    Scope::new(SCOPE).expect("a constant that is a scope")
}

fn key(participant: &ParticipantName) -> RowKey {
    RowKey(Bytes::copy_from_slice(participant.as_str().as_bytes()))
}

/// What to read before [`hold_write`].
pub fn hold_read(participant: &ParticipantName) -> ScopeRead {
    ScopeRead { scope: hold_scope(), keys: vec![key(participant)] }
}

/// Holds or releases a participant.
///
/// # Errors
/// [`FrameError`] when the stored row cannot be read.
pub fn hold_write(
    participant: &ParticipantName,
    held: bool,
    rows: &ScopeRows,
    by: Reason,
    reason: Reason,
) -> Result<HoldStep, FrameError> {
    if reason.as_str().is_empty() {
        return Ok(HoldStep::Invalid("an operator's move needs a reason"));
    }
    let stored = rows.rows.first().and_then(Option::as_ref);
    let mut moves = stored.map_or_else(|| Ok(Vec::new()), |row| decode(&row.value))?;
    let is_held = moves.last().is_some_and(|last: &HoldMove| last.held);
    if is_held == held {
        return Ok(HoldStep::Settled);
    }
    moves.push(HoldMove { held, by, reason, at: rows.now });
    let forgotten = moves.len().saturating_sub(HOLD_MOVES_MAX);
    moves.drain(..forgotten);
    let expect = stored.map_or(RowExpect::Absent, |row| RowExpect::Version(row.version));
    let value = frame::encode(Kind::Hold, FORMAT, &moves)?;
    let change = RowChange { key: key(participant), expect, value: Some(value) };
    Ok(HoldStep::Write(RowSet {
        scope: hold_scope(),
        changes: vec![change],
        unchanged: Vec::new(),
        not_after: None,
    }))
}

/// Reads a row of the scope of the holds.
///
/// # Errors
/// [`FrameError`] when it is none.
pub fn hold_of(key: &RowKey, row: &StoredRow) -> Result<Hold, FrameError> {
    let name = std::str::from_utf8(&key.0).ok().and_then(|name| ParticipantName::new(name).ok());
    let participant = name.ok_or(FrameError::NotAFrame)?;
    Ok(Hold { participant, moves: decode(&row.value)? })
}

fn decode(bytes: &[u8]) -> Result<Vec<HoldMove>, FrameError> {
    frame::decode(Kind::Hold, FORMAT, bytes, ROW_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Version;

    fn rows(row: Option<StoredRow>, millis: u64) -> ScopeRows {
        ScopeRows { rows: vec![row], now: Timestamp::from_millis(millis) }
    }

    fn step(row: Option<&StoredRow>, held: bool, reason: &str) -> HoldStep {
        let pay = ParticipantName::new("payment").expect("a name");
        let (by, reason) = (Reason::new("ann"), Reason::new(reason));
        hold_write(&pay, held, &rows(row.cloned(), 5), by, reason).expect("the row can be read")
    }

    fn stored(step: HoldStep, version: u64) -> StoredRow {
        let HoldStep::Write(mut set) = step else { panic!("{step:?}") };
        let change = set.changes.remove(0);
        let value = change.value.expect("a value");
        StoredRow { version: Version(version), value }
    }

    #[test]
    fn a_hold_is_given_once_and_ends_with_its_release() {
        let held = stored(step(None, true, "it is being moved"), 1);
        assert!(matches!(step(Some(&held), true, "again"), HoldStep::Settled));
        assert!(matches!(step(None, false, "never held"), HoldStep::Settled));
        assert!(matches!(step(None, true, ""), HoldStep::Invalid(_)));
        let key = RowKey(Bytes::from_static(b"payment"));
        assert!(hold_of(&key, &held).expect("a hold").is_held());
        let released = stored(step(Some(&held), false, "moved"), 2);
        let hold = hold_of(&key, &released).expect("a hold");
        assert!(!hold.is_held());
        assert_eq!(hold.moves.len(), 2);
        assert_eq!(hold.moves[0].reason.as_str(), "it is being moved");
    }

    #[test]
    fn at_the_most_moves_one_more_forgets_the_oldest() {
        let mut row = stored(step(None, true, "0"), 1);
        for number in 1..=HOLD_MOVES_MAX {
            let held = number % 2 == 0;
            row = stored(step(Some(&row), held, &number.to_string()), 1);
            let moves = decode(&row.value).expect("moves");
            assert_eq!(moves.len(), (number + 1).min(HOLD_MOVES_MAX));
            let oldest = if number < HOLD_MOVES_MAX { "0" } else { "1" };
            assert_eq!(moves[0].reason.as_str(), oldest);
        }
    }
}
