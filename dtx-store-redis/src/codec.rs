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

/// The fields of a row that make a record, in this order: its head, its body, the caller's key, and
/// the time of the accept before a space and the definition.
pub(crate) const RECORD_FIELDS: [&str; 4] = ["h", "b", "k", "f"];

/// What stands in a head before the version: the write's id, the verdict, and when it is due.
const HEAD_BYTES: usize = 24 + 1 + 9;

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

/// How the head of a row begins. Scripts compare its parts, and add the version and the time.
pub(crate) fn head(write: &TxWrite) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..16].copy_from_slice(&write.id.writer.0.to_be_bytes());
    head[16..24].copy_from_slice(&write.id.number.to_be_bytes());
    head[24] = match write.verdict {
        None => b'-',
        Some(Verdict::Completed) => b'f',
        Some(Verdict::Turned) => b't',
        Some(Verdict::Commit) => b'c',
        Some(Verdict::Abort) => b'a',
    };
    head[25] = if write.due.is_some() { b'+' } else { b'-' };
    head[26..].copy_from_slice(&write.due.map_or([0; 8], due));
    head
}

/// What a head says.
struct Head {
    id: WriteId,
    verdict: Option<Verdict>,
    due: Option<Timestamp>,
    version: Version,
    written_at: Timestamp,
}

fn read_head(bytes: &[u8]) -> Result<Head, Unreadable> {
    let (begin, end) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(Unreadable)?;
    let (writer, begin) = begin.split_first_chunk().ok_or(Unreadable)?;
    let (of_writer, begin) = begin.split_first_chunk().ok_or(Unreadable)?;
    let due = match begin[1..] {
        [b'-', 0, 0, 0, 0, 0, 0, 0, 0] => None,
        [b'+', ref due @ ..] => Some(read_due(due).ok_or(Unreadable)?),
        _ => return Err(Unreadable),
    };
    let (version, written_at) = read_stamped(end)?;
    Ok(Head {
        id: WriteId {
            writer: HolderId(u128::from_be_bytes(*writer)),
            number: u64::from_be_bytes(*of_writer),
        },
        verdict: read_verdict(&begin[..1])?,
        due,
        version: Version(version),
        written_at: Timestamp::from_micros(number(written_at).ok_or(Unreadable)?),
    })
}

/// A number, and what stands behind the space after it.
fn read_stamped(bytes: &[u8]) -> Result<(u64, &[u8]), Unreadable> {
    let space = bytes.iter().position(|&byte| byte == b' ').ok_or(Unreadable)?;
    Ok((number(&bytes[..space]).ok_or(Unreadable)?, &bytes[space + 1..]))
}

/// A verdict as a head has it.
pub(crate) fn read_verdict(text: &[u8]) -> Result<Option<Verdict>, Unreadable> {
    Ok(match text {
        b"-" => None,
        b"f" => Some(Verdict::Completed),
        b"t" => Some(Verdict::Turned),
        b"c" => Some(Verdict::Commit),
        b"a" => Some(Verdict::Abort),
        _ => return Err(Unreadable),
    })
}

pub(crate) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A due time as the index orders it.
pub(crate) fn due(at: Timestamp) -> [u8; 8] {
    at.as_micros().to_be_bytes()
}

fn read_due(bytes: &[u8]) -> Option<Timestamp> {
    Some(Timestamp::from_micros(u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// A record from [`RECORD_FIELDS`]; `None` if there is no such row.
pub(crate) fn read_record(tx: TxId, fields: Vec<Field>) -> Result<Option<TxRecord>, Unreadable> {
    let fields: [Field; 4] = fields.try_into().map_err(|_| Unreadable)?;
    let [Some(head), body, caller, accept] = fields else { return Ok(None) };
    let head = read_head(&head)?;
    let (body, accept) = (body.ok_or(Unreadable)?, accept.ok_or(Unreadable)?);
    let (summary, state): (Summary, Bytes) = unframe(&body)?;
    let (accepted_at, definition) = read_stamped(&accept)?;
    Ok(Some(TxRecord {
        tx,
        version: head.version,
        last_write: head.id,
        key: caller.map(|key| read_key(&key)).transpose()?,
        definition: Bytes::copy_from_slice(definition),
        verdict: head.verdict,
        state,
        due: head.due,
        summary,
        accepted_at: Timestamp::from_micros(accepted_at),
        written_at: head.written_at,
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
        let definition = write.definition.as_deref().unwrap_or_default();
        vec![
            Some([&head(write)[..], b"2 6"].concat()),
            Some(body(write)),
            write.key.as_ref().map(key),
            Some([b"5 ", definition].concat()),
        ]
    }

    #[test]
    fn what_is_written_is_read_and_nothing_shorter_or_longer() {
        let mut write = Pen::new(7).accept_key(tx(1), "shop", "a");
        write.verdict = Some(Verdict::Turned);
        let record = read_record(tx(1), fields(&write)).expect("reads").expect("is there");
        assert_eq!((record.version, record.verdict), (Version(2), Some(Verdict::Turned)));
        assert_eq!((record.last_write, &record.state), (write.id, &write.state));
        assert_eq!((record.key, record.due), (write.key.clone(), write.due));
        assert_eq!(Some(record.definition), write.definition);
        let times = (record.accepted_at.as_micros(), record.written_at.as_micros());
        assert_eq!(times, (5, 6));
        assert_eq!(read_journal(&journal(&write.journal)), Ok(write.journal.to_vec()));
        for place in 0..3 {
            let mut bad = fields(&write);
            bad[place].as_mut().expect("is there").push(b'!');
            assert_eq!(read_record(tx(1), bad), Err(Unreadable), "field {place} is longer");
        }
        for place in [0, 1, 3] {
            let mut bad = fields(&write);
            bad[place] = Some(bad[place].as_ref().expect("is there")[..1].to_vec());
            assert_eq!(read_record(tx(1), bad), Err(Unreadable), "field {place} is cut");
            let mut bad = fields(&write);
            bad[place] = if place == 0 { Some(Vec::new()) } else { None };
            assert_eq!(read_record(tx(1), bad), Err(Unreadable), "field {place} is missing");
        }
        for (place, wrong) in [(24, b'!'), (25, b'!'), (34, b' '), (36, b'x')] {
            let mut bad = fields(&write);
            bad[0].as_mut().expect("is there")[place] = wrong;
            assert_eq!(read_record(tx(1), bad), Err(Unreadable), "byte {place} of the head");
        }
        assert_eq!(read_record(tx(1), vec![None; 4]), Ok(None));
    }

    #[test]
    fn every_verdict_is_read_and_a_row_that_is_never_due() {
        let all = [Verdict::Completed, Verdict::Turned, Verdict::Commit, Verdict::Abort];
        for verdict in all.into_iter().map(Some).chain([None]) {
            let mut write = Pen::new(7).accept(tx(1));
            (write.verdict, write.due) = (verdict, None);
            let record = read_record(tx(1), fields(&write)).expect("reads").expect("is there");
            assert_eq!((record.verdict, record.due), (verdict, None));
        }
        let mut write = Pen::new(7).accept(tx(1));
        write.due = None;
        let mut bad = fields(&write);
        bad[0].as_mut().expect("is there")[33] = 1;
        assert_eq!(read_record(tx(1), bad), Err(Unreadable), "never, and yet at a time");
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
        let begin = [[1; 16].as_slice(), &[2; 8], b"c+", &[0, 0, 0, 0, 0, 0, 1, 0]].concat();
        let head = read_head(&[&begin[..], b"12 345"].concat()).expect("reads");
        assert_eq!(head.id.writer.0.to_be_bytes(), [1; 16]);
        assert_eq!(head.id.number.to_be_bytes(), [2; 8]);
        assert_eq!((head.verdict, head.version), (Some(Verdict::Commit), Version(12)));
        let times = (head.due.map(Timestamp::as_micros), head.written_at.as_micros());
        assert_eq!(times, (Some(256), 345));
        assert_eq!(read_key(&[2, 4, 115, 104, 111, 112, 1, 97]), Err(Unreadable));
    }
}
