//! Futures that are dropped after every number of polls, over real accounts and real stock: what
//! was half-done would show in the books. In memory on a virtual clock, and on a file.
// The futures are handed over before they are polled.
#![allow(clippy::async_yields_async)]

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use dtx::{
    RedbStore,
    coordinator::Dtx,
    error::ErrorKind,
    ids::{ShardCount, Version},
    prelude::*,
    resource::Audit,
    store::{
        Catalog, CommitResult, Filter, ParticipantStore, RowChange, RowExpect, RowKey, RowSet,
        RowWriteResult, Scope, ScopeRead, StateStore, Status,
    },
};
use dtx_testkit::{
    cancel::{at_every_poll, drop_after_polls},
    store::{Pen, tx},
};
use tokio::time::Instant;

use crate::kit::*;

/// More polls than any of the futures needs.
const POLLS_MAX: usize = 400;

const PENCE: u64 = 300;
const UNITS: u64 = 2;

trait Backend: StateStore + Catalog + ParticipantStore + Clone {}
impl<S: StateStore + Catalog + ParticipantStore + Clone> Backend for S {}

/// A store with an account and two items, which every coordinator here finds.
struct Till<S> {
    store: S,
    orders: AtomicUsize,
}

impl<S: Backend> Till<S> {
    async fn open(store: S) -> Self {
        let (ledger, stocks) = (Ledger::on(&store), Reservations::on(&store));
        ledger.open_accounts("payment", &[("alice".into(), 1_000_000)]).await.unwrap();
        stocks.open_items("inventory", &[("cd".into(), 100_000)]).await.unwrap();
        stocks.open_items("shipping", &[("monday".into(), 100_000)]).await.unwrap();
        Self { store, orders: AtomicUsize::new(0) }
    }

    async fn start(&self) -> Dtx {
        let (ledger, stocks) = (Ledger::on(&self.store), Reservations::on(&self.store));
        Dtx::builder()
            .store(self.store.clone())
            .transport(InMemoryTransport::new())
            .settings(quick())
            .participant(ledger.participant("payment").unwrap())
            .participant(stocks.clone().participant("inventory").unwrap())
            .participant(stocks.participant("shipping").unwrap())
            .allow_volatile()
            .start()
            .await
            .unwrap()
    }

    /// The next order, under a key of its own.
    fn order(&self, pattern: Pattern) -> dtx::transaction::TransactionBuilder {
        let number = self.orders.fetch_add(1, Relaxed);
        Transaction::builder(pattern)
            .key(format!("order-{number}"))
            .call::<Debit>("payment", Amount { account: "alice".into(), cents: PENCE })
            .call::<Take>("inventory", Units { item: "cd".into(), units: UNITS, strict: false })
            .call::<Take>("shipping", Units { item: "monday".into(), units: 1, strict: false })
    }

    /// Every order ends, and the books agree with what was told: each committed one took once what
    /// it asked for, the others nothing, and nothing is held any more.
    async fn is_sound(&self, dtx: &Dtx) {
        // What a dropped submit has handed over may not be in the store yet.
        within(dtx.drain()).await;
        let end = Instant::now() + LONG;
        let filter = Filter { limit: 10_000, ..Filter::default() };
        let records = loop {
            let records = dtx.list(&filter).await.unwrap().items;
            match records.iter().find(|record| record.due.is_some()) {
                None => break records,
                Some(open) => assert!(Instant::now() < end, "it never ends: {open:#?}"),
            }
            pass(Duration::from_millis(2)).await;
        };
        let done = records.iter().filter(|record| {
            let Status::Finished(outcome) = record.summary.status else { panic!("{record:#?}") };
            matches!(outcome, Outcome::Committed | Outcome::Dispatched)
        });
        let done = done.count() as i128;
        let (ledger, stocks) = (Ledger::on(&self.store), Reservations::on(&self.store));
        let paid = total(&ledger.audit("payment").await.unwrap());
        let sold = total(&stocks.audit("inventory").await.unwrap());
        let sent = total(&stocks.audit("shipping").await.unwrap());
        for (audit, each) in [(&paid, PENCE), (&sold, UNITS), (&sent, 1)] {
            assert_eq!(audit.taken(), done * i128::from(each), "{audit:?}");
            assert!(audit.is_clean() && audit.holds == 0, "{audit:?}");
        }
    }

    /// Drops what `act` makes of a coordinator and an order after every number of polls.
    async fn dropped_everywhere<F: Future>(
        &self,
        pattern: Pattern,
        act: impl AsyncFn(Dtx) -> F,
    ) -> usize {
        at_every_poll(POLLS_MAX, |polls| {
            let act = &act;
            async move {
                let dtx = self.start().await;
                let future = act(dtx.clone()).await;
                let is_ready = within(drop_after_polls(future, polls)).await.is_some();
                self.is_sound(&dtx).await;
                let report = within(dtx.shutdown(LONG)).await;
                assert!(report.drained, "{pattern}: {report:?}");
                is_ready
            }
        })
        .await
    }
}

fn total(audits: &[(Scope, Audit)]) -> Audit {
    let mut total = Audit::default();
    audits.iter().for_each(|(_, audit)| total.add(audit));
    total
}

async fn submits_and_outcomes(store: impl Backend) {
    let till = Till::open(store).await;
    for pattern in Pattern::ALL {
        let polls = till
            .dropped_everywhere(pattern, async |dtx| {
                let order = till.order(pattern).build().unwrap();
                async move {
                    let mut handle = dtx.submit(order.clone()).await.unwrap();
                    // The key makes it the same order, whatever became of an earlier submit.
                    dtx.submit(order).await.unwrap();
                    handle.outcome().await.unwrap();
                    handle.finished().await.unwrap()
                }
            })
            .await;
        assert!(polls >= 3, "{pattern}: {polls}");
    }
}

async fn signals(store: impl Backend) {
    let till = Till::open(store).await;
    for pattern in [Pattern::TwoPhaseSaga, Pattern::ThreePhaseSaga, Pattern::TwoPhaseCommit] {
        for approves in [true, false] {
            till.dropped_everywhere(pattern, async |dtx| {
                let order = till.order(pattern).approval(Duration::from_millis(300));
                let handle = within(dtx.submit(order.build().unwrap())).await.unwrap();
                pass(Duration::from_millis(10)).await;
                async move {
                    // It may be too late by then, which is an answer too.
                    if approves {
                        drop(handle.approve("ann", "").await);
                    } else {
                        drop(handle.cancel("ann", "").await);
                    }
                }
            })
            .await;
        }
    }
}

async fn shutdowns_and_starts(store: impl Backend) {
    let till = Till::open(store).await;
    for grace in [Duration::ZERO, LONG] {
        at_every_poll(POLLS_MAX, |polls| {
            let till = &till;
            async move {
                let dtx = till.start().await;
                for pattern in Pattern::ALL {
                    let order = till.order(pattern).build().unwrap();
                    within(dtx.submit(order)).await.unwrap();
                }
                let is_ready = within(drop_after_polls(dtx.shutdown(grace), polls)).await.is_some();
                within(dtx.shutdown(grace)).await;
                let next = till.start().await;
                till.is_sound(&next).await;
                within(next.shutdown(LONG)).await;
                is_ready
            }
        })
        .await;
    }
    at_every_poll(POLLS_MAX, |polls| {
        let till = &till;
        async move {
            let started = within(drop_after_polls(till.start(), polls)).await;
            let is_ready = started.is_some();
            drop(started);
            let next = till.start().await;
            eventually("it has shards", async || next.info().shards_owned > 0).await;
            let order = till.order(Pattern::ThreePhaseSaga).build().unwrap();
            within(within(next.submit(order)).await.unwrap().finished()).await.unwrap();
            till.is_sound(&next).await;
            within(next.shutdown(LONG)).await;
            is_ready
        }
    })
    .await;
}

/// What a dropped call to the store has done is all of it or nothing, and the same call again
/// settles which.
async fn store_calls(store: impl Backend) {
    let store = &store;
    at_every_poll(POLLS_MAX, |polls| async move {
        let number = polls as u64 + 1;
        let write = [Pen::new(u128::from(number)).accept(tx(number))];
        let is_ready = drop_after_polls(StateStore::commit(store, &write), polls).await.is_some();
        let again = StateStore::commit(store, &write).await;
        assert!(matches!(again[..], [CommitResult::Committed(Version(1))]), "{again:?}");
        let found = StateStore::load(store, &[tx(number)]).await.unwrap();
        assert_eq!(found[0].as_ref().unwrap().version, Version(1));
        is_ready
    })
    .await;
    let scope = Scope::new("till/rows").unwrap();
    let keys = [b"a", b"b"].map(|key| RowKey(Bytes::from_static(key)));
    let (scope, keys) = (&scope, &keys);
    at_every_poll(POLLS_MAX, |polls| async move {
        let read = async || {
            let reads = [ScopeRead { scope: scope.clone(), keys: keys.to_vec() }];
            let rows = ParticipantStore::read(store, &reads).await.unwrap().remove(0).rows;
            let of = |at: usize| rows[at].as_ref().map(|row| row.value.clone());
            assert_eq!(of(0), of(1), "both or none");
            let expect = |at: usize| {
                rows[at].as_ref().map_or(RowExpect::Absent, |row| RowExpect::Version(row.version))
            };
            (of(0), [expect(0), expect(1)])
        };
        let value = Bytes::from(format!("{polls}"));
        let (_, expects) = read().await;
        let changes = keys.iter().zip(expects).map(|(key, expect)| RowChange {
            key: key.clone(),
            expect,
            value: Some(value.clone()),
        });
        let set = RowSet {
            scope: scope.clone(),
            changes: changes.collect(),
            unchanged: Vec::new(),
            not_after: None,
        };
        let sets = [set];
        let is_ready =
            drop_after_polls(ParticipantStore::write(store, &sets), polls).await.is_some();
        read().await;
        let again = ParticipantStore::write(store, &sets).await;
        // A conflict: the dropped one had landed.
        assert!(
            matches!(again[..], [RowWriteResult::Written | RowWriteResult::Conflict]),
            "{again:?}"
        );
        assert_eq!(read().await.0, Some(value));
        is_ready
    })
    .await;
    at_every_poll(POLLS_MAX, |polls| async move {
        let accounts: Vec<_> = (0..3).map(|n| (format!("a{polls}-{n}"), 7)).collect();
        let (ledger, bank) = (Ledger::on(store), format!("bank{polls}"));
        let opening = drop_after_polls(ledger.open_accounts(&bank, &accounts), polls);
        let is_ready = opening.await.is_some();
        ledger.open_accounts(&bank, &accounts).await.unwrap();
        assert_eq!(total(&ledger.audit(&bank).await.unwrap()).opened, 21);
        is_ready
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn submits_and_outcomes_in_memory() {
    submits_and_outcomes(MemoryStore::new()).await;
}

#[tokio::test(start_paused = true)]
async fn signals_in_memory() {
    signals(MemoryStore::new()).await;
}

#[tokio::test(start_paused = true)]
async fn shutdowns_and_starts_in_memory() {
    shutdowns_and_starts(MemoryStore::new()).await;
}

#[tokio::test(start_paused = true)]
async fn store_calls_in_memory() {
    store_calls(MemoryStore::new()).await;
}

async fn on_file(test: impl AsyncFnOnce(RedbStore)) {
    let folder = tempfile::tempdir().unwrap();
    let shards = ShardCount::new(4).unwrap();
    let store = RedbStore::builder().shards(shards).open(folder.path().join("till.redb"));
    let store = store.await.unwrap();
    test(store.clone()).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn submits_and_outcomes_on_a_file() {
    on_file(async |store| submits_and_outcomes(store).await).await;
}

#[tokio::test]
async fn signals_on_a_file() {
    on_file(async |store| signals(store).await).await;
}

#[tokio::test]
async fn shutdowns_and_starts_on_a_file() {
    on_file(async |store| shutdowns_and_starts(store).await).await;
}

#[tokio::test]
async fn store_calls_on_a_file() {
    on_file(async |store| store_calls(store).await).await;
}

#[tokio::test]
async fn an_opening_that_is_dropped_gives_the_file_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = &folder.path().join("till.redb");
    at_every_poll(POLLS_MAX, |polls| async move {
        let opened = drop_after_polls(RedbStore::open(path), polls).await;
        let is_ready = opened.is_some();
        drop(opened);
        let mut again = None;
        eventually("it can be opened", async || {
            again = RedbStore::open(path).await.ok();
            again.is_some()
        })
        .await;
        let store = again.unwrap();
        // A close that is dropped closes all the same, or has done nothing.
        drop_after_polls(store.close(), polls).await;
        match store.close().await {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
        }
        is_ready
    })
    .await;
}
