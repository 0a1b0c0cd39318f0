//! The rows of a region in its store.
//!
//! Every write changes the row of the totals and expects the version that it had after the write
//! before. That is what keeps two processes apart: whoever starts writes the totals, and from
//! then on every write of the other one meets a version that it does not expect.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use dtx_core::{
    error::{ErrorKind, Retry, StoreError},
    ids::Version,
    store::{
        ParticipantStore, RowChange, RowExpect, RowKey, RowSet, RowWriteResult, ScopeRead,
        ScopeRows, StoredRow,
    },
    time::Timestamp,
};
use dtx_geo::pool::{Cells, Kept, PoolCodecError, RowName, Write};

use crate::{error::PoolError, spec::PoolSpec};

/// How many rows are read at a time when a region starts.
const PAGE: usize = 512;

/// How often a start reads everything again when somebody else writes meanwhile.
const START_ATTEMPTS_MAX: usize = 16;

/// The longest pause between two attempts, as a multiple of the first.
const PAUSE_MAX: u32 = 16;

/// The rows of one region, as their only writer knows them.
#[derive(Debug)]
pub(crate) struct RegionRows {
    store: Arc<dyn ParticipantStore>,
    spec: PoolSpec,
    version: Version,
    kept: Kept,
    retry: Duration,
}

/// What a region begins again with.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) cells: Cells,
    /// Not before any moment that the region has seen.
    pub(crate) now: Timestamp,
}

enum Landed {
    Yes,
    Conflict,
}

fn row_key(name: RowName) -> RowKey {
    RowKey(Bytes::from(name.key()))
}

fn damaged(key: RowKey) -> impl FnOnce(PoolCodecError) -> PoolError {
    |error| PoolError::Damaged { key, error }
}

/// Writes the first rows of a region, with its part of the stock.
pub(crate) async fn create(
    store: &dyn ParticipantStore,
    spec: &PoolSpec,
    stock: u64,
) -> Result<(), PoolError> {
    let mut cells = Cells::new(spec.regions.len());
    cells.apply(&Write::Minted(stock));
    let (layout, incarnation) = (spec.rows_layout(), spec.incarnation);
    let kept = Kept { layout, incarnation, ..Kept::default() };
    let changes = vec![RowChange {
        key: row_key(RowName::Totals),
        expect: RowExpect::Absent,
        value: cells.row(RowName::Totals, kept).map(Bytes::from),
    }];
    let set = RowSet { scope: spec.scope.clone(), changes, unchanged: vec![], not_after: None };
    match store.write(&[set]).await.pop() {
        Some(RowWriteResult::Written) => Ok(()),
        Some(RowWriteResult::Failed(error)) => Err(error.into()),
        _ => {
            // Whoever is told so goes on with these rows: they must not be lost with their server.
            store.read_durable(&[scope_read(spec, &[RowName::Totals])]).await?;
            Err(PoolError::Exists)
        }
    }
}

impl RegionRows {
    /// Reads all rows, and says what was found. Nothing is taken over before the first
    /// [`land`](Self::land).
    pub(crate) async fn load(
        store: Arc<dyn ParticipantStore>,
        spec: PoolSpec,
        retry: Duration,
    ) -> Result<(Self, Found), PoolError> {
        let mut found = read(&*store, &spec, &[RowName::Totals]).await?;
        let totals = found.rows.pop().flatten().ok_or(PoolError::NotCreated)?;
        let mut cells = Cells::new(spec.regions.len());
        let known = cells.load_totals(&totals.value);
        let known = known.map_err(damaged(row_key(RowName::Totals)))?;
        if known.layout != spec.rows_layout() {
            return Err(PoolError::OtherPool);
        }
        if known.incarnation != spec.incarnation {
            let (stored, given) = (known.incarnation, spec.incarnation);
            return Err(PoolError::Incarnation { stored, given });
        }
        load_rows(&*store, &spec, &mut cells).await?;
        let now = found.now.max(known.clock);
        let writer = uuid::Uuid::new_v4().as_u128();
        let kept = Kept { writer, write: 0, ..known };
        Ok((Self { store, spec, version: totals.version, kept, retry }, Found { cells, now }))
    }

    /// Starts over the rows: `begin` makes the region of what is there, and its first writes
    /// take the rows over from whoever had them.
    pub(crate) async fn take_over<T>(
        store: Arc<dyn ParticipantStore>,
        spec: &PoolSpec,
        retry: Duration,
        begin: impl Fn(Found) -> Result<(T, BTreeSet<RowName>), PoolError>,
        cells: impl Fn(&T) -> &Cells,
    ) -> Result<(Self, T, Timestamp), PoolError> {
        for _ in 0..START_ATTEMPTS_MAX {
            let (mut rows, found) = Self::load(Arc::clone(&store), spec.clone(), retry).await?;
            let now = found.now;
            let (begun, names) = begin(found)?;
            match rows.land(cells(&begun), &names, now).await {
                Ok(()) => return Ok((rows, begun, now)),
                Err(PoolError::Taken) => {}
                Err(error) => return Err(error),
            }
        }
        Err(PoolError::Taken)
    }

    /// Makes rows durable as they are in `cells`, and the totals with them. Cancel safe: dropped,
    /// it has happened or not.
    pub(crate) async fn land(
        &mut self,
        cells: &Cells,
        names: &BTreeSet<RowName>,
        clock: Timestamp,
    ) -> Result<(), PoolError> {
        self.kept.write += 1;
        self.kept.clock = clock;
        let mut pause = self.retry;
        loop {
            let error = match self.try_land(cells, names).await {
                Ok(Landed::Yes) => {
                    self.version = self.version.next();
                    return Ok(());
                }
                Ok(Landed::Conflict) => match self.look().await {
                    Ok(Some(version)) => {
                        // An earlier attempt, of which nobody knew, has landed.
                        self.version = version;
                        return Ok(());
                    }
                    // The versions of other rows were read before an earlier attempt landed.
                    Ok(None) => continue,
                    Err(PoolError::Store(error)) => error,
                    Err(error) => return Err(error),
                },
                Err(error) => error,
            };
            if error.retry() == Retry::Never {
                return Err(error.into());
            }
            tracing::warn!(scope = %self.spec.scope, %error, "a write of a pool is made again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.retry * PAUSE_MAX);
        }
    }

    async fn try_land(
        &self,
        cells: &Cells,
        names: &BTreeSet<RowName>,
    ) -> Result<Landed, StoreError> {
        let names: Vec<_> = names.iter().copied().collect();
        let known = match names.is_empty() {
            true => Vec::new(),
            false => read(&*self.store, &self.spec, &names).await?.rows,
        };
        let mut changes = vec![RowChange {
            key: row_key(RowName::Totals),
            expect: RowExpect::Version(self.version),
            value: cells.row(RowName::Totals, self.kept).map(Bytes::from),
        }];
        for (name, row) in names.into_iter().zip(known) {
            let value = cells.row(name, self.kept).map(Bytes::from);
            if row.is_none() && value.is_none() {
                continue;
            }
            let expect = row.map_or(RowExpect::Absent, |row| RowExpect::Version(row.version));
            changes.push(RowChange { key: row_key(name), expect, value });
        }
        let scope = self.spec.scope.clone();
        let set = RowSet { scope, changes, unchanged: Vec::new(), not_after: None };
        match self.store.write(&[set]).await.pop() {
            Some(RowWriteResult::Written) => Ok(Landed::Yes),
            Some(RowWriteResult::Failed(error)) => Err(error),
            _ => Ok(Landed::Conflict),
        }
    }

    /// After a conflict: the version, if the present write has landed; none if it can be tried
    /// again.
    async fn look(&self) -> Result<Option<Version>, PoolError> {
        // What nobody has acknowledged may be read and lost again.
        let totals = self.totals(true).await?;
        let mut cells = Cells::new(self.spec.regions.len());
        let known = cells.load_totals(&totals.value);
        let known = known.map_err(damaged(row_key(RowName::Totals)))?;
        if (known.writer, known.write) == (self.kept.writer, self.kept.write) {
            return Ok(Some(totals.version));
        }
        if totals.version == self.version { Ok(None) } else { Err(PoolError::Taken) }
    }

    /// That no other process has taken the rows over.
    pub(crate) async fn check(&self) -> Result<(), PoolError> {
        let mut pause = self.retry;
        loop {
            match self.totals(false).await {
                Ok(totals) if totals.version == self.version => return Ok(()),
                Ok(_) => return Err(PoolError::Taken),
                Err(PoolError::Store(error)) if error.retry() != Retry::Never => {
                    tracing::warn!(scope = %self.spec.scope, %error, "a pool is read again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(self.retry * PAUSE_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn totals(&self, is_durable: bool) -> Result<StoredRow, PoolError> {
        let reads = [scope_read(&self.spec, &[RowName::Totals])];
        let found = match is_durable {
            true => self.store.read_durable(&reads).await?,
            false => self.store.read(&reads).await?,
        };
        let mut found = of_scope(&*self.store, found, 1)?;
        found.rows.pop().flatten().ok_or(PoolError::Taken)
    }
}

fn scope_read(spec: &PoolSpec, names: &[RowName]) -> ScopeRead {
    let keys = names.iter().map(|name| row_key(*name)).collect();
    ScopeRead { scope: spec.scope.clone(), keys }
}

/// The rows of the one scope that was read.
fn of_scope(
    store: &dyn ParticipantStore,
    mut found: Vec<ScopeRows>,
    rows: usize,
) -> Result<ScopeRows, StoreError> {
    match found.pop() {
        Some(found) if found.rows.len() == rows => Ok(found),
        _ => {
            Err(StoreError::new(ErrorKind::Internal, store.info().name, "read the rows of a pool"))
        }
    }
}

async fn read(
    store: &dyn ParticipantStore,
    spec: &PoolSpec,
    names: &[RowName],
) -> Result<ScopeRows, StoreError> {
    let found = store.read(&[scope_read(spec, names)]).await?;
    of_scope(store, found, names.len())
}

/// Reads all rows but the totals.
async fn load_rows(
    store: &dyn ParticipantStore,
    spec: &PoolSpec,
    cells: &mut Cells,
) -> Result<(), PoolError> {
    let mut cursor = None;
    loop {
        let page = store.scan(&spec.scope, &[], cursor.as_ref(), PAGE).await?;
        for (key, row) in page.items {
            let name = RowName::of(&key.0).ok_or(PoolCodecError::Kind);
            let name = name.map_err(damaged(key.clone()))?;
            if name != RowName::Totals {
                cells.load_row(name, &row.value).map_err(damaged(key))?;
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}
