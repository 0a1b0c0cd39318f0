//! Clients that compare and set at random.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use dtx_core::{
    error::{Retry, StoreError},
    ids::{HolderId, TxId, Version, WriteId, mix},
    store::{
        CommitResult, Expect, ParticipantStore, RecordKind, RowChange, RowExpect, RowKey, RowSet,
        RowWriteResult, Scope, ScopeRead, StateStore, TxWrite,
    },
};

use super::{Call, Log, Outcome};
use crate::{
    cancel::drop_after_polls,
    store::{Pen, tx},
};

/// A store as one process sees it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its transactions.
    pub state: Arc<dyn StateStore>,
    /// Its rows.
    pub rows: Arc<dyn ParticipantStore>,
    /// The scope of the rows.
    pub scope: Scope,
}

/// What one client does.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Its number, unlike that of every other client of the history.
    pub client: u64,
    /// How many calls it makes.
    pub calls: u64,
    /// On how many keys: the even ones are transactions, the odd ones rows.
    pub keys: u64,
}

/// Makes the calls of one client and records them. One in eight is dropped half-way, so that its
/// outcome is unknown; half of those are made again with the same id.
///
/// # Panics
/// When the store fails for good.
pub async fn work(target: &Target, work: Work, log: &mut dyn Log) {
    let mut believed: BTreeMap<u64, State> = BTreeMap::new();
    let mut again = None;
    for n in 1..=work.calls {
        let dice = mix(work.client << 32 ^ n);
        let (key, call) = again.take().unwrap_or_else(|| {
            let key = (dice >> 8) % work.keys;
            let expect = believed.get(&key).copied().flatten().map(|(version, _)| version);
            let id = work.client << 32 | n;
            let call = if dice.is_multiple_of(3) { Call::Read } else { Call::Write { id, expect } };
            (key, call)
        });
        let number = log.begin(key, call);
        let polls = if dice >> 20 & 7 == 0 { (dice >> 24) as usize % 3 } else { usize::MAX };
        let outcome = drop_after_polls(make(target, key, call), polls).await;
        let outcome = outcome.unwrap_or(Outcome::Unknown);
        log.end(number, outcome);
        match (outcome, call) {
            (Outcome::Value(value), _) => _ = believed.insert(key, value),
            (Outcome::Written(version), Call::Write { id, .. }) => {
                believed.insert(key, Some((version, id)));
            }
            (Outcome::Conflict(Some(found)), _) => {
                believed.insert(key, found.map(|version| (version, 0)));
            }
            (Outcome::Unknown, Call::Write { .. })
                if is_transaction(key) && dice >> 40 & 1 == 0 =>
            {
                again = Some((key, call));
            }
            _ => _ = believed.remove(&key),
        }
        tokio::task::yield_now().await;
    }
}

type State = Option<(u64, u64)>;

fn is_transaction(key: u64) -> bool {
    key.is_multiple_of(2)
}

async fn make(target: &Target, key: u64, call: Call) -> Outcome {
    match (is_transaction(key), call) {
        (true, Call::Read) => {
            // An answer that does not come says nothing.
            let Ok(mut rows) = target.state.load(&[tx(key)]).await else { return Outcome::Unknown };
            Outcome::Value(rows.remove(0).map(|row| (row.version.0, row.last_write.number)))
        }
        (true, Call::Write { id, expect }) => {
            let writes = [transaction_write(tx(key), id, expect)];
            match target.state.commit(&writes).await.remove(0) {
                CommitResult::Committed(version) => Outcome::Written(version.0),
                CommitResult::Conflict { found, .. } => {
                    Outcome::Conflict(Some(found.map(|version| version.0)))
                }
                CommitResult::Failed(error) => failed(&error),
                other => panic!("a call without a fence and a key: {other:?}"),
            }
        }
        (false, call) => on_row(target, key, call).await,
    }
}

/// A failure that the store can be in for a moment. Whether it says that nothing happened or that
/// nobody knows, the history may take it for either.
fn failed(error: &StoreError) -> Outcome {
    assert!(error.retry() != Retry::Never, "the store failed: {error:?}");
    Outcome::Unknown
}

fn transaction_write(tx: TxId, id: u64, expect: Option<u64>) -> TxWrite {
    let mut pen = Pen::new(0);
    let write = match expect {
        None => pen.accept(tx),
        Some(version) => pen.write(tx, RecordKind::Signal, Expect::Version(Version(version))),
    };
    TxWrite { id: WriteId { writer: HolderId(1), number: id }, ..write }
}

async fn on_row(target: &Target, key: u64, call: Call) -> Outcome {
    let row_key = RowKey(Bytes::copy_from_slice(&key.to_be_bytes()));
    let scope = target.scope.clone();
    match call {
        Call::Read => {
            let reads = [ScopeRead { scope, keys: vec![row_key] }];
            let Ok(mut scopes) = target.rows.read(&reads).await else { return Outcome::Unknown };
            let row = scopes.remove(0).rows.remove(0);
            let id = |value: &[u8]| u64::from_be_bytes(value.try_into().expect("eight bytes"));
            Outcome::Value(row.map(|row| (row.version.0, id(&row.value))))
        }
        Call::Write { id, expect } => {
            let expect = expect.map_or(RowExpect::Absent, |v| RowExpect::Version(Version(v)));
            let value = Some(Bytes::copy_from_slice(&id.to_be_bytes()));
            let version = match expect {
                RowExpect::Absent => 1,
                RowExpect::Version(version) => version.0 + 1,
            };
            let changes = vec![RowChange { key: row_key, expect, value }];
            let set = RowSet { scope, changes, unchanged: Vec::new(), not_after: None };
            match target.rows.write(&[set]).await.remove(0) {
                RowWriteResult::Written => Outcome::Written(version),
                RowWriteResult::Conflict => Outcome::Conflict(None),
                RowWriteResult::Failed(error) => failed(&error),
                RowWriteResult::TooLate => panic!("a write without a limit is never too late"),
            }
        }
    }
}
