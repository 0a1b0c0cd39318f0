//! Callers' keys (rule 10).

use dtx_core::{
    error::ErrorKind,
    store::CommitResult,
    transaction::{KEY_BYTES_MAX, Key},
};

use super::commit::failure;
use crate::store::{Pen, StoreHarness, committed, one, tx};

fn key(namespace: &str, key: &str) -> Key {
    let namespace = dtx_core::name::Namespace::new(namespace).expect("a valid namespace");
    Key { namespace, key: key.into() }
}

/// The key leads to its transaction as soon as the accept is durable.
pub async fn a_key_is_claimed_with_its_accept<H: StoreHarness>(harness: &mut H) {
    let (store, catalog) = (harness.state(), harness.catalog());
    assert_eq!(catalog.by_key(&key("shop", "a")).await.expect("by_key"), None);
    committed(&one(&*store, &Pen::new(1).accept_key(tx(1), "shop", "a")).await);
    assert_eq!(catalog.by_key(&key("shop", "a")).await.expect("by_key"), Some(tx(1)));
    assert_eq!(catalog.by_key(&key("shop", "ab")).await.expect("by_key"), None);
}

/// The second transaction with a key is refused, told the first, and not stored.
pub async fn a_key_of_another_transaction_is_named<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept_key(tx(1), "shop", "a")).await);
    let result = one(&*store, &pen.accept_key(tx(2), "shop", "a")).await;
    assert!(matches!(result, CommitResult::DuplicateKey { tx: owner } if owner == tx(1)));
    assert_eq!(store.load(&[tx(2)]).await.expect("load"), [None]);
    assert!(harness.catalog().history(tx(2)).await.expect("history").is_empty());
}

/// The same text in two namespaces is two keys.
pub async fn a_key_is_unique_in_its_namespace_only<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept_key(tx(1), "shop", "a")).await);
    committed(&one(&*store, &pen.accept_key(tx(2), "shop2", "a")).await);
    let found = harness.catalog().by_key(&key("shop2", "a")).await.expect("by_key");
    assert_eq!(found, Some(tx(2)));
}

/// An accept that conflicts leaves its key free.
pub async fn a_refused_accept_claims_no_key<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let refused = one(&*store, &pen.accept_key(tx(1), "shop", "a")).await;
    assert!(matches!(refused, CommitResult::Conflict { .. }));
    assert_eq!(harness.catalog().by_key(&key("shop", "a")).await.expect("by_key"), None);
    committed(&one(&*store, &pen.accept_key(tx(2), "shop", "a")).await);
}

/// Two accepts with one key in one batch: the first has it.
pub async fn a_key_claimed_in_the_same_batch_counts<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let batch = [pen.accept_key(tx(1), "shop", "a"), pen.accept_key(tx(2), "shop", "a")];
    let results = store.commit(&batch).await;
    committed(&results[0]);
    assert!(matches!(results[1], CommitResult::DuplicateKey { tx: owner } if owner == tx(1)));
}

/// A key of the longest length is taken; a longer or an empty one is `Invalid`.
pub async fn a_key_at_the_limit_and_one_past_it<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let longest = "k".repeat(KEY_BYTES_MAX);
    committed(&one(&*store, &pen.accept_key(tx(1), "shop", &longest)).await);
    let found = harness.catalog().by_key(&key("shop", &longest)).await.expect("by_key");
    assert_eq!(found, Some(tx(1)));
    for bad in [format!("{longest}k"), String::new()] {
        let result = one(&*store, &pen.accept_key(tx(2), "shop", &bad)).await;
        assert_eq!(failure(&result), ErrorKind::Invalid);
    }
}
