//! A process that is killed loses nothing that it acknowledged.
#![allow(missing_docs)]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use dtx_core::store::{
    ParticipantStore, RowChange, RowExpect, RowKey, RowSet, RowWriteResult, Scope, ScopeRead,
    StateStore,
};
use dtx_store_redb::{RedbReader, RedbStore};
use dtx_testkit::store::{Pen, committed, one, own, tx};

const FILE: &str = "DTX_CRASH_FILE";
const ROUND: &str = "DTX_CRASH_ROUND";
const ROUNDS: u64 = 8;
const TASKS: u64 = 16;

fn row(n: u64) -> RowSet {
    let value = Bytes::from(n.to_string());
    let key = RowKey(Bytes::copy_from_slice(&n.to_be_bytes()));
    let change = RowChange { key, expect: RowExpect::Absent, value: Some(value) };
    let scope = Scope::new("crash").expect("valid");
    RowSet { scope, changes: vec![change], unchanged: Vec::new(), not_after: None }
}

/// Not a test by itself: what the killed process does. Says each number once it is durable.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let round: u64 = std::env::var(ROUND).expect("set").parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
    runtime.block_on(async {
        let store = RedbStore::open(Path::new(&file)).await.expect("opens");
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..TASKS {
            let store = store.clone();
            tasks.spawn(async move {
                let mut pen = Pen::new(u128::from(round * TASKS + task));
                for n in 0.. {
                    let n = (round * TASKS + task) << 32 | n;
                    committed(&one(&store, &pen.accept_key(tx(n), "crash", &n.to_string())).await);
                    let fence = own(&store, tx(n), round.into()).await;
                    committed(&one(&store, &pen.finish(tx(n), 1, fence)).await);
                    let written = store.write(&[row(n)]).await;
                    assert!(matches!(written[0], RowWriteResult::Written), "{written:?}");
                    println!("durable {n}");
                    std::io::stdout().flush().expect("flushes");
                }
            });
        }
        tasks.join_all().await;
    });
}

fn spawn(file: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "child_writes_until_it_is_killed", "--nocapture"])
        .env(FILE, file)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts")
}

#[test]
fn a_killed_owner_loses_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("store.redb");
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut child = spawn(&file, round);
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut seen = 0;
        for line in lines {
            let line = line.expect("text");
            let Some(n) = line.rsplit_once("durable ").and_then(|(_, n)| n.parse().ok()) else {
                continue;
            };
            acknowledged.insert(n);
            seen += 1;
            // At another moment in each round, in the middle of the others' writes.
            if seen == 5 + round * 23 {
                child.kill().expect("kills");
            }
        }
        let status = child.wait().expect("ends");
        assert!(!status.success() && seen > 0, "it was killed, not done: {status}");
        check(&file, round, &acknowledged);
    }
}

fn check(file: &Path, round: u64, acknowledged: &BTreeSet<u64>) {
    if round.is_multiple_of(2) {
        // A reader comes first, finds that the owner crashed, and repairs.
        let reader = RedbReader::open(file).expect("a crashed file can be read");
        let ids: Vec<_> = acknowledged.iter().map(|&n| tx(n)).collect();
        assert!(reader.load(&ids).expect("load").iter().all(Option::is_some));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
    runtime.block_on(async {
        let store = RedbStore::open(file).await.expect("opens after a crash");
        for &n in acknowledged {
            let record = store.load(&[tx(n)]).await.expect("load").remove(0);
            let record = record.unwrap_or_else(|| panic!("{n} was lost"));
            assert_eq!((record.version.0, record.due), (2, None));
            let set = row(n);
            let keys = vec![set.changes[0].key.clone()];
            let reads = [ScopeRead { scope: set.scope.clone(), keys }];
            let rows = store.read(&reads).await.expect("read").remove(0).rows;
            let stored = rows[0].as_ref().unwrap_or_else(|| panic!("row {n} was lost"));
            assert_eq!(Some(&stored.value), set.changes[0].value.as_ref());
        }
    });
}
