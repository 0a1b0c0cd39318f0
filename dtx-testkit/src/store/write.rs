//! Short ways to make the writes of the cases.

use std::time::Duration;

use bytes::Bytes;
use dtx_core::{
    ids::{Epoch, HolderId, ShardCount, ShardId, TxId, Version, WriteId, mix},
    name::Namespace,
    pattern::Pattern,
    store::{
        CommitResult, Expect, Fence, JournalEntry, JournalEvent, LeaseRequest, RecordKind,
        StateStore, Status, Summary, TxRecord, TxWrite, Verdict,
    },
    time::Timestamp,
    transaction::Key,
};

/// The transaction number `n`: higher numbers have higher ids.
pub fn tx(n: u64) -> TxId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&mix(n).to_be_bytes());
    TxId::from_parts(1_700_000_000_000 + n, random)
}

/// The first `count` transactions of a shard, in the order of their ids.
pub fn tx_of(shard: ShardId, shards: ShardCount, count: usize) -> Vec<TxId> {
    (0..).map(tx).filter(|tx| tx.shard(shards) == shard).take(count).collect()
}

/// Makes writes with ids that are never used twice.
#[derive(Debug)]
pub struct Pen {
    writer: HolderId,
    number: u64,
}

impl Pen {
    /// The pen of a writer.
    pub fn new(writer: u128) -> Self {
        Self { writer: HolderId(writer), number: 0 }
    }

    fn next_id(&mut self) -> WriteId {
        self.number += 1;
        WriteId { writer: self.writer, number: self.number }
    }

    /// A write without a fence. Its state says which write it is, so that a read shows whether
    /// it was applied; its journal has one entry of its kind.
    pub fn write(&mut self, tx: TxId, kind: RecordKind, expect: Expect) -> TxWrite {
        let id = self.next_id();
        let entry = JournalEntry {
            at: Timestamp::from_micros(id.number),
            epoch: Epoch(0),
            event: JournalEvent::Recorded(kind),
        };
        TxWrite {
            id,
            tx,
            kind,
            expect,
            fence: None,
            key: None,
            definition: None,
            verdict: None,
            state: Bytes::from(format!("state of {id:?}")),
            due: Some(Timestamp::from_micros(1_000)),
            summary: Summary {
                pattern: Pattern::TwoPhaseSaga,
                status: Status::Open,
                operations: 3,
                dead_letters: 0,
                resumes: 0,
                exceptions: Vec::new(),
            },
            journal: [entry].into(),
            lazy: false,
        }
    }

    /// An unfenced accept.
    pub fn accept(&mut self, tx: TxId) -> TxWrite {
        let mut write = self.write(tx, RecordKind::Accepted, Expect::Absent);
        write.definition = Some(Bytes::from(format!("definition of {tx}")));
        write
    }

    /// An unfenced accept with a caller's key.
    pub fn accept_key(&mut self, tx: TxId, namespace: &str, key: &str) -> TxWrite {
        let namespace = Namespace::new(namespace).expect("a valid namespace");
        let key = Some(Key { namespace, key: key.into() });
        TxWrite { key, ..self.accept(tx) }
    }

    /// A durable signal: the simplest change that needs no lease.
    pub fn signal(&mut self, tx: TxId, version: u64) -> TxWrite {
        self.write(tx, RecordKind::Signal, Expect::Version(Version(version)))
    }

    /// A change under a fence.
    pub fn progress(&mut self, tx: TxId, version: u64, fence: Fence) -> TxWrite {
        let write = self.write(tx, RecordKind::Progress, Expect::Version(Version(version)));
        TxWrite { fence: Some(fence), ..write }
    }

    /// A verdict, fenced or not.
    pub fn verdict(
        &mut self,
        tx: TxId,
        version: u64,
        verdict: Verdict,
        fence: Option<Fence>,
    ) -> TxWrite {
        let write = self.write(tx, RecordKind::Verdict, Expect::Version(Version(version)));
        TxWrite { fence, verdict: Some(verdict), ..write }
    }

    /// The last write: nothing is left to do.
    pub fn finish(&mut self, tx: TxId, version: u64, fence: Fence) -> TxWrite {
        let mut write = self.write(tx, RecordKind::Finished, Expect::Version(Version(version)));
        (write.fence, write.due) = (Some(fence), None);
        write.summary.status = Status::Finished(dtx_core::store::Outcome::Committed);
        write
    }
}

/// Commits one write.
pub async fn one(store: &dyn StateStore, write: &TxWrite) -> CommitResult {
    let mut results = store.commit(std::slice::from_ref(write)).await;
    assert_eq!(results.len(), 1, "one result per write");
    results.remove(0)
}

/// The version of a write that must have been committed.
///
/// # Panics
/// When it was not.
pub fn committed(result: &CommitResult) -> u64 {
    match result {
        CommitResult::Committed(version) => version.0,
        other => panic!("not committed: {other:?}"),
    }
}

/// The record of a transaction that must exist.
///
/// # Panics
/// When it does not.
pub async fn record(store: &dyn StateStore, tx: TxId) -> TxRecord {
    let mut rows = store.load(&[tx]).await.expect("load");
    rows.remove(0).expect("the transaction exists")
}

/// Takes the shard of a transaction for a minute.
///
/// # Panics
/// When another holder has it.
pub async fn own(store: &dyn StateStore, tx: TxId, holder: u128) -> Fence {
    let request = LeaseRequest {
        holder: HolderId(holder),
        shards: vec![tx.shard(store.info().shards)],
        ttl: Duration::from_secs(60),
    };
    store.acquire(&request).await.expect("acquire").first().expect("the shard is free").fence()
}
