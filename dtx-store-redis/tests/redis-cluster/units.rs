//! On a cluster the effect and the memory of it are in one slot, beside a tag of the user's.

use bytes::Bytes;
use dtx_core::{
    answer::NotDone,
    error::ErrorKind,
    ids::{OperationIndex, ShardId},
    resource::barrier::{inbox_key, mark_key},
    store::{Begun, Opened, ParticipantStore, RowWriteResult, Scope, UnitStore},
};
use dtx_store_redis::{RedisEffect, RedisInbox, RedisOnce, RedisOpen, RedisScript, RedisStore};
use dtx_testkit::store::tx;

use super::{
    SharedServer,
    harness::{prefix, settings},
};

static ADD: RedisScript = RedisScript::new(r#"redis.call("INCR", KEYS[1])"#);
static IS: RedisScript = RedisScript::new(r#"return redis.call("GET", KEYS[1])"#);

fn scope(n: u16) -> Scope {
    Scope::new(format!("payment/inbox/{n}")).expect("valid")
}

async fn begin(store: &RedisStore, n: u16) -> Opened<RedisOpen> {
    let key = inbox_key(tx(n.into()), OperationIndex(0));
    let begun = store.begin(&scope(n), &key, &mark_key(ShardId(n))).await.expect("begun");
    let Begun::Open(opened) = begun else { panic!("a claim keeps nobody out") };
    opened
}

#[tokio::test]
async fn what_is_beside_a_tag_is_one_script_with_keys_of_that_tag() {
    let prefix = prefix();
    let store = settings::<SharedServer>(&prefix).open().await.expect("it opens");
    let tag = prefix.as_str().to_owned();
    let beside = store.beside(&tag).expect("it is a tag");
    let paid = format!("{{{tag}}}paid");
    let effect = || RedisEffect::of(&ADD).key(&paid);
    // Those of the shards are in many slots, those beside the tag in one.
    for n in 0..4 {
        let mut opened = begin(&beside, n).await;
        opened.open.run(effect()).expect("it is in the slot");
        let done = beside.commit(opened.open, Bytes::from_static(b"done")).await;
        assert!(matches!(done, RowWriteResult::Written), "{done:?}");
        let mut late = begin(&store, n).await.open;
        let NotDone::Unknown(reason) = late.run(effect()).expect_err("it is elsewhere") else {
            panic!("it is a fault")
        };
        assert!(reason.as_str().contains("hash tag"), "{reason}");
    }
    let listed = beside.scopes("payment/", None, 10).await.expect("listed");
    assert_eq!(listed.items, [0, 1, 2, 3].map(scope));
    assert!(store.scopes("payment/", None, 10).await.expect("listed").items.is_empty());

    let inbox = RedisInbox::on(&beside);
    for answer in [RedisOnce::First, RedisOnce::Repeated] {
        assert_eq!(inbox.once(tx(9), "pay", effect()).await.expect("asked"), answer);
    }
    let error = RedisInbox::on(&store).once(tx(9), "pay", effect()).await;
    assert_eq!(error.expect_err("it is elsewhere").kind(), ErrorKind::Invalid);
    let is = RedisEffect::of(&IS).key(&paid);
    let RedisOnce::Refused(times) = inbox.once(tx(9), "see", is).await.expect("asked") else {
        panic!("a text is a no")
    };
    assert_eq!(times.as_str(), "5");
}

#[tokio::test]
async fn a_tag_at_the_limit_is_taken_and_one_past_it_refused() {
    let prefix = prefix();
    let store = settings::<SharedServer>(&prefix).open().await.expect("it opens");
    assert!(store.beside(&"t".repeat(64)).is_ok());
    for bad in ["t".repeat(65), String::new(), "a{b".to_owned()] {
        let error = store.beside(&bad).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
