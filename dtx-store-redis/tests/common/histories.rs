//! Several processes on one prefix.

use std::{env, sync::Arc};

use dtx_core::store::Scope;
use dtx_store_redis::KeyPrefix;
use dtx_testkit::linear::{Processes, Target, child};

use crate::{
    SharedServer,
    harness::{prefix, settings},
};

const PREFIX: &str = "DTX_HISTORY_PREFIX";

/// The store as one process sees it.
async fn open(prefix: &KeyPrefix) -> Target {
    let store = Arc::new(settings::<SharedServer>(prefix).open().await.expect("it opens"));
    Target { state: store.clone(), rows: store, scope: Scope::new("s").expect("a scope") }
}

/// Not a test by itself: what another process does.
#[test]
fn child_of_the_histories() {
    child(async || {
        let prefix = env::var(PREFIX).expect("it is set");
        open(&KeyPrefix::new(prefix).expect("it is valid")).await
    });
}

#[test]
fn histories_of_several_processes_are_linearizable() {
    let prefix = prefix();
    let processes = Processes {
        test: "histories::child_of_the_histories",
        environment: vec![(PREFIX.to_owned(), prefix.as_str().to_owned())],
        children: 3,
        here: 0,
        calls: 300,
        keys: 4,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let target = runtime.expect("it starts").block_on(open(&prefix));
    processes.check(&target);
}
