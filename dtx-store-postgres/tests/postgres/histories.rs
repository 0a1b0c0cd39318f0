//! Several processes on one schema.

use std::{env, sync::Arc};

use dtx_core::store::Scope;
use dtx_store_postgres::{PgStore, SchemaName};
use dtx_testkit::linear::{Processes, Target, child};

use super::harness::{config, schema};

const SCHEMA: &str = "DTX_HISTORY_SCHEMA";

/// The store as one process sees it.
async fn open(schema: &SchemaName) -> Target {
    let store = Arc::new(PgStore::connect(config(schema)).await.expect("it opens"));
    Target { state: store.clone(), rows: store, scope: Scope::new("s").expect("a scope") }
}

/// Not a test by itself: what another process does.
#[test]
fn child_of_the_histories() {
    child(async || {
        let schema = env::var(SCHEMA).expect("it is set");
        open(&SchemaName::new(schema).expect("it is valid")).await
    });
}

#[test]
fn histories_of_several_processes_are_linearizable() {
    let schema = schema();
    let processes = Processes {
        test: "histories::child_of_the_histories",
        environment: vec![(SCHEMA.to_owned(), schema.to_string())],
        children: 3,
        here: 0,
        calls: 150,
        keys: 4,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("it starts");
    // The tables are there before anyone begins.
    let target = runtime.block_on(open(&schema));
    processes.check(&target);
}
