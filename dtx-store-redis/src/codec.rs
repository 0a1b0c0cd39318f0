//! Stored values: one byte that says the format, then postcard. What scripts compare stands in
//! fields of its own.

use bytes::Bytes;
use dtx_core::{
    ids::{HolderId, TxId, Version, WriteId},
    store::{JournalEntry, StoredRow, Summary, TxRecord, TxWrite, Verdict},
    time::Timestamp,
    transaction::Key,
};
use serde::{Deserialize, Serialize};

/// The format that is written. A later one gets the next number, and this one stays readable.
const FORMAT: u8 = 1;

/// A value that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The fields of a row that make a record, in this order.
pub(crate) const RECORD_FIELDS: [&str; 9] = ["v", "o", "w", "d", "a", "t", "b", "k", "f"];

type Field = Option<Vec<u8>>;

fn frame(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, vec![FORMAT]).expect("growing a vector does not fail")
}

fn unframe<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Unreadable> {
    let Some((&FORMAT, rest)) = bytes.split_first() else { return Err(Unreadable) };
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        _ => Err(Unreadable),
    }
}

/// Summary and state.
pub(crate) fn body(write: &TxWrite) -> Vec<u8> {
    frame(&(&write.summary, &write.state))
}

/// The journal of one write; empty for none.
pub(crate) fn journal(entries: &[JournalEntry]) -> Vec<u8> {
    if entries.is_empty() { Vec::new() } else { frame(&entries) }
}

pub(crate) fn read_journal(value: &[u8]) -> Result<Vec<JournalEntry>, Unreadable> {
    unframe(value)
}

pub(crate) fn key(key: &Key) -> Vec<u8> {
    frame(key)
}

pub(crate) fn read_key(value: &[u8]) -> Result<Key, Unreadable> {
    unframe(value)
}

pub(crate) fn write_id(id: WriteId) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&id.writer.0.to_be_bytes());
    bytes[16..].copy_from_slice(&id.number.to_be_bytes());
    bytes
}

fn read_write_id(bytes: &[u8]) -> Option<WriteId> {
    let (writer, number) = bytes.split_first_chunk::<16>()?;
    let number = u64::from_be_bytes(number.try_into().ok()?);
    Some(WriteId { writer: HolderId(u128::from_be_bytes(*writer)), number })
}

pub(crate) fn verdict(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        None => "",
        Some(Verdict::Completed) => "completed",
        Some(Verdict::Turned) => "turned",
        Some(Verdict::Commit) => "commit",
        Some(Verdict::Abort) => "abort",
    }
}

pub(crate) fn read_verdict(text: &[u8]) -> Result<Option<Verdict>, Unreadable> {
    Ok(match text {
        b"" => None,
        b"completed" => Some(Verdict::Completed),
        b"turned" => Some(Verdict::Turned),
        b"commit" => Some(Verdict::Commit),
        b"abort" => Some(Verdict::Abort),
        _ => return Err(Unreadable),
    })
}

pub(crate) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A due time as the index orders it.
pub(crate) fn due(at: Option<Timestamp>) -> Vec<u8> {
    at.map_or_else(Vec::new, |at| at.as_micros().to_be_bytes().to_vec())
}

fn read_due(bytes: &[u8]) -> Option<Option<Timestamp>> {
    if bytes.is_empty() {
        return Some(None);
    }
    Some(Some(Timestamp::from_micros(u64::from_be_bytes(bytes.try_into().ok()?))))
}

/// A record from [`RECORD_FIELDS`]; `None` if there is no such row.
pub(crate) fn read_record(tx: TxId, fields: Vec<Field>) -> Result<Option<TxRecord>, Unreadable> {
    let fields: [Field; 9] = fields.try_into().map_err(|_| Unreadable)?;
    let [version, decided, write, until, accepted, written, body, caller, definition] = fields;
    let Some(version) = version else { return Ok(None) };
    let time = |text: Field| text.and_then(|text| number(&text)).map(Timestamp::from_micros);
    let body = body.ok_or(Unreadable)?;
    let (summary, state): (Summary, Bytes) = unframe(&body)?;
    Ok(Some(TxRecord {
        tx,
        version: Version(number(&version).ok_or(Unreadable)?),
        last_write: write.and_then(|id| read_write_id(&id)).ok_or(Unreadable)?,
        key: caller.map(|key| read_key(&key)).transpose()?,
        definition: definition.map(Bytes::from).unwrap_or_default(),
        verdict: read_verdict(&decided.unwrap_or_default())?,
        state,
        due: until.and_then(|bytes| read_due(&bytes)).ok_or(Unreadable)?,
        summary,
        accepted_at: time(accepted).ok_or(Unreadable)?,
        written_at: time(written).ok_or(Unreadable)?,
    }))
}

/// The row of a participant: its version in decimal, a colon, its value.
pub(crate) fn read_stored_row(bytes: Vec<u8>) -> Result<StoredRow, Unreadable> {
    let colon = bytes.iter().position(|&byte| byte == b':').ok_or(Unreadable)?;
    let version = Version(number(&bytes[..colon]).ok_or(Unreadable)?);
    Ok(StoredRow { version, value: Bytes::from(bytes).slice(colon + 1..) })
}

#[cfg(test)]
mod tests {
    use dtx_testkit::store::{Pen, tx};

    use super::*;

    fn fields(write: &TxWrite) -> Vec<Field> {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        vec![
            text("2"),
            text(verdict(Some(Verdict::Turned))),
            Some(write_id(write.id).to_vec()),
            Some(due(write.due)),
            text("5"),
            text("6"),
            Some(body(write)),
            write.key.as_ref().map(key),
            write.definition.as_ref().map(|bytes| bytes.to_vec()),
        ]
    }

    #[test]
    fn what_is_written_is_read_and_nothing_shorter_or_longer() {
        let write = Pen::new(7).accept_key(tx(1), "shop", "a");
        let record = read_record(tx(1), fields(&write)).expect("reads").expect("is there");
        assert_eq!((record.version, record.verdict), (Version(2), Some(Verdict::Turned)));
        assert_eq!((record.last_write, &record.state), (write.id, &write.state));
        assert_eq!((record.key, record.due), (write.key.clone(), write.due));
        assert_eq!(Some(record.definition), write.definition);
        assert_eq!(read_journal(&journal(&write.journal)), Ok(write.journal.to_vec()));
        for place in [0, 1, 2, 3, 4, 5, 6, 7] {
            let mut bad = fields(&write);
            bad[place].as_mut().expect("is there").push(b'!');
            assert_eq!(read_record(tx(1), bad), Err(Unreadable), "field {place} is longer");
        }
        let mut bad = fields(&write);
        bad[6].as_mut().expect("is there").pop();
        assert_eq!(read_record(tx(1), bad), Err(Unreadable));
        assert_eq!(read_record(tx(1), vec![None; 9]), Ok(None));
    }

    /// Stores of this format exist: these bytes must be read like this for ever.
    #[test]
    fn format_one_stays_as_it_is() {
        let (summary, state): (Summary, Bytes) =
            unframe(&[1, 3, 0, 3, 0, 0, 0, 1, 9]).expect("reads");
        assert_eq!((summary.operations, &state[..]), (3, &[9][..]));
        assert_eq!(read_key(&[1, 4, 115, 104, 111, 112, 1, 97]).expect("reads").key, "a");
        let row = read_stored_row(b"12:a:b".to_vec()).expect("reads");
        assert_eq!((row.version, &row.value[..]), (Version(12), &b"a:b"[..]));
        for bad in [&b"12"[..], b":a", b"x:a"] {
            assert_eq!(read_stored_row(bad.to_vec()), Err(Unreadable));
        }
        assert_eq!(read_key(&[2, 4, 115, 104, 111, 112, 1, 97]), Err(Unreadable));
    }
}
