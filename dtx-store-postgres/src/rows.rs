//! A write of row sets as arrays, in one statement.

use std::{collections::HashSet, sync::Arc};

use dtx_core::{
    error::{Effect, ErrorKind},
    store::{RowExpect, RowKey, RowSet, RowWriteResult, Scope, check_set},
};
use sqlx::{Row, postgres::PgRow};

use crate::{
    codec,
    error::{Failure, NAME},
    parts::{self, Answer, STATEMENT_BYTES},
    store::Inner,
};

/// What is done with a row; the numbers are those of the function.
const UNCHANGED: i16 = 0;
const PUT: i16 = 1;
const DELETE: i16 = 2;

#[derive(Clone, Default)]
struct Columns {
    not_after: Vec<Option<i64>>,
    set: Vec<i32>,
    scope: Vec<String>,
    key: Vec<Vec<u8>>,
    expect: Vec<Option<i64>>,
    operation: Vec<i16>,
    value: Vec<Option<Vec<u8>>>,
}

/// Some sets of a call that go in one statement.
#[derive(Default)]
struct Part {
    /// Where they stand in the call.
    places: Vec<usize>,
    columns: Columns,
    rows: HashSet<(Scope, RowKey)>,
    bytes: usize,
}

impl Part {
    /// Whether a set has to wait for those in here, or would make the statement too long.
    fn is_closed_to(&self, set: &RowSet) -> bool {
        self.bytes >= STATEMENT_BYTES
            || rows_of(set).any(|key| self.rows.contains(&(set.scope.clone(), key.clone())))
    }

    fn push(&mut self, place: usize, set: &RowSet) {
        self.places.push(place);
        self.rows.extend(rows_of(set).map(|key| (set.scope.clone(), key.clone())));
        self.columns.not_after.push(set.not_after.map(codec::time));
        for change in &set.changes {
            let operation = if change.value.is_some() { PUT } else { DELETE };
            let value = change.value.as_ref().map(|value| value.to_vec());
            self.bytes += value.as_ref().map_or(0, Vec::len);
            self.row(set, &change.key, change.expect, operation, value);
        }
        for (key, expect) in &set.unchanged {
            self.row(set, key, *expect, UNCHANGED, None);
        }
    }

    fn row(
        &mut self,
        set: &RowSet,
        key: &RowKey,
        expect: RowExpect,
        operation: i16,
        value: Option<Vec<u8>>,
    ) {
        let columns = &mut self.columns;
        // A call has no more sets than its limit says.
        columns.set.push(i32::try_from(self.places.len()).unwrap_or(i32::MAX));
        columns.scope.push(set.scope.as_str().to_owned());
        columns.key.push(key.0.to_vec());
        columns.expect.push(match expect {
            RowExpect::Absent => None,
            RowExpect::Version(version) => Some(codec::version(version)),
        });
        columns.operation.push(operation);
        columns.value.push(value);
    }
}

fn rows_of(set: &RowSet) -> impl Iterator<Item = &RowKey> {
    let changed = set.changes.iter().map(|change| &change.key);
    changed.chain(set.unchanged.iter().map(|(key, _)| key))
}

/// As [`ParticipantStore::write`](dtx_core::store::ParticipantStore::write), of no more sets than
/// a batch may have.
pub(crate) async fn write(inner: &Arc<Inner>, sets: &[RowSet]) -> Vec<RowWriteResult> {
    let mut results: Vec<Option<RowWriteResult>> = Vec::with_capacity(sets.len());
    let mut parts: Vec<Part> = Vec::new();
    for (place, set) in sets.iter().enumerate() {
        if let Err(error) = check_set(set, &inner.info.limits) {
            results.push(Some(RowWriteResult::Failed(error.into_error(NAME, "write"))));
            continue;
        }
        results.push(None);
        match parts.last_mut() {
            Some(part) if !part.is_closed_to(set) => part.push(place, set),
            _ => {
                let mut part = Part::default();
                part.push(place, set);
                parts.push(part);
            }
        }
    }
    parts::settle(inner, parts, results).await
}

impl parts::Part for Part {
    type Result = RowWriteResult;

    fn places(&self) -> &[usize] {
        &self.places
    }

    async fn send(&self, inner: &Inner, _: bool) -> Answer<RowWriteResult> {
        let columns = self.columns.clone();
        let query = inner.sql.write_rows.query().bind(columns.not_after).bind(columns.set);
        let query = query.bind(columns.scope).bind(columns.key).bind(columns.expect);
        let query = query.bind(columns.operation).bind(columns.value);
        let rows = inner.fetch(query, Effect::Unknown).await?;
        rows.iter().map(decided).collect()
    }

    fn failed(failure: Failure) -> RowWriteResult {
        RowWriteResult::Failed(failure.into_error("write"))
    }
}

/// Reads what became of one set.
fn decided(row: &PgRow) -> Result<RowWriteResult, Failure> {
    let code = row.try_get::<i16, _>(0);
    match code.map_err(|error| Failure::of(&error, Effect::Unknown))? {
        0 => Ok(RowWriteResult::Written),
        1 => Ok(RowWriteResult::Conflict),
        2 => Ok(RowWriteResult::TooLate),
        code => {
            let context = format!("the answer {code} is unknown");
            Err(Failure::new(ErrorKind::Internal, Effect::Unknown, context))
        }
    }
}
