//! Values of columns: numbers, and one byte that says the format before postcard.

use bytes::Bytes;
use dtx_core::{
    ids::{HolderId, TxId, Version},
    pattern::Pattern,
    store::{JournalEntry, Outcome, Status, Summary, Verdict},
    time::Timestamp,
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// The format that is written. A later one gets the next number, and this one stays readable.
const FORMAT: u8 = 1;

/// A value that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

fn encode(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    postcard::to_extend(value, vec![FORMAT]).expect("growing a vector does not fail")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => postcard::from_bytes(rest).map_err(|_| Unreadable),
        _ => Err(Unreadable),
    }
}

pub(crate) fn summary(summary: &Summary) -> Vec<u8> {
    encode(summary)
}

pub(crate) fn read_summary(bytes: &[u8]) -> Result<Summary, Unreadable> {
    decode(bytes)
}

/// `None` when there is nothing to keep.
pub(crate) fn journal(entries: &[JournalEntry]) -> Option<Vec<u8>> {
    (!entries.is_empty()).then(|| encode(entries))
}

pub(crate) fn read_journal(bytes: &[u8]) -> Result<Vec<JournalEntry>, Unreadable> {
    decode(bytes)
}

/// The last representable time stands for all later ones.
pub(crate) fn time(time: Timestamp) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn read_time(micros: i64) -> Timestamp {
    match u64::try_from(micros) {
        Ok(micros) if micros < i64::MAX as u64 => Timestamp::from_micros(micros),
        Ok(_) => Timestamp::MAX,
        Err(_) => Timestamp::ZERO,
    }
}

/// Bits are kept, so that any number comes back. Order is not asked of it.
pub(crate) fn number(number: u64) -> i64 {
    number.cast_signed()
}

pub(crate) fn read_number(number: i64) -> u64 {
    number.cast_unsigned()
}

pub(crate) fn version(version: Version) -> i64 {
    number(version.0)
}

pub(crate) fn id(tx: TxId) -> Uuid {
    Uuid::from_bytes(*tx.as_bytes())
}

pub(crate) fn read_id(id: Uuid) -> TxId {
    TxId::from_bytes(*id.as_bytes())
}

pub(crate) fn holder(holder: HolderId) -> Uuid {
    Uuid::from_u128(holder.0)
}

pub(crate) fn verdict(verdict: Verdict) -> i16 {
    match verdict {
        Verdict::Completed => 1,
        Verdict::Turned => 2,
        Verdict::Commit => 3,
        Verdict::Abort => 4,
    }
}

pub(crate) fn read_verdict(number: i16) -> Result<Verdict, Unreadable> {
    let all = [Verdict::Completed, Verdict::Turned, Verdict::Commit, Verdict::Abort];
    all.into_iter().find(|&known| verdict(known) == number).ok_or(Unreadable)
}

/// For filters only: the summary is what is read.
pub(crate) fn pattern(pattern: Pattern) -> i16 {
    match pattern {
        Pattern::FireAndForget => 1,
        Pattern::Saga => 2,
        Pattern::CriticalEventual => 3,
        Pattern::TwoPhaseSaga => 4,
        Pattern::ThreePhaseSaga => 5,
        Pattern::TwoPhaseCommit => 6,
    }
}

/// For filters only: the summary is what is read.
pub(crate) fn status(status: Status) -> i16 {
    match status {
        Status::Open => 1,
        Status::Parked => 2,
        Status::NeedsAttention => 3,
        Status::Finished(Outcome::Committed) => 11,
        Status::Finished(Outcome::Aborted) => 12,
        Status::Finished(Outcome::Compensated) => 13,
        Status::Finished(Outcome::Dispatched) => 14,
        Status::Finished(Outcome::Abandoned) => 15,
    }
}

pub(crate) fn bytes(value: Vec<u8>) -> Bytes {
    Bytes::from(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_come_back() {
        for number in [0, 1, u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1] {
            assert_eq!(read_number(super::number(number)), number);
        }
        for time in [Timestamp::ZERO, Timestamp::from_micros(1), Timestamp::MAX] {
            assert_eq!(read_time(super::time(time)), time);
        }
        assert!(time(Timestamp::from_micros(5)) < time(Timestamp::MAX));
    }

    #[test]
    fn verdicts_come_back_and_others_are_refused() {
        for known in [Verdict::Completed, Verdict::Turned, Verdict::Commit, Verdict::Abort] {
            assert_eq!(read_verdict(verdict(known)), Ok(known));
        }
        assert_eq!(read_verdict(0), Err(Unreadable));
        assert_eq!(read_verdict(5), Err(Unreadable));
    }

    #[test]
    fn what_has_another_format_is_not_read() {
        assert_eq!(journal(&[]), None);
        assert!(read_journal(&[]).is_err() && read_journal(&[2, 0]).is_err());
        assert!(read_journal(&[FORMAT, 0]).is_ok());
        assert!(read_summary(&[FORMAT]).is_err());
    }
}
