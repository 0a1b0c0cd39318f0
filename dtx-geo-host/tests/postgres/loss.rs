//! A region is lost while transactions are carried out by a plan in `StrongGlobal`: what was told
//! is there, and everything else is whole or not there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use dtx_core::store::Outcome;
use dtx_runtime::coordinator::Dtx;
use dtx_transport_inmem::InMemoryTransport;
use tokio::task::JoinSet;

use crate::{
    data::until,
    pay::{SCHEMA, paid, serve},
    region::{commit, coordinate, told},
    strong::{BOTH, BUYS, OTHER, PAYS, most_regions},
};

/// How many ask at once, and how much is told before the region is lost, and in all.
const CLIENTS: usize = 6;
const BEFORE: usize = 30;
const IN_ALL: usize = 60;

/// What clients were told, by the key of the transaction.
#[derive(Clone, Debug, Default)]
struct Told {
    outcomes: Arc<Mutex<BTreeMap<String, Outcome>>>,
    next: Arc<AtomicUsize>,
}

impl Told {
    fn count(&self) -> usize {
        self.outcomes.lock().expect("nobody panics").len()
    }

    /// Submits one after the other until so many are told, or the coordinator is gone.
    fn ask(&self, dtx: &Arc<Dtx>, until: usize) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (told, dtx) = (self.clone(), dtx.clone());
            clients.spawn(async move {
                while told.count() < until {
                    let key = format!("key-{}", told.next.fetch_add(1, SeqCst));
                    let Ok(mut handle) = dtx.submit(commit(&key, &BOTH)).await else { return };
                    let Ok(outcome) = handle.outcome().await else { return };
                    told.outcomes.lock().expect("nobody panics").insert(key, outcome);
                }
            });
        }
        clients
    }
}

async fn lose(lost: usize) {
    let (mut payments, mut purchases) = most_regions(&format!("loss-{lost}")).await;
    let transport = Arc::new(InMemoryTransport::new());
    let mut paid_there = payments.store(SCHEMA).await;
    let mut bought = purchases.store(SCHEMA).await;
    let mut paying = serve("payment", &paid_there, &transport).await;
    let mut buying = serve("purchase", &bought, &transport).await;
    let mut dtx = Arc::new(coordinate(payments.store("dtx").await, &transport).await);
    let told_all = Told::default();
    let mut clients = told_all.ask(&dtx, IN_ALL);
    until("some are told", async || told_all.count() >= BEFORE).await;
    payments.lose(lost);
    purchases.lose(lost);
    let before = told_all.count();
    if lost == PAYS {
        // With the coordinator and those who asked it.
        clients.shutdown().await;
        drop((paying, dtx));
        payments.fail_over().await;
        paid_there = payments.store(SCHEMA).await;
        paying = serve("payment", &paid_there, &transport).await;
        dtx = Arc::new(coordinate(payments.store("dtx").await, &transport).await);
        clients = told_all.ask(&dtx, IN_ALL);
    }
    if lost == BUYS {
        drop(buying);
        purchases.fail_over().await;
        bought = purchases.store(SCHEMA).await;
        buying = serve("purchase", &bought, &transport).await;
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("it does not panic");
    }
    let outcomes = told_all.outcomes.lock().expect("nobody panics").clone();
    println!("{before} told before {lost} was lost, {} in all", outcomes.len());
    assert!(outcomes.len() >= IN_ALL, "{}", outcomes.len());
    // Whatever was begun has ended: the same keys again say how.
    let keys = (0..told_all.next.load(SeqCst)).map(|number| format!("key-{number}"));
    let mut asked = JoinSet::new();
    for key in keys.clone() {
        let dtx = dtx.clone();
        asked.spawn(async move {
            told(&mut dtx.submit(commit(&key, &BOTH)).await.expect("it is known")).await;
        });
    }
    asked.join_all().await;
    let all: BTreeMap<_, _> = keys.map(|key| (key, 1)).collect();
    assert!(outcomes.values().all(|outcome| *outcome == Outcome::Committed), "nothing refuses");
    for store in [&paid_there, &bought] {
        until("each is done, and once", async || paid(store).await == all).await;
    }
    drop((paying, buying));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_the_region_that_coordinates_loses_nothing_that_was_told() {
    lose(PAYS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_the_home_of_a_participant_loses_nothing_that_was_told() {
    lose(BUYS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_a_region_with_copies_loses_nothing_that_was_told() {
    lose(OTHER).await;
}
