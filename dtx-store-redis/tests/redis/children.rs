//! Processes that are killed between two steps.
//!
//! A child is this program again: it does one thing on the store that it is told of, says that it
//! has come to the place, and waits there to be killed.

use std::{env, sync::Arc};

use dtx::{participant::Participant, store::MemoryStore};
use dtx_store_redis::{KeyPrefix, RedisEffect, RedisInbox, RedisOnce, RedisScript};
use dtx_testkit::{
    parked::{kill_parked, park},
    participant::{BrittleUnits, Stop},
    store::tx,
};

use super::{
    harness::prefix,
    pay::Pay,
    support::{Asked, book, execute, open, paid},
};

const WHAT: &str = "DTX_CHILD";
const PREFIX: &str = "DTX_CHILD_PREFIX";
/// Kills a child at the place that it is told of.
fn kill(what: &str, prefix: &KeyPrefix) {
    kill_parked("children::child", &[(WHAT, what), (PREFIX, prefix.as_str())]);
}

/// Does nothing unless it is a child.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(what), Ok(prefix)) = (env::var(WHAT), env::var(PREFIX)) else { return };
    let prefix = KeyPrefix::new(prefix).expect("valid");
    match what.as_str() {
        "in the handler" => pay(&prefix, Stop::Never, "parks").await,
        "before the commit" => pay(&prefix, Stop::BeforeCommit, "well").await,
        "after the commit" => pay(&prefix, Stop::AfterCommit, "well").await,
        "after the no" => pay(&prefix, Stop::AfterCommit, "never").await,
        "after once" => {
            assert_eq!(once(&prefix).await, RedisOnce::First);
            park().await
        }
        other => panic!("no child does {other:?}"),
    }
}

async fn pay(prefix: &KeyPrefix, stop: Stop, how: &str) {
    let fuse = Arc::new(MemoryStore::new());
    let store = BrittleUnits::new(open(prefix).await, fuse).parked_at(stop);
    let payment = Participant::within("payment", store).expect("a name");
    let mut asked = Asked::start(payment.saga(Pay::on(prefix))).await;
    let answer = asked.ask(&execute(1, how)).await;
    panic!("it was to be killed before: {answer:?}");
}

async fn once(prefix: &KeyPrefix) -> RedisOnce {
    static COUNT: RedisScript = RedisScript::new(r#"redis.call("HINCRBY", KEYS[1], "paid", 1)"#);
    let inbox = RedisInbox::on(&open(prefix).await);
    let effect = RedisEffect::of(&COUNT).key(book(prefix));
    inbox.once(tx(1), "pay", effect).await.expect("asked")
}

#[tokio::test]
async fn a_participant_that_is_killed_anywhere_has_its_effect_once() {
    for (what, before) in [("in the handler", 0), ("before the commit", 0), ("after the commit", 1)]
    {
        let prefix = prefix();
        kill(what, &prefix);
        assert_eq!(paid(&prefix).await, before, "{what}");
        let payment = Participant::within("payment", open(&prefix).await).expect("a name");
        let mut asked = Asked::start(payment.saga(Pay::on(&prefix))).await;
        let answer = asked.settle(&execute(1, "well")).await;
        assert!(answer.is_ok(), "{what}: {answer:?}");
        assert_eq!(asked.settle(&execute(1, "well")).await, answer);
        let found = (paid(&prefix).await, asked.host.stats().runs);
        assert_eq!(found, (1, 1 - before as u64), "{what}");
    }
}

#[tokio::test]
async fn a_no_of_a_process_that_was_killed_is_told_by_the_next() {
    let prefix = prefix();
    kill("after the no", &prefix);
    let payment = Participant::within("payment", open(&prefix).await).expect("a name");
    let mut asked = Asked::start(payment.saga(Pay::on(&prefix))).await;
    let answer = asked.settle(&execute(1, "never")).await;
    assert_eq!(answer, dtx::answer::rejected("not enough money"));
    // The note of the no was taken: the script did not run again.
    assert_eq!((paid(&prefix).await, asked.host.stats().runs), (0, 1));
}

#[tokio::test]
async fn what_a_killed_process_did_once_is_not_done_again() {
    let prefix = prefix();
    kill("after once", &prefix);
    assert_eq!(once(&prefix).await, RedisOnce::Repeated);
    assert_eq!(paid(&prefix).await, 1);
}
