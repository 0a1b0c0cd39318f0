//! The inbox in one script with the handler's effect.
//!
//! Redis has no transaction that stays open while a handler runs, so the claim is a comparison:
//! `begin` reads the row, the handler says which script is to run, and `commit` is one script that
//! compares the row with what was read, runs the handler's script, and writes the row. Of two
//! that meet, the second finds another row and does nothing; the same is true of a commit that
//! lands late.
//!
//! A script may say no. The row that the host then wants holds another answer than the one that
//! `commit` was given, so the no is noted beside the row and nothing else is written. The command
//! comes again, `begin` takes the note, and the same effect is a no at once: the host stores that.
//! A note that is lost costs another run of the script, which has changed nothing: so the notes of
//! commands that never come again are dropped with the others of their scope, from time to time.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use dtx_core::{
    answer::{Answer, NotDone, Reason},
    error::{Effect, ErrorKind, StoreError},
    ids::Version,
    store::{Begun, Opened, RowKey, RowWriteResult, Scope, StoredRow, Unit, UnitStore},
    time::Timestamp,
};

use crate::{
    codec::{number, read_stored_row},
    effect::{NOTHING, RedisEffect},
    error::{Failure, NAME, unreadable},
    link::Writes,
    scripts::{BEGIN, Call},
    store::RedisStore,
    values::{bytes, fields},
};

/// Notes of noes are kept for so long at most, so that those that nobody asks for do not pile up.
const NOES_KEPT: Duration = Duration::from_secs(600);

/// One script of Redis as the unit of work: [`run`](RedisOpen::run) on `cx.tx()` says what it does
/// besides remembering the answer.
#[derive(Clone, Copy, Debug)]
pub struct RedisUnit;

/// The script that will be run when the handler has ended.
pub struct RedisOpen {
    scope: Scope,
    key: RowKey,
    mark_key: RowKey,
    row: Option<Version>,
    mark: Option<Version>,
    no: Option<No>,
    /// Where keys must be on a cluster.
    slot: Option<u16>,
    effect: Option<RedisEffect>,
}

/// That a script has said no to this row.
#[derive(Debug, PartialEq, Eq)]
struct No {
    name: String,
    reason: String,
}

impl fmt::Debug for RedisOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOpen").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Unit for RedisUnit {
    type Open = RedisOpen;
    type Tx<'a> = &'a mut RedisOpen;

    fn tx(open: &mut RedisOpen) -> &mut RedisOpen {
        open
    }
}

impl RedisOpen {
    /// Runs this when the handler has ended with `Ok`, in one step with the memory of the answer:
    /// both are done or neither, and never twice. Hand what this returns on by `?`: the script's
    /// no comes out of it, when the command comes again.
    ///
    /// No I/O. One effect per handler, because a script takes nothing back when a later one says
    /// no.
    ///
    /// # Errors
    /// `Rejected` with the reason when the script said no; `Unknown` when there is an effect
    /// already, or a key is in another slot of a cluster than the participant's memory.
    pub fn run(&mut self, effect: RedisEffect) -> Answer<()> {
        if self.effect.is_some() {
            return Err(NotDone::unknown("a handler runs one script, and this is the second"));
        }
        if let Some(slot) = self.slot {
            effect.check(slot, "run")?;
        }
        if let Some(no) = self.no.take_if(|no| no.name == effect.name()) {
            return Err(NotDone::Rejected(Reason::new(no.reason)));
        }
        self.effect = Some(effect);
        Ok(())
    }
}

impl No {
    /// The name of an effect and what its script said.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (name, reason) = bytes.split_at_checked(16)?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let reason = if reason.is_empty() { "the script said no".into() } else { text(reason) };
        Some(Self { name: text(name), reason })
    }
}

fn version(version: Option<Version>) -> String {
    version.map(|version| version.0.to_string()).unwrap_or_default()
}

#[async_trait]
impl UnitStore for RedisStore {
    type Unit = RedisUnit;

    async fn begin(
        &self,
        scope: &Scope,
        key: &RowKey,
        mark: &RowKey,
    ) -> Result<Begun<RedisOpen>, StoreError> {
        let place = self.inner.keys.scope(scope);
        let mut call = Call::new(&BEGIN, &place);
        for name in ["rows", "meta", "noes"] {
            call.push_key(place.key(name));
        }
        let call = call.arg(&key.0).arg(&mark.0);
        let answer = self.inner.link.one(call.request(), Writes::No).await.and_then(fields);
        let found = answer.map_err(|failure| failure.of_read("begin"))?;
        let [now, row, stored_mark, no] = <[Option<Vec<u8>>; 4]>::try_from(found)
            .map_err(|_| Failure::strange().of_read("begin"))?;
        let now = now.and_then(|now| number(&now));
        let now = now.ok_or_else(|| unreadable("begin", "the clock"))?;
        let read = |row: Option<Vec<u8>>| {
            let row: Option<StoredRow> = row
                .map(read_stored_row)
                .transpose()
                .map_err(|_| unreadable("begin", format_args!("a row of scope {scope}")))?;
            Ok::<_, StoreError>(row)
        };
        let (row, stored_mark) = (read(row)?, read(stored_mark)?);
        let open = RedisOpen {
            scope: scope.clone(),
            key: key.clone(),
            mark_key: mark.clone(),
            row: row.as_ref().map(|row| row.version),
            mark: stored_mark.as_ref().map(|mark| mark.version),
            no: no.as_deref().and_then(No::read),
            slot: self.inner.link.is_cluster().await.then_some(place.slot),
            effect: None,
        };
        let now = Timestamp::from_micros(now);
        Ok(Begun::Open(Opened { open, row, mark: stored_mark, now }))
    }

    async fn undo(&self, open: &mut RedisOpen) -> Result<(), StoreError> {
        open.effect = None;
        Ok(())
    }

    async fn commit(&self, open: RedisOpen, value: Bytes) -> RowWriteResult {
        if let Err(failure) = self.list_scopes([&open.scope].into()).await {
            // A scope without rows is in no listing.
            return RowWriteResult::Failed(failure.of_write("commit").with_effect(Effect::None));
        }
        let effect = open.effect.unwrap_or_else(|| RedisEffect::of(&NOTHING));
        let place = self.inner.keys.scope(&open.scope);
        let mut call = Call::new(effect.script().finish(), &place);
        for name in ["rows", "order", "meta", "noes"] {
            call.push_key(place.key(name));
        }
        call.push(&open.key.0);
        call.push(version(open.row));
        call.push(&open.mark_key.0);
        call.push(version(open.mark));
        call.push(open.row.map_or_else(|| "new".to_owned(), |row| version(Some(row.next()))));
        call.push(value);
        call.push(effect.name());
        call.push(NOES_KEPT.as_millis().to_string());
        effect.push(&mut call);
        let answer = self.inner.link.one(call.request(), Writes::Yes).await.and_then(bytes);
        match answer.as_deref() {
            Ok(b"written") => RowWriteResult::Written,
            Ok(b"conflict") => RowWriteResult::Conflict,
            Ok(b"no") => {
                let told = "the script said no, which is told when the command comes again";
                let error = StoreError::new(ErrorKind::Unavailable, NAME, "commit");
                RowWriteResult::Failed(error.with_context(told).with_effect(Effect::None))
            }
            Ok(_) => RowWriteResult::Failed(Failure::strange().of_write("commit")),
            Err(failure) => RowWriteResult::Failed(failure.of_write("commit")),
        }
    }

    async fn roll_back(&self, open: RedisOpen) {
        // Nothing was sent.
        drop(open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_has_the_name_of_its_effect_and_a_reason() {
        let no = No::read(b"0123456789abcdefnot enough").expect("it reads");
        assert_eq!((no.name.as_str(), no.reason.as_str()), ("0123456789abcdef", "not enough"));
        assert_eq!(No::read(b"0123456789abcdef").expect("reads").reason, "the script said no");
        assert_eq!(No::read(b"0123"), None);
    }
}
