//! Callers' keys, whose records are in other slots than the transactions.

use dtx_core::{
    name::Namespace,
    store::{Catalog, CommitResult, StateStore},
    transaction::Key,
};
use dtx_testkit::{
    cancel::{at_every_poll, drop_after_polls},
    servers::Redis,
    store::{Pen, committed, one, tx},
};

use crate::harness::{prefix, settings};

fn key(text: &str) -> Key {
    Key { namespace: Namespace::new("shop").expect("valid"), key: text.to_owned() }
}

/// An accept that was dropped anywhere, as a crash does it, leaves a key that one transaction gets
/// and no other, however late the first is sent again.
#[tokio::test]
async fn a_crash_between_key_and_accept_leaves_the_key_to_one() {
    let prefix = prefix();
    let store = settings::<Redis>(&prefix).open().await.expect("it opens");
    let (store, mut taken_over) = (&store, 0);
    let counted = &mut taken_over;
    let mut cases = Vec::new();
    at_every_poll(200, |polls| {
        let n = polls as u64 * 2;
        cases.push(n);
        async move {
            let accept = Pen::new(1).accept_key(tx(n), "shop", &format!("k{n}"));
            drop_after_polls(store.commit(std::slice::from_ref(&accept)), polls).await.is_some()
        }
    })
    .await;
    for n in cases {
        let name = format!("k{n}");
        let rival = one(store, &Pen::new(2).accept_key(tx(n + 1), "shop", &name)).await;
        let again = one(store, &Pen::new(1).accept_key(tx(n), "shop", &name)).await;
        let owner = match (&rival, &again) {
            (CommitResult::Committed(_), CommitResult::DuplicateKey { tx: owner }) => {
                *counted += 1;
                assert_eq!(*owner, tx(n + 1));
                *owner
            }
            (CommitResult::DuplicateKey { tx: owner }, CommitResult::Committed(_)) => {
                assert_eq!(*owner, tx(n));
                *owner
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(store.by_key(&key(&name)).await.expect("by_key"), Some(owner));
        let rows = store.load(&[tx(n), tx(n + 1)]).await.expect("load");
        assert_eq!(rows.iter().flatten().count(), 1);
    }
    assert!(*counted > 0, "no accept was dropped before its row was there");
}

/// Of many that want one key at once exactly one gets it, and the others are told which.
#[tokio::test]
async fn of_many_rivals_one_gets_the_key() {
    let prefix = prefix();
    let store = settings::<Redis>(&prefix).open().await.expect("it opens");
    for round in 0..10 {
        let name = format!("k{round}");
        let mut rivals = tokio::task::JoinSet::new();
        for rival in 0..8 {
            let (other, name) = (settings::<Redis>(&prefix), name.clone());
            rivals.spawn(async move {
                let store = other.open().await.expect("it opens");
                let tx = tx(round * 100 + rival);
                (tx, one(&store, &Pen::new(rival.into()).accept_key(tx, "shop", &name)).await)
            });
        }
        let results = rivals.join_all().await;
        let owner = store.by_key(&key(&name)).await.expect("by_key").expect("one has it");
        let mut won = 0;
        for (tx, result) in results {
            match result {
                CommitResult::Committed(_) => {
                    won += 1;
                    assert_eq!(tx, owner);
                }
                CommitResult::DuplicateKey { tx: told } => assert_eq!(told, owner),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(won, 1);
    }
}

/// A key may have any characters, also those that Redis treats as special.
#[tokio::test]
async fn a_key_may_have_braces() {
    let prefix = prefix();
    let store = settings::<Redis>(&prefix).open().await.expect("it opens");
    for (n, text) in ["{a}", "}", "{", "{}b", "a\r\nb"].into_iter().enumerate() {
        let n = n as u64;
        committed(&one(&store, &Pen::new(1).accept_key(tx(n), "shop", text)).await);
        assert_eq!(store.by_key(&key(text)).await.expect("by_key"), Some(tx(n)));
    }
}
