//! The side of everybody else.

use std::{
    io,
    os::unix::net::UnixStream,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    ids::{ShardId, TxId},
    store::{
        Catalog, CommitResult, Cursor, Durability, Filter, JournalEntry, Lease, LeaseRequest,
        OpenPage, Page, ParticipantStore, Purge, RowKey, RowSet, RowWriteResult, Scope, ScopeRead,
        ScopeRows, StateStore, StoreCapabilities, StoreInfo, StoredRow, TxRecord, TxWrite,
    },
    time::Timestamp,
    transaction::Key,
};

use super::wire::{OwnerInfo, Request, Response, receive, send, socket_of};
use crate::error::NAME;

/// How long the owner may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file through its owner in another process: what an operator needs of a store, and no more.
///
/// Takes signals, accepts, and the operators' own rows; loads single records. Everything else is
/// `Unsupported`: look at the file with [`RedbReader`](crate::RedbReader). Calls talk to the owner
/// where they are made and may block for as long as that takes, 10 seconds at the most.
#[derive(Debug)]
pub struct RedbOwner {
    stream: Mutex<UnixStream>,
    info: StoreInfo,
    owner: OwnerInfo,
}

impl RedbOwner {
    /// Connects to the owner of a file; `None` when it has none that listens.
    ///
    /// # Errors
    /// `Unavailable` when the owner does not answer, or speaks another version.
    pub fn connect(file: impl AsRef<Path>) -> Result<Option<Self>, StoreError> {
        let failed = |error: io::Error| {
            StoreError::new(ErrorKind::Unavailable, NAME, "connect").with_source(error)
        };
        // Without the file there is no socket either.
        let Ok(path) = socket_of(file.as_ref()) else { return Ok(None) };
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        let stream = Mutex::new(stream);
        let Response::Hello { owner, limits, shards, opening } =
            ask(&stream, "connect", &Request::Hello)?
        else {
            return Err(confused("connect"));
        };
        let capabilities = StoreCapabilities { durability: Durability::PowerLoss, shared: false };
        let info = StoreInfo { name: NAME, capabilities, limits, lanes: 1, shards, opening };
        Ok(Some(Self { stream, info, owner }))
    }

    /// The process that owns the file.
    pub fn owner(&self) -> &OwnerInfo {
        &self.owner
    }

    /// What the store says of itself. No I/O.
    pub fn info(&self) -> &StoreInfo {
        &self.info
    }

    fn ask(&self, operation: &'static str, request: &Request) -> Result<Response, StoreError> {
        ask(&self.stream, operation, request)
    }
}

fn ask(
    stream: &Mutex<UnixStream>,
    operation: &'static str,
    request: &Request,
) -> Result<Response, StoreError> {
    let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
    let answered = send(&mut *stream, request).and_then(|()| receive(&mut *stream));
    let gone = |error: io::Error| {
        // It may have arrived before the connection broke.
        StoreError::new(ErrorKind::Unavailable, NAME, operation)
            .with_effect(Effect::Unknown)
            .with_context("the owner of the file did not answer")
            .with_source(error)
    };
    match answered {
        Ok(Some(Response::Failed(failed))) => Err(failed.into_error(operation)),
        Ok(Some(response)) => Ok(response),
        Ok(None) => Err(gone(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(gone(error)),
    }
}

fn confused(operation: &'static str) -> StoreError {
    StoreError::new(ErrorKind::Internal, NAME, operation)
        .with_context("the owner answered something else than was asked")
}

fn only_the_owner(operation: &'static str) -> StoreError {
    StoreError::new(ErrorKind::Unsupported, NAME, operation)
        .with_context("only the owner of the file does this")
}

#[async_trait]
impl StateStore for RedbOwner {
    fn info(&self) -> &StoreInfo {
        &self.info
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        match self.ask("now", &Request::Now)? {
            Response::Now(now) => Ok(now),
            _ => Err(confused("now")),
        }
    }

    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        let one = |write: &TxWrite| match self.ask("commit", &Request::Commit(write.clone().into()))
        {
            Ok(Response::Committed(result)) => result.into(),
            Ok(_) => CommitResult::Failed(confused("commit")),
            Err(error) => CommitResult::Failed(error),
        };
        writes.iter().map(one).collect()
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        let one = |tx: &TxId| match self.ask("load", &Request::Load(*tx))? {
            Response::Loaded(record) => Ok(record.map(|record| *record)),
            _ => Err(confused("load")),
        };
        ids.iter().map(one).collect()
    }

    async fn open(
        &self,
        _: ShardId,
        _: Timestamp,
        _: Option<&Cursor>,
        _: usize,
    ) -> Result<OpenPage, StoreError> {
        Err(only_the_owner("open"))
    }

    async fn acquire(&self, _: &LeaseRequest) -> Result<Vec<Lease>, StoreError> {
        Err(only_the_owner("acquire"))
    }

    async fn renew(&self, _: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        Err(only_the_owner("renew"))
    }

    async fn release(&self, _: &[Lease]) -> Result<(), StoreError> {
        Err(only_the_owner("release"))
    }
}

#[async_trait]
impl Catalog for RedbOwner {
    async fn list(&self, _: &Filter) -> Result<Page<TxRecord>, StoreError> {
        Err(only_the_owner("list"))
    }

    async fn history(&self, _: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        Err(only_the_owner("history"))
    }

    async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        match self.ask("by_key", &Request::ByKey(key.clone()))? {
            Response::Key(tx) => Ok(tx),
            _ => Err(confused("by_key")),
        }
    }

    async fn purge(&self, _: &Purge) -> Result<u64, StoreError> {
        Err(only_the_owner("purge"))
    }
}

#[async_trait]
impl ParticipantStore for RedbOwner {
    fn info(&self) -> &StoreInfo {
        &self.info
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        let one = |read: &ScopeRead| match self.ask("read", &Request::ReadRows(read.clone()))? {
            Response::Rows(rows) => Ok(rows),
            _ => Err(confused("read")),
        };
        reads.iter().map(one).collect()
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let one = |set: &RowSet| match self.ask("write", &Request::WriteRows(set.clone())) {
            Ok(Response::RowsWritten(result)) => result.into(),
            Ok(_) => RowWriteResult::Failed(confused("write")),
            Err(error) => RowWriteResult::Failed(error),
        };
        sets.iter().map(one).collect()
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        if !prefix.is_empty() {
            return Err(only_the_owner("scan"));
        }
        let after = cursor.map(|cursor| cursor.0.clone());
        let request = Request::ScanRows { scope: scope.clone(), after, limit: limit as u64 };
        match self.ask("scan", &request)? {
            Response::Page { items, next } => Ok(Page { items, next: next.map(Cursor) }),
            _ => Err(confused("scan")),
        }
    }

    async fn scopes(
        &self,
        _: &str,
        _: Option<&Cursor>,
        _: usize,
    ) -> Result<Page<Scope>, StoreError> {
        Err(only_the_owner("scopes"))
    }
}
