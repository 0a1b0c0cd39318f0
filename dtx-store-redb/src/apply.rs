//! Writes of transactions, inside the write transaction of a batch.

use dtx_core::{
    crash_point,
    error::StoreError,
    ids::{ShardId, TxId, Version},
    store::{
        Decision, Expect, Facts, KeyFacts, LeaseTable, StoreInfo, TxWrite, WriteClaim, check_write,
        evaluate,
    },
    time::Timestamp,
};
use redb::{ReadableTable, WriteTransaction};

use crate::{
    codec::{self, Header},
    error::{Failure, NAME, unreadable},
    tables::{
        Blob, DUE, DueKey, FINISHED, FORGOTTEN, HEADS, JOURNAL, JournalKey, KEYS, Lazy, OPEN,
        TxKey, caller_key, due_key, forgotten_key, journal_key,
    },
};

/// A write, checked and encoded on the caller's side, so that the writer only moves bytes.
pub(crate) struct Prepared {
    claim: WriteClaim,
    shard: ShardId,
    due: Option<Timestamp>,
    key: Option<Vec<u8>>,
    /// Only where the write makes the row.
    head: Option<Vec<u8>>,
    body: Vec<u8>,
    /// `None` when the write has no journal, or when it is in the head.
    journal: Option<Vec<u8>>,
}

/// The encoded journal of a row that has none.
const NO_JOURNAL: &[u8] = &[0];

impl Prepared {
    pub(crate) fn new(write: &TxWrite, info: &StoreInfo) -> Result<Self, StoreError> {
        check_write(write, &info.limits, info.shards)
            .map_err(|error| error.into_error(NAME, "commit"))?;
        let makes_row = write.expect == Expect::Absent;
        let journal = !makes_row && !write.journal.is_empty();
        Ok(Self {
            claim: WriteClaim::from(write),
            shard: write.tx.shard(info.shards),
            due: write.due,
            key: write.key.as_ref().map(caller_key),
            head: makes_row.then(|| codec::head(write)),
            body: codec::body(write),
            journal: journal.then(|| codec::journal(&write.journal)),
        })
    }
}

/// Where the row of a transaction is.
#[derive(Clone, Copy)]
enum Place {
    Open(Header),
    Finished(Header),
}

/// What is stored of a write's transaction. To find it, the head of a new row was put in already,
/// and an open row that will end was taken out already: each look costs as much as a change, and
/// almost every write applies. What does not apply is undone.
struct Found {
    place: Option<Place>,
    /// The open row that was taken out.
    taken: Option<Vec<u8>>,
}

impl Place {
    fn header(&self) -> &Header {
        match self {
            Self::Open(header) | Self::Finished(header) => header,
        }
    }
}

/// What one write came to.
pub(crate) type Applied = Result<Decision, StoreError>;

/// The tables of transactions in one write transaction.
pub(crate) struct Transactions<'t> {
    heads: Lazy<'t, TxKey, Blob>,
    open: Lazy<'t, TxKey, Blob>,
    due: Lazy<'t, DueKey, ()>,
    finished: Lazy<'t, TxKey, Blob>,
    journal: Lazy<'t, JournalKey, Blob>,
    keys: Lazy<'t, Blob, Blob>,
    forgotten: Lazy<'t, Blob, ()>,
    buffer: Vec<u8>,
}

impl<'t> Transactions<'t> {
    pub(crate) fn new(transaction: &'t WriteTransaction) -> Self {
        Self {
            heads: Lazy::new(transaction, HEADS),
            open: Lazy::new(transaction, OPEN),
            due: Lazy::new(transaction, DUE),
            finished: Lazy::new(transaction, FINISHED),
            journal: Lazy::new(transaction, JOURNAL),
            keys: Lazy::new(transaction, KEYS),
            forgotten: Lazy::new(transaction, FORGOTTEN),
            buffer: Vec::new(),
        }
    }

    /// Decides a write and applies it.
    pub(crate) fn commit(
        &mut self,
        write: &Prepared,
        leases: &LeaseTable,
        now: Timestamp,
    ) -> Result<Applied, Failure> {
        let tx = write.claim.tx;
        let Ok(Found { place, taken }) = self.find(write)? else {
            return Ok(Err(unreadable("commit", tx)));
        };
        let facts = Facts {
            row: place.as_ref().map(|place| place.header().facts()),
            lease: leases.newest(write.shard),
            key: match &write.key {
                Some(key) => self.owner(key)?,
                None => None,
            },
        };
        let decision = evaluate(&write.claim, &facts);
        if let Decision::Apply(version) = decision {
            if let Some(key) = &write.key {
                let tx = write.claim.tx.as_bytes();
                self.keys.open()?.insert(key.as_slice(), owner_value(tx, false).as_slice())?;
                crash_point!("redb.key.claimed");
            }
            if self.apply(write, place, version, now)?.is_err() {
                return Ok(Err(unreadable("commit", tx)));
            }
        } else {
            if write.head.is_some() && place.is_none() {
                self.heads.open()?.remove(tx.as_bytes())?;
            }
            if let Some(taken) = taken {
                self.open.open()?.insert(tx.as_bytes(), taken.as_slice())?;
            }
        }
        Ok(Ok(decision))
    }

    fn find(&mut self, write: &Prepared) -> Result<Result<Found, codec::Unreadable>, Failure> {
        let tx = write.claim.tx.as_bytes();
        // Every row has a head, so that one look answers for both tables.
        if let Some(head) = &write.head {
            let heads = self.heads.open()?;
            let before = heads.insert(tx, head.as_slice())?.map(|head| head.value().to_vec());
            let Some(before) = before else {
                crash_point!("redb.head.written");
                return Ok(Ok(Found { place: None, taken: None }));
            };
            heads.insert(tx, before.as_slice())?;
        }
        if write.due.is_none() {
            let taken = self.open.open()?.remove(tx)?.map(|row| row.value().to_vec());
            if let Some(taken) = taken {
                let Ok(header) = Header::read(&taken) else {
                    self.open.open()?.insert(tx, taken.as_slice())?;
                    return Ok(Err(codec::Unreadable));
                };
                return Ok(Ok(Found { place: Some(Place::Open(header)), taken: Some(taken) }));
            }
        } else if let Some(row) = self.open.open()?.get(tx)? {
            let place = Header::read(row.value()).map(|header| Some(Place::Open(header)));
            return Ok(place.map(|place| Found { place, taken: None }));
        }
        let place = match self.finished.open()?.get(tx)? {
            Some(row) => Header::read(row.value()).map(|header| Some(Place::Finished(header))),
            None => Ok(None),
        };
        Ok(place.map(|place| Found { place, taken: None }))
    }

    fn owner(&mut self, key: &[u8]) -> Result<Option<KeyFacts>, Failure> {
        Ok(self.keys.open()?.get(key)?.and_then(|value| read_owner(value.value())))
    }

    fn apply(
        &mut self,
        write: &Prepared,
        place: Option<Place>,
        version: Version,
        now: Timestamp,
    ) -> Result<Result<(), codec::Unreadable>, Failure> {
        let tx = write.claim.tx;
        if let Some(Place::Finished(before)) = &place
            && let Err(unreadable) = self.keep_journal(tx, before.version)?
        {
            return Ok(Err(unreadable));
        }
        let before = place.as_ref().map(Place::header);
        let header = Header {
            version,
            verdict: write.claim.verdict.or_else(|| before.and_then(|header| header.verdict)),
            writer: write.claim.id.writer,
            number: write.claim.id.number,
            due: write.due,
            accepted_at: before.map_or(now, |header| header.accepted_at),
            written_at: now,
        };
        self.move_due(write, place)?;
        let journal = write.journal.as_deref();
        if write.due.is_some() {
            if let Some(journal) = journal {
                codec::framed(journal, &mut self.buffer);
                let key = journal_key(tx, version);
                self.journal.open()?.insert(&key, self.buffer.as_slice())?;
            }
            codec::row(&header, &write.body, NO_JOURNAL, &mut self.buffer);
            self.open.open()?.insert(tx.as_bytes(), self.buffer.as_slice())?;
        } else {
            let journal = journal.unwrap_or(NO_JOURNAL);
            codec::row(&header, &write.body, journal, &mut self.buffer);
            self.finished.open()?.insert(tx.as_bytes(), self.buffer.as_slice())?;
            crash_point!("redb.finished.written");
        }
        Ok(Ok(()))
    }

    /// Takes a finished row that is opened again out of its table, and keeps the index of due times.
    fn move_due(&mut self, write: &Prepared, place: Option<Place>) -> Result<(), Failure> {
        let tx = write.claim.tx;
        match place {
            Some(Place::Open(before)) if before.due == write.due => return Ok(()),
            Some(Place::Open(Header { due: Some(due), .. })) => {
                self.due.open()?.remove(&due_key(write.shard, due, tx))?;
            }
            Some(Place::Finished(_)) if write.due.is_some() => {
                self.finished.open()?.remove(tx.as_bytes())?;
            }
            _ => {}
        }
        if let Some(due) = write.due {
            self.due.open()?.insert(&due_key(write.shard, due, tx), ())?;
        }
        Ok(())
    }

    /// Moves the journal of a finished row that is written again to the others.
    fn keep_journal(
        &mut self,
        tx: TxId,
        version: Version,
    ) -> Result<Result<(), codec::Unreadable>, Failure> {
        if let Some(value) = self.finished.open()?.get(tx.as_bytes())? {
            match codec::journal_of_row(value.value()) {
                Ok(NO_JOURNAL) => return Ok(Ok(())),
                Ok(journal) => codec::framed(journal, &mut self.buffer),
                Err(unreadable) => return Ok(Err(unreadable)),
            }
        }
        self.journal.open()?.insert(&journal_key(tx, version), self.buffer.as_slice())?;
        Ok(Ok(()))
    }

    /// Forgets the given transactions if they are finished and old enough still, then up to
    /// `limit` keys whose retention has passed. Says how many transactions were forgotten.
    pub(crate) fn purge(&mut self, purge: &PurgeIds, now: Timestamp) -> Result<u64, Failure> {
        let mut count = 0;
        for &tx in &purge.ids {
            let header = match self.finished.open()?.get(tx.as_bytes())? {
                Some(value) => Header::read(value.value()),
                None => continue,
            };
            match header {
                Ok(header) if header.written_at + purge.older_than <= now => {
                    self.forget(tx, header.written_at)?;
                    count += 1;
                }
                _ => {}
            }
        }
        for _ in 0..purge.limit {
            let oldest = self.forgotten.open()?.first()?.map(|(key, _)| key.value().to_vec());
            let Some(oldest) = oldest else { break };
            let Some((written_at, key)) = oldest.split_first_chunk::<8>() else { break };
            let written_at = Timestamp::from_micros(u64::from_be_bytes(*written_at));
            if written_at + purge.key_retention > now {
                break;
            }
            self.keys.open()?.remove(key)?;
            self.forgotten.open()?.remove(oldest.as_slice())?;
        }
        Ok(count)
    }

    fn forget(&mut self, tx: TxId, written_at: Timestamp) -> Result<(), Failure> {
        let key = match self.heads.open()?.remove(tx.as_bytes())? {
            Some(head) => codec::read_head(head.value()).ok().and_then(|(key, ..)| key),
            None => None,
        };
        self.finished.open()?.remove(tx.as_bytes())?;
        let (first, last) = (journal_key(tx, Version(0)), journal_key(tx, Version(u64::MAX)));
        self.journal.open()?.retain_in::<&[u8; 24], _>(&first..=&last, |_, _| false)?;
        if let Some(key) = key {
            let key = caller_key(&key);
            let value = owner_value(tx.as_bytes(), true);
            self.keys.open()?.insert(key.as_slice(), value.as_slice())?;
            self.forgotten.open()?.insert(forgotten_key(written_at, &key).as_slice(), ())?;
        }
        Ok(())
    }
}

/// What to forget.
pub(crate) struct PurgeIds {
    pub(crate) ids: Vec<TxId>,
    pub(crate) older_than: std::time::Duration,
    pub(crate) key_retention: std::time::Duration,
    pub(crate) limit: usize,
}

fn owner_value(tx: &[u8; 16], forgotten: bool) -> [u8; 17] {
    let mut value = [u8::from(forgotten); 17];
    value[..16].copy_from_slice(tx);
    value
}

pub(crate) fn read_owner(value: &[u8]) -> Option<KeyFacts> {
    let (tx, forgotten) = value.split_first_chunk::<16>()?;
    Some(KeyFacts { tx: TxId::from_bytes(*tx), forgotten: forgotten == [1] })
}
