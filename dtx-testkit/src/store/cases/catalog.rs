//! What people ask.

use std::time::Duration;

use dtx_core::{
    answer::Reason,
    ids::TxId,
    name::Namespace,
    pattern::Pattern,
    store::{
        Catalog, CommitResult, Filter, JournalEvent, Outcome, Purge, RecordKind, Status, TxWrite,
    },
};

use crate::store::{Pen, StoreHarness, committed, one, own, tx};

async fn listed(catalog: &dyn Catalog, filter: &Filter) -> Vec<TxId> {
    let (mut filter, mut found) = (filter.clone(), Vec::new());
    loop {
        let page = catalog.list(&filter).await.expect("list");
        assert!(page.items.len() <= filter.limit);
        found.extend(page.items.iter().map(|row| row.tx));
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            return found;
        }
    }
}

/// Open and finished ones together, the newest first, whatever the size of a page.
pub async fn the_newest_are_listed_first<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    for n in [3, 0, 4, 1, 2, 5] {
        committed(&one(&*store, &pen.accept(tx(n))).await);
    }
    for n in [1, 4] {
        let fence = own(&*store, tx(n), 1).await;
        committed(&one(&*store, &pen.finish(tx(n), 1, fence)).await);
    }
    let newest: Vec<_> = (0..6).rev().map(tx).collect();
    for limit in 1..=7 {
        let filter = Filter { limit, ..Filter::default() };
        assert_eq!(listed(&*harness.catalog(), &filter).await, newest, "pages of {limit}");
    }
    assert_eq!(harness.catalog().list(&Filter::default()).await.expect("list").items.len(), 6);
}

/// By pattern, status, namespace and exceptions; records are whole.
pub async fn lists_are_filtered<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept_key(tx(1), "shop", "a")).await);
    let mut saga = pen.accept_key(tx(2), "bank", "a");
    saga.summary.pattern = Pattern::Saga;
    saga.summary.exceptions = vec![Reason::new("a no after the decision")];
    let saga_record = (saga.definition.clone(), saga.key.clone());
    committed(&one(&*store, &saga).await);
    committed(&one(&*store, &pen.accept(tx(3))).await);
    let fence = own(&*store, tx(3), 1).await;
    committed(&one(&*store, &pen.finish(tx(3), 1, fence)).await);
    let all = || Filter { limit: 1, ..Filter::default() };
    let cases = [
        (Filter { pattern: Some(Pattern::Saga), ..all() }, vec![tx(2)]),
        (Filter { status: Some(Status::Open), ..all() }, vec![tx(2), tx(1)]),
        (Filter { status: Some(Status::Finished(Outcome::Committed)), ..all() }, vec![tx(3)]),
        (Filter { status: Some(Status::Finished(Outcome::Aborted)), ..all() }, vec![]),
        (Filter { namespace: Namespace::new("shop").ok(), ..all() }, vec![tx(1)]),
        (Filter { with_exceptions: true, ..all() }, vec![tx(2)]),
    ];
    for (filter, expected) in cases {
        assert_eq!(listed(&*harness.catalog(), &filter).await, expected, "{filter:?}");
    }
    let filter = Filter { pattern: Some(Pattern::Saga), ..all() };
    let page = harness.catalog().list(&filter).await.expect("list");
    let row = &page.items[0];
    assert_eq!((Some(row.definition.clone()), row.key.clone()), saga_record);
}

/// Every entry of every applied write, in order, and none of a refused one.
pub async fn a_history_is_complete_and_in_order<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let fence = own(&*store, tx(1), 1).await;
    let mut writes = vec![
        pen.accept(tx(1)),
        pen.progress(tx(1), 1, fence),
        pen.finish(tx(1), 2, fence),
        TxWrite { due: None, ..pen.signal(tx(1), 3) },
        TxWrite { due: None, ..pen.signal(tx(1), 4) },
    ];
    let extra = writes[0].journal[0].clone();
    writes[1].journal = [writes[1].journal[0].clone(), extra.clone()].into();
    writes[3].journal = [].into();
    for write in &writes {
        committed(&one(&*store, write).await);
        assert!(matches!(
            one(&*store, &pen.signal(tx(1), 77)).await,
            CommitResult::Conflict { .. }
        ));
    }
    let expected: Vec<_> = writes.iter().flat_map(|write| write.journal.iter().cloned()).collect();
    let history = harness.catalog().history(tx(1)).await.expect("history");
    assert_eq!(history, expected);
    assert_eq!(history[2], extra);
    assert_eq!(history[0].event, JournalEvent::Recorded(RecordKind::Accepted));
}

/// No transaction, no history.
pub async fn an_unknown_transaction_has_no_history<H: StoreHarness>(harness: &mut H) {
    assert!(harness.catalog().history(tx(1)).await.expect("history").is_empty());
}

/// How long a case lets time pass, also on a clock that no case can stop.
const AGE: Duration = Duration::from_secs(1);

/// Accepts and finishes transactions with the keys `k1`, `k2` ...
async fn finish<H: StoreHarness>(harness: &H, pen: &mut Pen, numbers: &[u64]) {
    let store = harness.state();
    for &n in numbers {
        committed(&one(&*store, &pen.accept_key(tx(n), "shop", &format!("k{n}"))).await);
        let fence = own(&*store, tx(n), 1).await;
        committed(&one(&*store, &pen.finish(tx(n), 1, fence)).await);
    }
}

async fn known<H: StoreHarness>(harness: &H, n: u64) -> bool {
    harness.state().load(&[tx(n)]).await.expect("load")[0].is_some()
}

/// What is open, and what finished lately, stays.
pub async fn only_old_and_finished_ones_are_forgotten<H: StoreHarness>(harness: &mut H) {
    let (store, catalog, mut pen) = (harness.state(), harness.catalog(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    finish(harness, &mut pen, &[2]).await;
    // The third one stays young through all that follows, on a slow server too.
    let age = AGE * 5;
    harness.pass(age).await;
    finish(harness, &mut pen, &[3]).await;
    let purge = Purge { older_than: age, key_retention: AGE * 1_000, limit: 10 };
    assert_eq!(catalog.purge(&purge).await.expect("purge"), 1);
    let left = [known(harness, 1).await, known(harness, 2).await, known(harness, 3).await];
    assert_eq!(left, [true, false, true]);
    assert!(catalog.history(tx(2)).await.expect("history").is_empty());
    let filter = Filter { limit: 10, ..Filter::default() };
    assert_eq!(listed(&*catalog, &filter).await, [tx(3), tx(1)]);
    assert_eq!(catalog.purge(&purge).await.expect("purge"), 0);
}

/// Each step forgets at most its limit and says how many.
pub async fn forgetting_goes_in_steps<H: StoreHarness>(harness: &mut H) {
    let catalog = harness.catalog();
    finish(harness, &mut Pen::new(1), &[1, 2, 3, 4, 5]).await;
    harness.pass(AGE).await;
    let purge = Purge { older_than: AGE, key_retention: AGE, limit: 2 };
    for expected in [2, 2, 1, 0] {
        assert_eq!(catalog.purge(&purge).await.expect("purge"), expected);
    }
}

/// The key of a forgotten transaction is refused until its own retention has passed.
pub async fn a_key_outlives_its_transaction<H: StoreHarness>(harness: &mut H) {
    let (store, catalog, mut pen) = (harness.state(), harness.catalog(), Pen::new(1));
    finish(harness, &mut pen, &[1]).await;
    harness.pass(AGE).await;
    let purge = Purge { older_than: AGE, key_retention: AGE * 4, limit: 10 };
    assert_eq!(catalog.purge(&purge).await.expect("purge"), 1);
    let again = one(&*store, &pen.accept_key(tx(2), "shop", "k1")).await;
    assert!(matches!(again, CommitResult::DuplicateKey { tx: owner } if owner == tx(1)));
    harness.pass(AGE * 4).await;
    assert_eq!(catalog.purge(&purge).await.expect("purge"), 0);
    committed(&one(&*store, &pen.accept_key(tx(2), "shop", "k1")).await);
}

/// A very late copy of the accept does not run a forgotten transaction a second time.
pub async fn a_forgotten_key_refuses_a_late_accept<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    finish(harness, &mut pen, &[1]).await;
    harness.pass(AGE).await;
    let purge = Purge { older_than: AGE, key_retention: AGE * 1_000, limit: 10 };
    assert_eq!(harness.catalog().purge(&purge).await.expect("purge"), 1);
    let late = one(&*store, &pen.accept_key(tx(1), "shop", "k1")).await;
    assert!(matches!(late, CommitResult::DuplicateKey { tx: owner } if owner == tx(1)));
    assert!(!known(harness, 1).await);
}
