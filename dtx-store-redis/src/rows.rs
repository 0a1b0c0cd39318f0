//! The rows of participants.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use dtx_core::{
    error::StoreError,
    store::{
        Cursor, Page, ParticipantStore, RowExpect, RowKey, RowSet, RowWriteResult, Scope,
        ScopeRead, ScopeRows, StoreInfo, StoredRow, check_batch, check_row_key, check_set,
        page_items,
    },
    time::Timestamp,
};
use redis::{Value, cmd};

use crate::{
    codec::{number, read_stored_row},
    error::{Failure, NAME, invalid, unreadable},
    keys::Place,
    link::{Request, Writes},
    scripts::{Call, READ_ROWS, SCAN, WRITE_ROWS},
    store::RedisStore,
    values::{bytes, count, list, maybe, texts},
};

#[async_trait]
impl ParticipantStore for RedisStore {
    fn info(&self) -> &StoreInfo {
        Self::info(self)
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        for key in reads.iter().flat_map(|read| &read.keys) {
            check_row_key(key).map_err(|error| error.into_error(NAME, "read"))?;
        }
        let calls = reads.iter().map(|read| {
            let place = self.inner.keys.scope(&read.scope);
            let mut call = Call::new(&READ_ROWS, &place);
            call.push_key(place.key("rows"));
            call.push_key(place.key("meta"));
            read.keys.iter().for_each(|key| call.push(&key.0));
            call.request()
        });
        let answers = self.inner.link.call(calls.collect(), Writes::No).await;
        let mut scopes = Vec::with_capacity(reads.len());
        for (read, answer) in reads.iter().zip(answers) {
            let found = answer.and_then(list).map_err(|failure| failure.of_read("read"))?;
            scopes.push(read_scope(found, &read.scope)?);
        }
        Ok(scopes)
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let limits = &self.info().limits;
        if let Err(error) = check_batch(sets.len(), limits) {
            let failed = || RowWriteResult::Failed(error.clone().into_error(NAME, "write"));
            return sets.iter().map(|_| failed()).collect();
        }
        let mut results: Vec<Option<RowWriteResult>> = sets.iter().map(|_| None).collect();
        let mut scopes: BTreeMap<&Scope, Vec<usize>> = BTreeMap::new();
        for (index, set) in sets.iter().enumerate() {
            match check_set(set, limits) {
                Ok(()) => scopes.entry(&set.scope).or_default().push(index),
                Err(error) => {
                    results[index] = Some(RowWriteResult::Failed(error.into_error(NAME, "write")));
                }
            }
        }
        let making = |set: &&RowSet| set.changes.iter().any(|change| change.value.is_some());
        let new: BTreeSet<_> = sets.iter().filter(making).map(|set| &set.scope).collect();
        let listed = self.list_scopes(new).await;
        let answers = match &listed {
            Ok(()) => {
                let calls = scopes.iter().map(|(scope, members)| {
                    let place = self.inner.keys.scope(scope);
                    write_call(&place, members.iter().map(|&index| &sets[index])).request()
                });
                self.inner.link.call(calls.collect(), Writes::Yes).await
            }
            // No row was touched, and a scope without rows is in no listing.
            Err(failure) => {
                scopes.iter().map(|_| Err(Failure::refused(failure.error.clone()))).collect()
            }
        };
        for (members, answer) in scopes.into_values().zip(answers) {
            let answers = answer.and_then(|value| read_results(value, members.len()));
            let answers = answers.unwrap_or_else(|failure| {
                members.iter().map(|_| RowWriteResult::Failed(failure.of_write("write"))).collect()
            });
            for (index, answer) in members.into_iter().zip(answers) {
                results[index] = Some(answer);
            }
        }
        let missing = || RowWriteResult::Failed(Failure::strange().of_write("write"));
        results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        let limit = page_items(limit);
        let (from, to) = range(prefix, cursor.map(|cursor| &cursor.0[..]));
        let place = self.inner.keys.scope(scope);
        let call = Call::new(&SCAN, &place).key(place.key("rows")).key(place.key("order"));
        let call = call.arg(from).arg(to).arg((limit + 1).to_string());
        let answer = self.inner.link.one(call.request(), Writes::No).await;
        let found = answer.and_then(texts).map_err(|failure| failure.of_read("scan"))?;
        let mut items = Vec::with_capacity(found.len() / 2);
        let mut found = found.into_iter();
        while let (Some(key), Some(row)) = (found.next(), found.next()) {
            let row = read_stored_row(row).map_err(|_| unreadable_row("scan", scope))?;
            items.push((RowKey(key.into()), row));
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|(key, _)| Cursor(key.0.clone()));
        Ok(Page { items, next })
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        let limit = page_items(limit);
        let foreign = |_| invalid("scopes", "the cursor is not one of this listing");
        let text = |cursor: &Cursor| std::str::from_utf8(&cursor.0).map(str::to_owned);
        let mut after = cursor.map(text).transpose().map_err(foreign)?;
        let mut items = Vec::new();
        while items.len() <= limit {
            let listed = self.listed(prefix, after.as_deref(), limit + 1).await?;
            let more = listed.len() > limit;
            after = listed.last().map(|scope| scope.as_str().to_owned());
            items.extend(self.with_rows(listed).await?);
            if !more {
                break;
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more);
        let next = last.map(|scope: &Scope| Cursor(scope.as_str().to_owned().into_bytes().into()));
        Ok(Page { items, next })
    }
}

impl RedisStore {
    /// Scopes that were ever written to.
    async fn listed(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Scope>, StoreError> {
        let (from, to) = range(prefix.as_bytes(), after.map(str::as_bytes));
        let place = self.inner.keys.scopes();
        let mut command = cmd("ZRANGEBYLEX");
        command.arg(place.key("")).arg(from).arg(to).arg("LIMIT").arg(0).arg(limit);
        let answer = self.inner.link.one(Request::new(place.slot, command), Writes::No).await;
        let found = answer.and_then(texts).map_err(|failure| failure.of_read("scopes"))?;
        let scope = |text: Vec<u8>| String::from_utf8(text).ok().and_then(|t| Scope::new(t).ok());
        let found = found.into_iter().map(scope).collect::<Option<_>>();
        found.ok_or_else(|| unreadable("scopes", "the list of scopes"))
    }

    /// Those of them that have a row.
    async fn with_rows(&self, scopes: Vec<Scope>) -> Result<Vec<Scope>, StoreError> {
        let requests = scopes.iter().map(|scope| {
            let place = self.inner.keys.scope(scope);
            let mut command = cmd("EXISTS");
            command.arg(place.key("rows"));
            Request::new(place.slot, command)
        });
        let answers = self.inner.link.call(requests.collect(), Writes::No).await;
        let mut found = Vec::new();
        for (scope, answer) in scopes.into_iter().zip(answers) {
            if answer.and_then(count).map_err(|failure| failure.of_read("scopes"))? > 0 {
                found.push(scope);
            }
        }
        Ok(found)
    }
}

/// From and to of a listing, as the server orders bytes.
fn range(prefix: &[u8], after: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let from = match after {
        Some(last) => [b"(", last].concat(),
        None => [b"[", prefix].concat(),
    };
    // The first bytes after all that begin so.
    let mut end = prefix.to_vec();
    while end.last() == Some(&0xFF) {
        end.pop();
    }
    let to = match end.last_mut() {
        Some(last) => {
            *last += 1;
            [b"(", &end[..]].concat()
        }
        None => b"+".to_vec(),
    };
    (from, to)
}

fn write_call<'a>(place: &Place, sets: impl ExactSizeIterator<Item = &'a RowSet>) -> Call {
    let mut call = Call::new(&WRITE_ROWS, place);
    for name in ["rows", "order", "meta"] {
        call.push_key(place.key(name));
    }
    call.push(sets.len().to_string());
    for set in sets {
        push_set(&mut call, set);
    }
    call
}

fn push_set(call: &mut Call, set: &RowSet) {
    let version = |expect: RowExpect| match expect {
        RowExpect::Absent => String::new(),
        RowExpect::Version(version) => version.0.to_string(),
    };
    call.push(set.not_after.map(|at| at.as_micros().to_string()).unwrap_or_default());
    call.push(set.changes.len().to_string());
    call.push(set.unchanged.len().to_string());
    for change in &set.changes {
        call.push(&change.key.0);
        call.push(version(change.expect));
        match (&change.value, change.expect) {
            (None, _) => call.push(""),
            (Some(_), RowExpect::Absent) => call.push("new"),
            (Some(_), RowExpect::Version(version)) => call.push(version.next().0.to_string()),
        }
        call.push(change.value.as_deref().unwrap_or_default());
    }
    for (key, expect) in &set.unchanged {
        call.push(&key.0);
        call.push(version(*expect));
    }
}

fn read_results(value: Value, wanted: usize) -> Result<Vec<RowWriteResult>, Failure> {
    let words = texts(value)?;
    if words.len() != wanted {
        return Err(Failure::strange());
    }
    let result = |word: Vec<u8>| match word.as_slice() {
        b"written" => Ok(RowWriteResult::Written),
        b"conflict" => Ok(RowWriteResult::Conflict),
        b"late" => Ok(RowWriteResult::TooLate),
        _ => Err(Failure::strange()),
    };
    words.into_iter().map(result).collect()
}

fn read_scope(found: Vec<Value>, scope: &Scope) -> Result<ScopeRows, StoreError> {
    let mut found = found.into_iter();
    let now = found.next().ok_or_else(Failure::strange).and_then(bytes);
    let now = now.map_err(|failure| failure.of_read("read"))?;
    let now = number(&now).ok_or_else(|| unreadable("read", "the clock"))?;
    let mut rows = Vec::with_capacity(found.len());
    for row in found {
        let row = maybe(row).map_err(|failure| failure.of_read("read"))?;
        let row = row.map(read_stored_row).transpose();
        rows.push(row.map_err(|_| unreadable_row("read", scope))?);
    }
    Ok(ScopeRows { rows, now: Timestamp::from_micros(now) })
}

fn unreadable_row(operation: &'static str, scope: &Scope) -> StoreError {
    unreadable(operation, format_args!("a row of scope {scope}"))
}
