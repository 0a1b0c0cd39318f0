//! What a run has told on a pipe, and whether it is so.

use std::collections::{BTreeMap, BTreeSet};

use dtx::{
    PgConfig, PgStore, RedbStore, RedisStore,
    name::Namespace,
    store::{Catalog, StateStore, Status, TxRecord},
    transaction::Key,
};
use dtx_shop::StoreAddress;
use serde_json::{Value, json};

/// The name of a run that is alone on its store, in which its keys are.
pub(crate) const RUN: &str = "crash";

/// The orders that a run has told of with `--progress orders`.
#[derive(Debug)]
pub(crate) struct Told {
    run: String,
    pub(crate) accepted: BTreeSet<String>,
    pub(crate) outcomes: BTreeMap<String, Value>,
}

impl Told {
    /// Of a run of this name.
    pub(crate) fn of(run: &str) -> Self {
        Self { run: run.to_owned(), accepted: BTreeSet::new(), outcomes: BTreeMap::new() }
    }

    /// Takes in a line. A kill may have torn the last one.
    pub(crate) fn hear(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str::<Value>(line) else { return };
        if let Some(order) = line["accepted"].as_str() {
            self.accepted.insert(order.to_owned());
        } else if let Some(order) = line["order"].as_str() {
            self.outcomes.insert(order.to_owned(), line["outcome"].clone());
        }
    }

    /// What is missing in the store as it is after the crash, in words.
    pub(crate) fn missing_in(&self, store: &str) -> Vec<String> {
        let records = self.records(store);
        let accepted = self.accepted.iter().filter(|order| !records.contains_key(*order));
        let mut missing: Vec<_> =
            accepted.map(|order| format!("order {order} was accepted")).collect();
        let decided = |order: &String| records.get(order).is_some_and(is_decided);
        let undecided = self.outcomes.iter().filter(|(order, _)| !decided(order));
        missing.extend(undecided.map(|(order, end)| format!("order {order} was {end}")));
        missing
    }

    /// Which outcomes are other ones now that everything has ended, in words.
    pub(crate) fn changed_in(&self, store: &str) -> Vec<String> {
        let records = self.records(store);
        let now = |order: &String| records.get(order).and_then(outcome);
        let changed = self.outcomes.iter().filter(|(order, end)| now(order).as_ref() != Some(end));
        changed
            .map(|(order, end)| format!("order {order} was {end} and is {:?}", now(order)))
            .collect()
    }

    /// The records of the orders, as far as there are any.
    fn records(&self, store: &str) -> BTreeMap<String, TxRecord> {
        if self.accepted.is_empty() {
            // Not touched, so that whoever comes next finds the store as the crash left it.
            return BTreeMap::new();
        }
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("it starts");
        let opens = "the store opens after a crash";
        runtime.block_on(async {
            match store.parse().expect("an address") {
                StoreAddress::Memory => panic!("a crash leaves nothing of it"),
                StoreAddress::Redb(path) => {
                    let store = RedbStore::open(&path).await.expect(opens);
                    let found = self.look(&store).await;
                    store.close().await.expect("the store closes");
                    found
                }
                StoreAddress::Postgres(url) => {
                    let config = PgConfig::from_url(url.expose()).expect("a URL");
                    let store = PgStore::connect(config).await.expect(opens);
                    let found = self.look(&store).await;
                    store.close().await;
                    found
                }
                StoreAddress::Redis(url) => {
                    let store = RedisStore::connect(url.expose()).await.expect(opens);
                    self.look(&store).await
                }
            }
        })
    }

    async fn look(&self, store: &(impl StateStore + Catalog)) -> BTreeMap<String, TxRecord> {
        let mut found = BTreeMap::new();
        for order in &self.accepted {
            let namespace = Namespace::new(self.run.as_str()).expect("a name");
            let key = Key { namespace, key: order.clone() };
            let tx = store.by_key(&key).await.expect("the store answers");
            let Some(tx) = tx else { continue };
            let record = store.load(&[tx]).await.expect("the store answers").remove(0);
            found.extend(record.map(|record| (order.clone(), record)));
        }
        found
    }
}

/// Whether an outcome that was told cannot become another one.
fn is_decided(record: &TxRecord) -> bool {
    record.verdict.is_some() || outcome(record).is_some()
}

fn outcome(record: &TxRecord) -> Option<Value> {
    match record.summary.status {
        Status::Finished(outcome) => Some(json!(outcome)),
        _ => None,
    }
}
