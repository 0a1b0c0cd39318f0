//! What becomes of a handler's script, and of commits that meet or land late.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use dtx::{
    answer::{NotDone, Refusal, rejected},
    participant::{Participant, UnitParticipant},
    pattern::{Pattern, Phase},
    resource::barrier::{inbox_key, mark_key},
    store::{
        Begun, Opened, ParticipantStore, RowChange, RowExpect, RowKey, RowSet, RowWriteResult,
        Scope, UnitStore,
    },
};
use dtx_core::{
    error::{Effect, ErrorKind},
    ids::{OperationIndex, ShardId},
};
use dtx_store_redis::{
    KeyPrefix, RedisEffect, RedisOpen, RedisScript, RedisSettings, RedisStore, RedisUnit,
};
use dtx_testkit::{
    servers::{Redis, Server},
    store::tx,
};

use super::{
    harness::prefix,
    pay::Pay,
    support::{Asked, book, command, execute, open, paid, tell},
};

static ADD: RedisScript = RedisScript::new(r#"redis.call("HINCRBY", KEYS[1], "paid", 1)"#);
static HALF_WAY: RedisScript =
    RedisScript::new(r#"redis.call("HINCRBY", KEYS[1], "paid", 1) error("and no further")"#);

/// Takes longer than the client waits for.
static SLOW: RedisScript = RedisScript::new(
    r#"redis.call("HINCRBY", KEYS[1], "paid", 1)
       local sum = 0
       for i = 1, 2e8 do sum = sum + i end"#,
);

fn payment(prefix: &KeyPrefix, store: RedisStore) -> UnitParticipant<RedisUnit> {
    Participant::within("payment", store).expect("a name").saga(Pay::on(prefix))
}

fn scope() -> Scope {
    Scope::new("payment/inbox/3").expect("valid")
}

fn row() -> RowKey {
    inbox_key(tx(1), OperationIndex(0))
}

async fn begin(store: &RedisStore) -> Opened<RedisOpen> {
    let begun = store.begin(&scope(), &row(), &mark_key(ShardId(3))).await.expect("begun");
    let Begun::Open(opened) = begun else { panic!("a claim keeps nobody out") };
    opened
}

/// A commit to come, with an effect.
async fn begun(store: &RedisStore, prefix: &KeyPrefix) -> RedisOpen {
    let mut opened = begin(store).await;
    opened.open.run(RedisEffect::of(&ADD).key(book(prefix))).expect("it is the first");
    opened.open
}

fn value() -> Bytes {
    Bytes::from_static(b"done")
}

fn change(key: RowKey, expect: RowExpect, value: Option<&'static [u8]>) -> RowChange {
    RowChange { key, expect, value: value.map(Bytes::from_static) }
}

async fn write(store: &RedisStore, changes: Vec<RowChange>) {
    let set = RowSet { scope: scope(), changes, unchanged: Vec::new(), not_after: None };
    let written = store.write(&[set]).await.pop();
    assert!(matches!(written, Some(RowWriteResult::Written)), "{written:?}");
}

#[tokio::test]
async fn what_the_script_or_the_handler_says_is_what_stays() {
    let prefix = prefix();
    let mut asked = Asked::start(payment(&prefix, open(&prefix).await)).await;
    for (n, how, answer) in
        [(1, "never", "not enough money"), (2, "late", "not enough money, said late")]
    {
        let no = asked.settle(&execute(n, how)).await;
        assert_eq!(no, rejected(answer));
        let runs = asked.host.stats().runs;
        assert_eq!(asked.settle(&execute(n, how)).await, rejected(answer), "as it is stored");
        // The same command with another input is the same command.
        assert_eq!(asked.settle(&execute(n, "well")).await, rejected(answer), "as it is stored");
        assert_eq!(asked.host.stats().runs, runs);
        let back = command(n, Pattern::Saga, Phase::Compensate);
        let done = asked.settle(&back).await.expect("there is nothing to reverse");
        assert!(!done.reversed);
    }
    for how in ["fails", "panics", "twice"] {
        let unknown = asked.ask(&execute(3, how)).await;
        assert!(matches!(unknown, Err(NotDone::Unknown(_))), "{how}: {unknown:?}");
        assert_eq!(paid(&prefix).await, 0, "{how}");
    }
    assert!(asked.settle(&execute(3, "well")).await.is_ok(), "a repeat runs again");
    assert_eq!(paid(&prefix).await, 1);
    let back = command(3, Pattern::Saga, Phase::Compensate);
    for _ in 0..2 {
        assert!(asked.settle(&back).await.expect("it is reversed").reversed);
        assert_eq!(paid(&prefix).await, 0);
    }
    let late = asked.settle(&execute(3, "well")).await;
    assert_eq!(late, Err(NotDone::Refused(Refusal::Undone)));
    assert_eq!(paid(&prefix).await, 0);
}

#[tokio::test]
async fn hosts_that_have_the_same_command_at_once_have_its_effect_once() {
    let prefix = prefix();
    let mut one = Asked::start(payment(&prefix, open(&prefix).await)).await;
    let mut two = Asked::start(payment(&prefix, open(&prefix).await)).await;
    for n in 1..=30 {
        let execute = execute(n, "well");
        let (first, second) = tokio::join!(one.settle(&execute), two.settle(&execute));
        assert!(first.is_ok());
        assert_eq!(first, second);
    }
    assert_eq!(paid(&prefix).await, 30);
    let runs = one.host.stats().runs + two.host.stats().runs;
    assert!(runs > 30, "they met at least once: {runs}");
}

#[tokio::test]
async fn a_commit_that_lands_late_finds_another_row_and_does_nothing() {
    let prefix = prefix();
    let store = open(&prefix).await;
    let (late, repeat) = (begun(&store, &prefix).await, begun(&store, &prefix).await);
    assert!(matches!(store.commit(repeat, value()).await, RowWriteResult::Written));
    assert!(matches!(store.commit(late, value()).await, RowWriteResult::Conflict));
    assert_eq!(paid(&prefix).await, 1);
    let opened = begin(&store).await;
    assert_eq!(opened.row.expect("it is stored").value, value());
}

#[tokio::test]
async fn a_commit_that_lands_after_its_row_was_forgotten_does_nothing() {
    let prefix = prefix();
    let store = open(&prefix).await;
    let late = begun(&store, &prefix).await;
    let repeat = begun(&store, &prefix).await;
    assert!(matches!(store.commit(repeat, value()).await, RowWriteResult::Written));
    let version = begin(&store).await.row.expect("it is stored").version;
    let mark = change(mark_key(ShardId(3)), RowExpect::Absent, Some(b"mark"));
    write(&store, vec![change(row(), RowExpect::Version(version), None), mark]).await;
    assert!(matches!(store.commit(late, value()).await, RowWriteResult::Conflict));
    assert_eq!(paid(&prefix).await, 1);
    // With the mark in sight it is up to the barrier.
    let again = begin(&store).await;
    assert!(again.row.is_none() && again.mark.is_some());
    assert!(matches!(store.commit(again.open, value()).await, RowWriteResult::Written));
    let newer = begin(&store).await.row.expect("it is stored").version;
    assert!(newer > version, "{newer:?} after {version:?}");
}

#[tokio::test]
async fn a_row_that_is_changed_is_not_forgotten_by_who_saw_it_before() {
    let prefix = prefix();
    let store = open(&prefix).await;
    assert!(matches!(
        store.commit(begin(&store).await.open, value()).await,
        RowWriteResult::Written
    ));
    let opened = begin(&store).await;
    let version = opened.row.expect("it is stored").version;
    assert!(matches!(store.commit(opened.open, value()).await, RowWriteResult::Written));
    let set = RowSet {
        scope: scope(),
        changes: vec![change(row(), RowExpect::Version(version), None)],
        unchanged: Vec::new(),
        not_after: None,
    };
    let forgotten = store.write(&[set]).await.pop();
    assert!(matches!(forgotten, Some(RowWriteResult::Conflict)), "{forgotten:?}");
    let listed = store.scopes("payment/", None, 10).await.expect("listed");
    assert_eq!(listed.items, [scope()]);
    let rows = store.scan(&scope(), b"i", None, 10).await.expect("scanned").items;
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn a_script_that_fails_writes_no_row_and_leaves_its_effect_unknown() {
    let prefix = prefix();
    let store = open(&prefix).await;
    let mut open = begin(&store).await.open;
    open.run(RedisEffect::of(&HALF_WAY).key(book(&prefix))).expect("it is the first");
    let RowWriteResult::Failed(error) = store.commit(open, value()).await else {
        panic!("it failed half-way")
    };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Internal, Effect::Unknown));
    assert!(begin(&store).await.row.is_none());
    assert_eq!(paid(&prefix).await, 1, "Redis takes nothing back");
}

#[tokio::test]
async fn a_no_is_of_its_script_alone_and_is_taken_once() {
    static NO: RedisScript = RedisScript::new("return ARGV[1] == 'yes'");
    let prefix = prefix();
    let store = open(&prefix).await;
    let effect = |word: &str| RedisEffect::of(&NO).arg(word);
    let say_no = async || {
        let mut open = begin(&store).await.open;
        open.run(effect("no")).expect("it is the first");
        let said = store.commit(open, value()).await;
        assert!(
            matches!(&said, RowWriteResult::Failed(e) if e.effect() == Effect::None),
            "{said:?}"
        );
    };
    say_no().await;
    let mut other = begin(&store).await.open;
    assert!(other.run(effect("yes")).is_ok(), "it is another effect");
    let mut same = begin(&store).await.open;
    assert!(same.run(effect("no")).is_ok(), "the note was taken");
    say_no().await;
    let mut same = begin(&store).await.open;
    assert_eq!(same.run(effect("no")), rejected("the script said no"));
    say_no().await;
    assert!(matches!(store.commit(other, value()).await, RowWriteResult::Written));
    let noes: i64 = tell(&["EXISTS", &format!("{{{}:p:{}}}noes", *prefix, scope())]).await;
    assert_eq!(noes, 0, "no note stays behind a row that was written");
}

#[tokio::test]
async fn notes_of_noes_that_nobody_asks_for_are_dropped_after_ten_minutes() {
    static NO: RedisScript = RedisScript::new("return false");
    let prefix = prefix();
    let store = open(&prefix).await;
    let noes = format!("{{{}:p:{}}}noes", *prefix, scope());
    let (mut first, mut second) = (begin(&store).await.open, begin(&store).await.open);
    first.run(RedisEffect::of(&NO)).expect("it is the first");
    second.run(RedisEffect::of(&NO)).expect("it is the first");
    let said = store.commit(first, value()).await;
    assert!(matches!(said, RowWriteResult::Failed(_)), "{said:?}");
    let kept: i64 = tell(&["PTTL", &noes]).await;
    assert!((590_000..=600_000).contains(&kept), "{kept}");
    let _: i64 = tell(&["PEXPIRE", &noes, "5000"]).await;
    let said = store.commit(second, value()).await;
    assert!(matches!(said, RowWriteResult::Failed(_)), "{said:?}");
    let kept: i64 = tell(&["PTTL", &noes]).await;
    assert!((1..=5_000).contains(&kept), "a later note does not keep the earlier ones: {kept}");
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_by_the_repeat() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("lost-answer");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    let server = Server::start(&Redis, &folder).expect("it starts");
    let settings = RedisSettings::new(&server.url()).expect("a URL");
    let settings = settings.response_timeout(Duration::from_millis(200));
    let store = settings.replica_timeout(Duration::from_millis(50)).open().await.expect("opens");
    let prefix = KeyPrefix::default();
    let mut late = begin(&store).await.open;
    late.run(RedisEffect::of(&SLOW).key(book(&prefix))).expect("it is the first");
    let RowWriteResult::Failed(error) = store.commit(late, value()).await else {
        panic!("it was silent")
    };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    // A server does one thing at a time: whoever asks now is answered when the commit is done.
    let patient = RedisStore::connect(&server.url()).await.expect("it opens");
    let found = begin(&patient).await.row.expect("it is stored");
    assert_eq!(found.value, value(), "the barrier tells this, and runs nothing");
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
    let mut paid = redis::cmd("HGET");
    let paid = paid.arg(book(&prefix)).arg("paid");
    let times: i64 = paid.query_async(&mut connection).await.expect("it is there");
    assert_eq!(times, 1);
}
