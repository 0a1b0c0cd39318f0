//! What is done once, outside of a host.

use std::time::Duration;

use dtx_core::{answer::Reason, error::ErrorKind};
use dtx_store_redis::{RedisEffect, RedisInbox, RedisOnce, RedisScript};
use dtx_testkit::store::tx;
use tokio::task::JoinSet;

use super::{
    harness::prefix,
    support::{book, open, paid, tell},
};

static PAY: RedisScript = RedisScript::new(
    r#"
    if tonumber(redis.call("HGET", KEYS[1], "left") or "0") < tonumber(ARGV[1]) then
        return "not enough money"
    end
    redis.call("HINCRBY", KEYS[1], "left", -ARGV[1])
    redis.call("HINCRBY", KEYS[1], "paid", ARGV[1])
    "#,
);

#[tokio::test]
async fn of_many_that_ask_at_once_one_is_the_first() {
    let prefix = prefix();
    let book = book(&prefix);
    let _: i64 = tell(&["HSET", &book, "left", "100"]).await;
    let mut askers = JoinSet::new();
    for _ in 0..16 {
        let inbox = RedisInbox::on(&open(&prefix).await);
        let effect = RedisEffect::of(&PAY).key(&book).arg("3");
        askers.spawn(async move { inbox.once(tx(1), "pay", effect).await.expect("asked") });
    }
    let answers = askers.join_all().await;
    let firsts = answers.iter().filter(|&answer| *answer == RedisOnce::First).count();
    let repeats = answers.iter().filter(|&answer| *answer == RedisOnce::Repeated).count();
    assert_eq!((firsts, repeats, paid(&prefix).await), (1, 15, 3));
}

#[tokio::test]
async fn another_name_or_another_transaction_is_another_effect_and_a_no_is_not_remembered() {
    let prefix = prefix();
    let book = book(&prefix);
    let inbox = RedisInbox::on(&open(&prefix).await);
    let pay = || RedisEffect::of(&PAY).key(&book).arg("3");
    let refused = RedisOnce::Refused(Reason::new("not enough money"));
    assert_eq!(inbox.once(tx(1), "pay", pay()).await.expect("asked"), refused);
    assert_eq!(paid(&prefix).await, 0);
    let _: i64 = tell(&["HSET", &book, "left", "100"]).await;
    for (n, operation) in [(1, "pay"), (1, "ship"), (2, "pay")] {
        let answer = inbox.once(tx(n), operation, pay()).await.expect("asked");
        assert_eq!(answer, RedisOnce::First, "{n} {operation}");
        let again = inbox.once(tx(n), operation, pay()).await.expect("asked");
        assert_eq!(again, RedisOnce::Repeated, "{n} {operation}");
    }
    assert_eq!(paid(&prefix).await, 9);
}

#[tokio::test]
async fn a_name_at_the_limit_is_taken_and_one_past_it_refused() {
    static NOTHING: RedisScript = RedisScript::new("return");
    let prefix = prefix();
    let inbox = RedisInbox::on(&open(&prefix).await);
    let nothing = || RedisEffect::of(&NOTHING);
    assert!(inbox.once(tx(1), &"o".repeat(256), nothing()).await.is_ok());
    for wrong in ["o".repeat(257), String::new()] {
        let error = inbox.once(tx(1), &wrong, nothing()).await.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn what_is_old_is_forgotten_in_steps() {
    static NOTHING: RedisScript = RedisScript::new("");
    let prefix = prefix();
    let inbox = RedisInbox::on(&open(&prefix).await);
    for n in 0..3 {
        let first = inbox.once(tx(n), "pay", RedisEffect::of(&NOTHING)).await.expect("asked");
        assert_eq!(first, RedisOnce::First);
    }
    let hour = Duration::from_secs(3600);
    assert_eq!(inbox.forget(hour, 10).await.expect("asked"), 0, "nothing is so old");
    assert_eq!(inbox.forget(Duration::MAX, 10).await.expect("asked"), 0);
    assert_eq!(inbox.forget(Duration::ZERO, 2).await.expect("asked"), 2);
    assert_eq!(inbox.forget(Duration::ZERO, 2).await.expect("asked"), 1);
    let first = inbox.once(tx(1), "pay", RedisEffect::of(&NOTHING)).await.expect("asked");
    assert_eq!(first, RedisOnce::First, "it was forgotten");
}
