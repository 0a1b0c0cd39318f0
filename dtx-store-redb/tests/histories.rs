//! Two processes on one store: the owner, and another one through the owner's socket.
#![cfg(unix)]
#![allow(missing_docs)]

use std::{path::Path, sync::Arc};

use dtx_core::store::Scope;
use dtx_store_redb::{RedbOwner, RedbStore};
use dtx_testkit::linear::{Processes, Target, child};

const FILE: &str = "DTX_HISTORY_FILE";

/// Rows that another process may write are those of operators.
fn scope() -> Scope {
    Scope::new("_dtx/holds").expect("a scope")
}

/// Not a test by itself: what the other process does.
#[test]
fn child_through_the_socket() {
    child(async || {
        let file = std::env::var_os(FILE).expect("set");
        let owner = RedbOwner::connect(Path::new(&file)).expect("it answers");
        let owner = Arc::new(owner.expect("it has an owner"));
        Target { state: owner.clone(), rows: owner, scope: scope() }
    });
}

#[test]
fn histories_of_two_processes_are_linearizable() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("store.redb");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
    let store = Arc::new(runtime.block_on(RedbStore::open(&file)).expect("opens"));
    let processes = Processes {
        test: "child_through_the_socket",
        environment: vec![(FILE.to_owned(), file.display().to_string())],
        children: 2,
        here: 2,
        calls: 100,
        keys: 4,
    };
    processes.check(&Target { state: store.clone(), rows: store, scope: scope() });
}
