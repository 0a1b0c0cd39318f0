//! Recorders around a real store and a real transport.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use dtx_core::{
    error::{Effect, StoreError, TransportError},
    ids::{OperationIndex, ShardId, TxId, Version},
    name::Namespace,
    resource::barrier::parse_inbox_key,
    store::{
        Catalog, CommitResult, Cursor, Filter, JournalEntry, Lease, LeaseRequest, OpenPage,
        PAGE_ITEMS_MAX, Page, ParticipantStore, Purge, RowKey, RowSet, RowWriteResult, Scope,
        ScopeRead, ScopeRows, StateStore, StoreInfo, StoredRow, TxRecord, TxWrite,
    },
    time::Timestamp,
    transaction::{Key, codec},
    transport::{Body, Envelope, PublishResult, Subscribe, Subscription, Transport, TransportInfo},
};

use super::{
    line::{Facts, Plan, Said, What},
    rows::{change, kept, pool, written},
    write::{HistoryWriter, digest},
};

type Line = (Option<TxId>, What);

/// A store whose writes, and what is found in it, are written into a history.
///
/// It holds about 100 bytes for each transaction and each operation of this process.
#[derive(Clone, Debug)]
pub struct Recorded<S> {
    inner: S,
    history: HistoryWriter,
    known: Arc<Mutex<Known>>,
}

/// What this process has said already.
#[derive(Debug, Default)]
struct Known {
    records: HashMap<TxId, Version>,
    rows: HashMap<(TxId, OperationIndex), u64>,
}

impl<S> Recorded<S> {
    /// A recorder around a store.
    pub fn new(inner: S, history: HistoryWriter) -> Self {
        Self { inner, history, known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record that was read says something only if it is newer than what is known.
    fn see<'a>(&self, records: impl Iterator<Item = &'a TxRecord>) {
        let mut lines = Vec::new();
        let mut known = self.known();
        for record in records {
            let TxRecord { tx, version, verdict, .. } = record;
            let last = known.records.get(tx).copied();
            if last.is_none() {
                lines.extend(planned(*tx, &record.definition));
            }
            if last.is_none_or(|last| last < *version) {
                known.records.insert(*tx, *version);
                let facts = Facts::of(*version, *verdict, &record.state, &record.summary);
                lines.push((Some(*tx), What::Seen { facts }));
            }
        }
        drop(known);
        self.note("store", lines);
    }

    fn note(&self, node: &str, lines: Vec<Line>) {
        if !lines.is_empty() {
            self.history.note(node, lines);
        }
    }

    /// Whether an inbox row says something new; it is known from now on.
    fn is_news(&self, key: &RowKey, value: &[u8]) -> bool {
        let Some(owner) = parse_inbox_key(key) else { return false };
        let sum = value.iter().fold(0_u64, |sum, byte| dtx_core::ids::mix(sum ^ u64::from(*byte)));
        self.known().rows.insert(owner, sum) != Some(sum)
    }
}

fn planned(tx: TxId, definition: &[u8]) -> Option<Line> {
    let transaction = codec::decode(definition).ok()?;
    Some((Some(tx), What::Submitted { plan: Plan::of(&transaction, |_| true) }))
}

fn landed(write: &TxWrite, result: &CommitResult) -> Line {
    let record = write.kind;
    let not = |verdict, unknown| What::NotLanded { record, verdict, unknown };
    let what = match result {
        CommitResult::Committed(version) => What::Landed {
            record,
            epoch: write.fence.map(|fence| fence.epoch),
            facts: Facts::of(*version, write.verdict, &write.state, &write.summary),
        },
        CommitResult::Conflict { verdict, .. } => not(*verdict, false),
        CommitResult::Fenced | CommitResult::DuplicateKey { .. } => not(None, false),
        CommitResult::Failed(error) => not(None, error.effect() == Effect::Unknown),
    };
    (Some(write.tx), what)
}

impl<S: Catalog + ParticipantStore> Recorded<S> {
    /// Writes the final tables down: the records of a namespace, and the pools whose scope begins
    /// with one of the prefixes. Nothing may be on its way.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn dump(&self, namespace: &Namespace, prefixes: &[String]) -> Result<(), StoreError> {
        for prefix in prefixes {
            let mut cursor = None;
            loop {
                let page = self.inner.scopes(prefix, cursor.as_ref(), PAGE_ITEMS_MAX).await?;
                for scope in &page.items {
                    self.dump_scope(scope).await?;
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        let mut filter = Filter {
            namespace: Some(namespace.clone()),
            limit: PAGE_ITEMS_MAX,
            ..Filter::default()
        };
        loop {
            let page = self.inner.list(&filter).await?;
            let lines = page.items.iter().map(|record| {
                let TxRecord { tx, version, verdict, .. } = record;
                let facts = Facts::of(*version, *verdict, &record.state, &record.summary);
                (Some(*tx), What::FinalRecord { facts })
            });
            self.note("store", lines.collect());
            filter.cursor = page.next;
            if filter.cursor.is_none() {
                return Ok(());
            }
        }
    }

    async fn dump_scope(&self, scope: &Scope) -> Result<(), StoreError> {
        let (mut lines, mut last, mut cursor) = (Vec::new(), None, None);
        loop {
            let page = self.inner.scan(scope, &[], cursor.as_ref(), PAGE_ITEMS_MAX).await?;
            for (key, row) in &page.items {
                lines.extend(final_effect(scope, key, row));
                last = last.or_else(|| pool(scope.as_str(), key, &row.value));
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        lines.extend(last.map(|pool| (None, What::FinalPool { pool })));
        self.note("participants", lines);
        Ok(())
    }
}

/// The line of an effect row of the final tables.
pub(crate) fn final_effect(scope: &Scope, key: &RowKey, row: &StoredRow) -> Option<Line> {
    let found = change(key, &row.value)?;
    let (scope, operation) = (scope.as_str().to_owned(), found.operation);
    let (change, reversal) = (found.change, found.reversal);
    Some((Some(found.tx), What::FinalEffect { scope, operation, change, reversal }))
}

#[async_trait]
impl<S: StateStore> StateStore for Recorded<S> {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.now().await
    }

    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        let plan = |write: &TxWrite| planned(write.tx, write.definition.as_ref()?);
        self.note("client", writes.iter().filter_map(plan).collect());
        let results = self.inner.commit(writes).await;
        let lines = writes.iter().zip(&results).map(|(write, result)| landed(write, result));
        let lines = lines.collect();
        let mut known = self.known();
        for (write, result) in writes.iter().zip(&results) {
            if let CommitResult::Committed(version) = result {
                let last = known.records.entry(write.tx).or_default();
                *last = (*last).max(*version);
            }
        }
        drop(known);
        self.note("store", lines);
        results
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        let records = self.inner.load(ids).await?;
        self.see(records.iter().flatten());
        Ok(records)
    }

    async fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<OpenPage, StoreError> {
        let page = self.inner.open(shard, due_before, cursor, limit).await?;
        self.see(page.records.iter());
        Ok(page)
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError> {
        let leases = self.inner.acquire(request).await?;
        let line = |lease: &Lease| {
            let (shard, epoch) = (lease.shard, lease.epoch);
            (None, What::Leased { shard, epoch })
        };
        self.note(&format!("coordinator-{:?}", request.holder), leases.iter().map(line).collect());
        Ok(leases)
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        self.inner.renew(leases).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        self.inner.release(leases).await
    }
}

#[async_trait]
impl<S: Catalog> Catalog for Recorded<S> {
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        self.inner.list(filter).await
    }

    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        self.inner.history(tx).await
    }

    async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        self.inner.by_key(key).await
    }

    async fn purge(&self, purge: &Purge) -> Result<u64, StoreError> {
        self.inner.purge(purge).await
    }
}

impl<S> Recorded<S> {
    /// Writes down what was read of participants for the first time.
    fn note_rows(&self, reads: &[ScopeRead], found: &[ScopeRows]) {
        let mut lines = Vec::new();
        for (read, rows) in reads.iter().zip(found) {
            for (key, row) in read.keys.iter().zip(&rows.rows) {
                if let Some(row) = row.as_ref().filter(|row| self.is_news(key, &row.value)) {
                    let said = kept(key, &row.value, true).into_iter();
                    lines.extend(said.map(|(tx, what)| (Some(tx), what)));
                }
            }
        }
        self.note("participants", lines);
    }
}

#[async_trait]
impl<S: ParticipantStore> ParticipantStore for Recorded<S> {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        let found = self.inner.read(reads).await?;
        self.note_rows(reads, &found);
        Ok(found)
    }

    async fn read_durable(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        let found = self.inner.read_durable(reads).await?;
        self.note_rows(reads, &found);
        Ok(found)
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let results = self.inner.write(sets).await;
        let mut lines = Vec::new();
        for (set, result) in sets.iter().zip(&results) {
            if !matches!(result, RowWriteResult::Written) {
                continue;
            }
            for row in &set.changes {
                if let Some(value) =
                    row.value.as_ref().filter(|value| self.is_news(&row.key, value))
                {
                    let said = kept(&row.key, value, false).into_iter();
                    lines.extend(said.map(|(tx, what)| (Some(tx), what)));
                }
            }
            lines.extend(written(set).map(|what| (None, what)));
        }
        self.note("participants", lines);
        results
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        self.inner.scan(scope, prefix, cursor, limit).await
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        self.inner.scopes(prefix, cursor, limit).await
    }
}

/// A transport whose messages are written into a history as they leave.
#[derive(Debug)]
pub struct RecordedTransport {
    inner: Arc<dyn Transport>,
    history: HistoryWriter,
}

impl RecordedTransport {
    /// A recorder around a transport.
    pub fn new(inner: Arc<dyn Transport>, history: HistoryWriter) -> Self {
        Self { inner, history }
    }
}

fn sent(message: &Envelope) -> Option<Line> {
    let what = match &message.body {
        Body::Command(command) => What::Command {
            operation: command.operation,
            phase: command.phase,
            attempt: command.attempt,
            epoch: command.epoch,
            digest: Some(digest(&command.payload)),
        },
        Body::Reply(reply) => {
            let (answer, reason) = Said::of(&reply.answer);
            What::Reply { operation: reply.operation, phase: reply.phase, answer, reason }
        }
        Body::Inquiry(_) => return None,
        Body::InquiryAnswer(answer) => What::Inquired { verdict: answer.verdict },
    };
    Some((Some(message.tx()), what))
}

#[async_trait]
impl Transport for RecordedTransport {
    fn info(&self) -> &TransportInfo {
        self.inner.info()
    }

    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        self.history.note("transport", messages.iter().filter_map(sent));
        self.inner.publish(messages).await
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        self.inner.subscribe(subscribe).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.inner.close().await
    }
}
