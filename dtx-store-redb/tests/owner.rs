//! The owner's socket, from the side of another process and of one that means harm.
#![cfg(unix)]
#![allow(missing_docs)]

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dtx_core::{
    error::ErrorKind,
    ids::Version,
    store::{
        Catalog, CommitResult, Expect, ParticipantStore, RecordKind, RowChange, RowExpect, RowKey,
        RowSet, RowWriteResult, Scope, ScopeRead, StateStore,
    },
};
use dtx_store_redb::{MESSAGE_BYTES_MAX, RedbOwner, RedbStore};
use dtx_testkit::store::{Pen, committed, one, record, tx};

fn file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    (directory, path)
}

fn socket(path: &Path) -> PathBuf {
    path.with_file_name("store.redb.sock")
}

fn connect(path: &Path) -> RedbOwner {
    RedbOwner::connect(path).expect("it answers").expect("it has an owner")
}

#[tokio::test]
async fn the_socket_is_for_its_user_alone_and_names_the_owner() {
    let (_directory, path) = file();
    assert!(RedbOwner::connect(&path).expect("no file").is_none());
    let store = RedbStore::open(&path).await.expect("opens");
    let mode = std::fs::metadata(socket(&path)).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let owner = connect(&path);
    assert_eq!(owner.owner().pid, std::process::id());
    assert_eq!(owner.info().shards, store.info().shards);
    store.close().await.expect("closes");
    assert!(!socket(&path).exists(), "it goes with its owner");
    assert!(RedbOwner::connect(&path).expect("free").is_none());
}

#[tokio::test]
async fn what_a_crashed_owner_left_is_replaced() {
    let (_directory, path) = file();
    drop(RedbStore::open(&path).await.expect("opens"));
    drop(std::os::unix::net::UnixListener::bind(socket(&path)).expect("binds"));
    assert!(socket(&path).exists());
    assert!(RedbOwner::connect(&path).expect("nobody listens").is_none());
    let store = RedbStore::open(&path).await.expect("opens");
    assert_eq!(connect(&path).owner().pid, std::process::id());
    drop(store);
    assert!(!socket(&path).exists(), "dropping the last handle takes it away too");
}

#[tokio::test]
async fn accepts_and_signals_go_through_and_what_needs_a_lease_does_not() {
    let (_directory, path) = file();
    let store = RedbStore::open(&path).await.expect("opens");
    let owner = connect(&path);
    let mut pen = Pen::new(1);
    committed(&one(&owner, &pen.accept(tx(1))).await);
    assert_eq!(record(&store, tx(1)).await.version, Version(1));
    let loaded = owner.load(&[tx(1), tx(2)]).await.expect("it answers");
    assert_eq!(loaded[0], Some(record(&store, tx(1)).await));
    assert_eq!(loaded[1], None);
    let mut signal = pen.accept(tx(1));
    (signal.kind, signal.expect) = (RecordKind::Signal, Expect::Version(Version(1)));
    (signal.definition, signal.key) = (None, None);
    committed(&one(&owner, &signal).await);
    committed(&one(&owner, &signal).await);
    assert_eq!(record(&store, tx(1)).await.version, Version(2), "a repeat is applied once");
    signal.id = pen.accept(tx(3)).id;
    assert!(matches!(one(&owner, &signal).await, CommitResult::Conflict { .. }));
    signal.kind = RecordKind::Progress;
    let CommitResult::Failed(error) = one(&owner, &signal).await else { panic!("it is refused") };
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(owner.now().await.expect("it answers") <= store.now().await.expect("a clock"));
    let error = owner.history(tx(1)).await.expect_err("only the owner");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn rows_of_operators_are_served_and_those_of_participants_are_not() {
    let (_directory, path) = file();
    let store = RedbStore::open(&path).await.expect("opens");
    let owner = connect(&path);
    let set = |scope: &str| {
        let key = RowKey(Bytes::from_static(b"k"));
        let value = Some(Bytes::from_static(b"v"));
        RowSet {
            scope: Scope::new(scope).expect("a scope"),
            changes: vec![RowChange { key, expect: RowExpect::Absent, value }],
            unchanged: Vec::new(),
            not_after: None,
        }
    };
    let write = async |scope| owner.write(&[set(scope)]).await.remove(0);
    assert!(matches!(write("_dtx/holds").await, RowWriteResult::Written));
    assert!(matches!(write("_dtx/holds").await, RowWriteResult::Conflict));
    assert!(matches!(write("payment/alice").await, RowWriteResult::Failed(_)));
    let scope = Scope::new("_dtx/holds").expect("a scope");
    assert_eq!(owner.scan(&scope, &[], None, 0).await.expect("a page").items.len(), 1);
    let keys = vec![RowKey(Bytes::from_static(b"k"))];
    let read = |scope: Scope| [ScopeRead { scope, keys: keys.clone() }];
    let rows = owner.read(&read(scope)).await.expect("rows");
    assert!(rows[0].rows[0].is_some());
    let alice = Scope::new("payment/alice").expect("a scope");
    owner.read(&read(alice.clone())).await.expect_err("not an operator's");
    assert_eq!(store.scan(&alice, &[], None, 0).await.expect("a page").items.len(), 0);
}

#[tokio::test]
async fn nonsense_and_messages_that_are_too_large_cut_the_connection_alone() {
    let (_directory, path) = file();
    let store = RedbStore::open(&path).await.expect("opens");
    let large = [&[1][..], &(MESSAGE_BYTES_MAX as u32 + 1).to_le_bytes()].concat();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &large, &[1, 1, 0, 0, 0, 0xFF]] {
        let mut stream = UnixStream::connect(socket(&path)).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        stream.write_all(bytes).expect("writes");
        let mut rest = Vec::new();
        // A reset is as good an end as a hang-up.
        let end = stream.read_to_end(&mut rest);
        assert!(end.is_err() || rest.is_empty(), "{rest:?}");
    }
    assert_eq!(connect(&path).owner().pid, std::process::id(), "it still serves others");
    drop(store);
}

#[tokio::test]
async fn one_who_says_nothing_does_not_hold_up_the_end() {
    let (_directory, path) = file();
    let store = RedbStore::open(&path).await.expect("opens");
    let silent = UnixStream::connect(socket(&path)).expect("connects");
    let begun = Instant::now();
    store.close().await.expect("closes");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(silent);
}

#[tokio::test]
async fn the_end_does_not_hang_on_a_socket_that_is_gone() {
    for what in ["the socket", "its folder"] {
        let (directory, path) = file();
        let store = RedbStore::open(&path).await.expect("opens");
        match what {
            "the socket" => std::fs::remove_file(socket(&path)).expect("it was there"),
            _ => directory.close().expect("it was there"),
        }
        // A thread of its own: a hung one must not hold up the end of the runtime too.
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(store);
            done.send(())
        });
        ended
            .recv_timeout(Duration::from_secs(30))
            .unwrap_or_else(|_| panic!("without {what} it does not end"));
    }
}
