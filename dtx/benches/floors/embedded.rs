//! The embedded store: throughput against a bare redb writer of the same rows in the same mode,
//! and latency at one in flight against the store's single commit.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dtx::prelude::*;
use redb::{ConcurrencyMode, Database, ReadableDatabase, ReadableTable, TableDefinition};

use dtx_bench::nothing;

use super::{judge, median};

const IN_FLIGHT: usize = 1_024;

const HEADS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("heads");
const OPEN: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("open");
const DUE: TableDefinition<'_, &[u8; 26], ()> = TableDefinition::new("due");
const FINISHED: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("finished");

/// How many bytes the store writes for one transaction, as found in its file.
#[derive(Clone, Copy)]
struct RowBytes {
    head: usize,
    open: usize,
    finished: usize,
}

impl RowBytes {
    /// Some transactions that end, and some whose participants are not there.
    fn measured(folder: &Path) -> Self {
        const COUNT: usize = 64;
        let path = folder.join("rows");
        let run = |participants: Vec<Participant>, ends: bool| {
            runtime().block_on(async {
                let store = RedbStore::open(&path).await.unwrap();
                let mut builder = Dtx::builder().store(store).transport(InMemoryTransport::new());
                for participant in participants {
                    builder = builder.participant(participant);
                }
                let dtx = builder.start().await.unwrap();
                for _ in 0..COUNT {
                    let transaction = nothing::transaction(Pattern::TwoPhaseSaga);
                    let mut handle = dtx.submit(transaction).await.unwrap();
                    if ends {
                        handle.outcome().await.unwrap();
                    }
                }
                dtx.shutdown(Duration::ZERO).await;
            });
        };
        run(nothing::participants(), true);
        run(Vec::new(), false);
        let database = Database::open(&path).unwrap();
        let read = database.begin_read().unwrap();
        let mean = |table: TableDefinition<'static, &[u8; 16], &[u8]>| {
            let table = read.open_table(table).unwrap();
            let rows = table.iter().unwrap().map(|row| row.unwrap().1.value().len());
            let sizes: Vec<usize> = rows.collect();
            assert!(sizes.len() >= COUNT, "every kind of row is there");
            sizes.iter().sum::<usize>() / sizes.len()
        };
        Self { head: mean(HEADS), open: mean(OPEN), finished: mean(FINISHED) }
    }
}

/// Transactions per second of a writer that does nothing but write their rows: the accepts of
/// one half of what is in flight and the ends of the other half in each commit.
fn bare_window(path: &Path, rows: RowBytes, window: Duration) -> f64 {
    let database = Database::builder()
        .set_concurrency_mode(ConcurrencyMode::SingleWriter)
        .create(path)
        .unwrap();
    let (head, open, finished) = (vec![7; rows.head], vec![7; rows.open], vec![7; rows.finished]);
    let (mut accepted, mut ended) = (0_u64, 0_u64);
    let begun = Instant::now();
    while begun.elapsed() < window {
        let write = database.begin_write().unwrap();
        {
            let mut heads = write.open_table(HEADS).unwrap();
            let mut opens = write.open_table(OPEN).unwrap();
            let mut dues = write.open_table(DUE).unwrap();
            let mut finishes = write.open_table(FINISHED).unwrap();
            for _ in 0..IN_FLIGHT / 2 {
                heads.insert(&id(accepted), head.as_slice()).unwrap();
                opens.insert(&id(accepted), open.as_slice()).unwrap();
                dues.insert(&due(accepted), ()).unwrap();
                accepted += 1;
            }
            while ended + (IN_FLIGHT as u64) / 2 < accepted {
                opens.remove(&id(ended)).unwrap();
                dues.remove(&due(ended)).unwrap();
                finishes.insert(&id(ended), finished.as_slice()).unwrap();
                ended += 1;
            }
        }
        write.commit().unwrap();
    }
    ended as f64 / begun.elapsed().as_secs_f64()
}

/// Ids in the order of their time, spread as the random part of a UUIDv7 is.
fn id(number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(number / 32).to_be_bytes());
    id[8..].copy_from_slice(&dtx::ids::mix(number).to_be_bytes());
    id
}

fn due(number: u64) -> [u8; 26] {
    let mut due = [0xFF; 26];
    due[..2].copy_from_slice(&((dtx::ids::mix(number) % 64) as u16).to_be_bytes());
    due[10..].copy_from_slice(&id(number));
    due
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn start(store: RedbStore) -> Dtx {
    let mut builder = Dtx::builder().store(store).transport(InMemoryTransport::new());
    for participant in nothing::participants() {
        builder = builder.participant(participant);
    }
    builder.start().await.unwrap()
}

fn dtx_window(path: &Path, window: Duration) -> f64 {
    runtime().block_on(async {
        let dtx = start(RedbStore::open(path).await.unwrap()).await;
        let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let begun = Instant::now();
        let callers: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                let (dtx, done, stop) = (dtx.clone(), done.clone(), stop.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let transaction = nothing::transaction(Pattern::TwoPhaseSaga);
                        let mut handle = dtx.submit(transaction).await.unwrap();
                        assert_eq!(handle.outcome().await.unwrap(), Outcome::Committed);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        tokio::time::sleep_until(tokio::time::Instant::now() + window).await;
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        let rate = done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
        dtx.shutdown(Duration::from_secs(5)).await;
        rate
    })
}

pub(crate) fn throughput(seconds: u64, windows: usize) -> usize {
    let window = Duration::from_secs(seconds);
    let folder = tempfile::tempdir().unwrap();
    let (mut ratios, mut floors, mut rates) = (vec![], vec![], vec![]);
    let rows = RowBytes::measured(folder.path());
    for number in 0..windows {
        let floor = bare_window(&folder.path().join(format!("bare-{number}")), rows, window);
        let rate = dtx_window(&folder.path().join(format!("dtx-{number}")), window);
        ratios.push(100.0 * rate / floor);
        floors.push(floor);
        rates.push(rate);
    }
    let floor = format!(
        "bare redb writer {:.0} transactions' rows per second ({} + {} + {} bytes); dtx {:.0}",
        median(floors),
        rows.head,
        rows.open,
        rows.finished,
        median(rates)
    );
    let name = format!("2ps on redb at {IN_FLIGHT} in flight, percent of the bare writer");
    judge(&name, &floor, median(ratios), 25.0, false)
}

/// The store's single commit: the end of one transaction, nothing else in flight.
async fn single_commit(store: &RedbStore, bytes: usize, numbers: std::ops::Range<u64>) -> f64 {
    use dtx::store::{ParticipantStore, RowChange, RowExpect, RowKey, RowSet, Scope};
    let mut taken = Vec::new();
    for number in numbers {
        let change = RowChange {
            key: RowKey(number.to_be_bytes().to_vec().into()),
            expect: RowExpect::Absent,
            value: Some(vec![7; bytes].into()),
        };
        let set = RowSet {
            scope: Scope::new(format!("floor/{}", dtx::ids::mix(number))).unwrap(),
            changes: vec![change],
            unchanged: Vec::new(),
            not_after: None,
        };
        let begun = Instant::now();
        let written = store.write(&[set]).await;
        taken.push(begun.elapsed().as_secs_f64() * 1e6);
        assert!(matches!(written[..], [dtx::store::RowWriteResult::Written]));
    }
    median(taken)
}

pub(crate) fn latency() -> usize {
    const SAMPLES: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let rows = RowBytes::measured(folder.path());
    let mut missed = 0;
    for pattern in [Pattern::Saga, Pattern::TwoPhaseSaga, Pattern::ThreePhaseSaga] {
        let path = folder.path().join(pattern.word());
        let (single, p50) = runtime().block_on(async {
            let store = RedbStore::open(&path).await.unwrap();
            let dtx = start(store.clone()).await;
            let (mut singles, mut taken) = (vec![], vec![]);
            for round in 0..4 {
                let numbers = round * SAMPLES..round * SAMPLES + SAMPLES / 4;
                singles.push(single_commit(&store, rows.finished, numbers).await);
                for _ in 0..SAMPLES / 4 {
                    let begun = Instant::now();
                    let mut handle = dtx.submit(nothing::transaction(pattern)).await.unwrap();
                    handle.outcome().await.unwrap();
                    taken.push(begun.elapsed().as_secs_f64() * 1e6);
                }
            }
            dtx.shutdown(Duration::from_secs(5)).await;
            (median(singles), median(taken))
        });
        let floor = format!("single commit p50 {single:.0} us; transaction p50 {p50:.0} us");
        let name = format!("{pattern} on redb at one in flight, p50 in single commits");
        missed += judge(&name, &floor, p50 / single, 4.0, true);
    }
    missed
}
