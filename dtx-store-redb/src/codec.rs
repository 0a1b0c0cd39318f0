//! Stored values: one byte that says the format, then postcard.

use bytes::Bytes;
use dtx_core::{
    ids::{HolderId, TxId, Version, WriteId},
    store::{JournalEntry, RowFacts, StoredRow, Summary, TxRecord, TxWrite, Verdict},
    time::Timestamp,
    transaction::Key,
};
use serde::{Deserialize, Serialize};

/// The format that is written. A later one gets the next number, and this one stays readable.
const FORMAT: u8 = 1;

/// A value that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

type Read<T> = Result<T, Unreadable>;

fn unframe(value: &[u8]) -> Read<&[u8]> {
    match value.split_first() {
        Some((&FORMAT, rest)) => Ok(rest),
        _ => Err(Unreadable),
    }
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Read<(T, &'a [u8])> {
    postcard::take_from_bytes(bytes).map_err(|_| Unreadable)
}

fn append(value: &impl Serialize, to: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, to).expect("growing a vector does not fail")
}

/// The part of a row that decides about writes. It comes first, so that it is read alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) version: Version,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) writer: HolderId,
    pub(crate) number: u64,
    pub(crate) due: Option<Timestamp>,
    pub(crate) accepted_at: Timestamp,
    pub(crate) written_at: Timestamp,
}

impl Header {
    pub(crate) fn facts(&self) -> RowFacts {
        let last_write = WriteId { writer: self.writer, number: self.number };
        RowFacts { version: self.version, verdict: self.verdict, last_write }
    }

    pub(crate) fn read(value: &[u8]) -> Read<Self> {
        Ok(take(unframe(value)?)?.0)
    }
}

#[derive(Serialize)]
struct BodyRef<'a> {
    summary: &'a Summary,
    state: &'a Bytes,
}

#[derive(Deserialize)]
struct Body {
    summary: Summary,
    state: Bytes,
}

/// The part of a row that the caller encodes, off the writer's thread.
pub(crate) fn body(write: &TxWrite) -> Vec<u8> {
    let room = Vec::with_capacity(write.state.len() + 32);
    append(&BodyRef { summary: &write.summary, state: &write.state }, room)
}

pub(crate) fn journal(entries: &[JournalEntry]) -> Vec<u8> {
    append(&entries, Vec::new())
}

/// The head of a transaction: its key, the journal of its first write and its definition.
pub(crate) fn head(write: &TxWrite) -> Vec<u8> {
    let definition = write.definition.as_deref().unwrap_or_default();
    let mut room = Vec::with_capacity(definition.len() + 64);
    room.push(FORMAT);
    let mut bytes = append(&write.journal, append(&write.key, room));
    bytes.extend_from_slice(definition);
    bytes
}

/// Puts a row together in a buffer that is used again and again.
pub(crate) fn row(header: &Header, body: &[u8], journal: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.push(FORMAT);
    *buffer = append(header, std::mem::take(buffer));
    buffer.extend_from_slice(body);
    buffer.extend_from_slice(journal);
}

/// The journal at the end of a finished row, as it was encoded.
pub(crate) fn journal_of_row(value: &[u8]) -> Read<&[u8]> {
    let (_, rest) = take::<Header>(unframe(value)?)?;
    Ok(take::<Body>(rest)?.1)
}

/// A value of the table `journal`.
pub(crate) fn framed(journal: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.push(FORMAT);
    buffer.extend_from_slice(journal);
}

pub(crate) fn read_journal(journal: &[u8]) -> Read<Vec<JournalEntry>> {
    match take(journal)? {
        (entries, []) => Ok(entries),
        _ => Err(Unreadable),
    }
}

pub(crate) fn read_framed_journal(value: &[u8]) -> Read<Vec<JournalEntry>> {
    read_journal(unframe(value)?)
}

/// The key and the journal of a head.
pub(crate) fn read_head(value: &[u8]) -> Read<(Option<Key>, Vec<JournalEntry>, &[u8])> {
    let (key, rest) = take(unframe(value)?)?;
    let (journal, definition) = take(rest)?;
    Ok((key, journal, definition))
}

/// A record, from its row and its head.
pub(crate) fn read_record(tx: TxId, row: &[u8], head: &[u8]) -> Read<TxRecord> {
    let (header, rest) = take::<Header>(unframe(row)?)?;
    let (body, rest) = take::<Body>(rest)?;
    read_journal(rest)?;
    let (key, _, definition) = read_head(head)?;
    Ok(TxRecord {
        tx,
        version: header.version,
        last_write: header.facts().last_write,
        key,
        definition: Bytes::copy_from_slice(definition),
        verdict: header.verdict,
        state: body.state,
        due: header.due,
        summary: body.summary,
        accepted_at: header.accepted_at,
        written_at: header.written_at,
    })
}

/// The row of a participant.
pub(crate) fn stored_row(version: Version, value: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.push(FORMAT);
    buffer.extend_from_slice(&version.0.to_le_bytes());
    buffer.extend_from_slice(value);
}

pub(crate) fn read_row_version(value: &[u8]) -> Read<Version> {
    Ok(split_row(value)?.0)
}

fn split_row(value: &[u8]) -> Read<(Version, &[u8])> {
    let (version, value) = unframe(value)?.split_first_chunk::<8>().ok_or(Unreadable)?;
    Ok((Version(u64::from_le_bytes(*version)), value))
}

pub(crate) fn read_stored_row(value: &[u8]) -> Read<StoredRow> {
    let (version, value) = split_row(value)?;
    Ok(StoredRow { version, value: Bytes::copy_from_slice(value) })
}

/// Values of `meta`.
pub(crate) fn framed_value(value: &impl Serialize) -> Vec<u8> {
    append(value, vec![FORMAT])
}

pub(crate) fn read_framed_value<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Read<T> {
    match take(unframe(value)?)? {
        (value, []) => Ok(value),
        _ => Err(Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use dtx_core::{
        ids::OperationIndex,
        pattern::Phase,
        store::{Answered, Expect, JournalEvent, RecordKind},
    };
    use dtx_testkit::store::{Pen, tx};

    use super::*;

    fn header(write: &TxWrite) -> Header {
        Header {
            version: Version(2),
            verdict: Some(Verdict::Turned),
            writer: write.id.writer,
            number: write.id.number,
            due: write.due,
            accepted_at: Timestamp::from_micros(5),
            written_at: Timestamp::from_micros(6),
        }
    }

    fn encoded() -> (TxWrite, Vec<u8>, Vec<u8>) {
        let mut pen = Pen::new(1);
        let accept = pen.accept_key(tx(1), "shop", "a");
        let write = pen.write(tx(1), RecordKind::Verdict, Expect::Version(Version(1)));
        let mut value = Vec::new();
        row(&header(&write), &body(&write), &journal(&write.journal), &mut value);
        (write, value, head(&accept))
    }

    #[test]
    fn what_is_written_is_read_and_nothing_shorter_or_longer() {
        let (write, value, head) = encoded();
        let record = read_record(tx(1), &value, &head).expect("reads");
        assert_eq!((record.last_write, record.state), (write.id, write.state));
        assert_eq!(record.key.expect("has a key").key, "a");
        assert_eq!(
            read_journal(journal_of_row(&value).expect("reads")),
            Ok(write.journal.to_vec())
        );
        for end in 0..value.len() {
            assert_eq!(read_record(tx(1), &value[..end], &head), Err(Unreadable), "cut at {end}");
        }
        let longer = [&value[..], &[0]].concat();
        assert_eq!(read_record(tx(1), &longer, &head), Err(Unreadable));
    }

    #[test]
    fn another_format_is_not_guessed() {
        let (_, mut value, head) = encoded();
        value[0] = FORMAT + 1;
        assert_eq!(Header::read(&value), Err(Unreadable));
        assert_eq!(read_record(tx(1), &value, &head), Err(Unreadable));
        assert_eq!(read_stored_row(&[FORMAT + 1, 1, 0, 0, 0, 0, 0, 0, 0]), Err(Unreadable));
    }

    /// Files of this format exist: these bytes must be read like this for ever.
    #[test]
    fn format_one_stays_as_it_is() {
        let stored = [
            1, 2, 1, 1, 1, 2, 1, 232, 7, 5, 6, // header
            3, 0, 3, 0, 0, 0, 1, 9, // summary and state
            2, 2, 0, 0, 6, 3, 0, 3, 1, 4, 2, 0, // journal
        ];
        let head = [1, 1, 4, 115, 104, 111, 112, 1, 97, 0, 100, 101, 102];
        let record = read_record(tx(1), &stored, &head).expect("format 1 is readable");
        assert_eq!((record.version, record.verdict), (Version(2), Some(Verdict::Turned)));
        assert_eq!(record.due, Some(Timestamp::from_micros(1_000)));
        assert_eq!((&record.state[..], &record.definition[..]), (&[9][..], &b"def"[..]));
        assert_eq!(record.summary.operations, 3);
        let journal = read_journal(journal_of_row(&stored).expect("reads")).expect("reads");
        assert_eq!(journal[0].at, Timestamp::from_micros(2));
        let (operation, phase, answer) = (OperationIndex(1), Phase::Commit, Answered::Done);
        let answered = JournalEvent::Answered { operation, phase, attempt: 2, answer };
        assert_eq!((journal[1].at, &journal[1].event), (Timestamp::from_micros(3), &answered));
    }
}
