//! Processes that are killed between two statements.
//!
//! A child is this program again: it does one thing on the store that it is told of, says that it
//! has come to the place, and waits there to be killed.

use std::{env, sync::Arc, time::Duration};

use super::{
    pay::{Due, Pay},
    relays::relay,
    support::{Asked, command, count, open, paid, schema, sql, until},
};
use async_trait::async_trait;
use dtx::{
    BeginIn, PgOutbox, PgStore, SchemaName,
    coordinator::SubmitError,
    outbox::{Message, MessageSink, NotSent, Outgoing},
    participant::Participant,
    pattern::{Pattern, Phase},
    prelude::{CoordinatorSettings, Dtx, InMemoryTransport, Outcome, Transaction},
    store::{Catalog, Filter, MemoryStore},
};
use dtx_testkit::{
    parked::{kill_parked, park},
    participant::{BrittleUnits, Stop},
};

const WHAT: &str = "DTX_CHILD";
const SCHEMA: &str = "DTX_CHILD_SCHEMA";
/// Kills a child at the place that it is told of.
fn kill(what: &str, schema: &SchemaName) {
    kill_parked("children::child", &[(WHAT, what), (SCHEMA, schema.as_str())]);
}

fn brittle(store: &PgStore, stop: Stop) -> BrittleUnits<PgStore> {
    BrittleUnits::new(store.clone(), Arc::new(MemoryStore::new())).parked_at(stop)
}

/// Does nothing unless it is a child.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(what), Ok(schema)) = (env::var(WHAT), env::var(SCHEMA)) else { return };
    let store = open(&SchemaName::new(schema).expect("valid")).await;
    match what.as_str() {
        "in the handler" => execute(&store, Stop::Never, "parks").await,
        "before the commit" => execute(&store, Stop::BeforeCommit, "well").await,
        "after the commit" => execute(&store, Stop::AfterCommit, "well").await,
        "before the prepare" => two_phase(&store, Stop::BeforeCommit).await,
        "after the prepare" => two_phase(&store, Stop::AfterPrepare).await,
        "after the branch ended" => two_phase(&store, Stop::AfterEnd).await,
        "coordinator after the prepare" => coordinate(&store, Stop::AfterPrepare).await,
        "coordinator after a branch ended" => coordinate(&store, Stop::AfterEnd).await,
        "after the send" => relay_and_park(&store).await,
        "in the callers transaction" => begin_and_park(&store).await,
        other => panic!("no child does {other:?}"),
    }
}

async fn execute(store: &PgStore, stop: Stop, how: &str) {
    let payment = Participant::within("payment", brittle(store, stop)).expect("a name");
    let mut asked = Asked::start(payment.saga(Pay::on(store))).await;
    let payload = format!(r#"{{"cents":1,"how":"{how}"}}"#).into();
    let command = command(1, Pattern::Saga, Phase::Execute);
    let answer = asked.ask(&dtx::transport::Command { payload, ..command }).await;
    panic!("it was to be killed before: {answer:?}");
}

async fn two_phase(store: &PgStore, stop: Stop) {
    let payment = Participant::resource_manager("payment", brittle(store, stop));
    let mut asked = Asked::start(payment.expect("a name").prepared(Pay::on(store))).await;
    for phase in [Phase::Prepare, Phase::Commit] {
        let answer = asked.settle(&command(1, Pattern::TwoPhaseCommit, phase)).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    panic!("it was to be killed before");
}

fn both() -> Transaction {
    let due = || Due { cents: 1, how: "well".into() };
    let both = Transaction::builder(Pattern::TwoPhaseCommit).key("both");
    let both = both.call::<Pay>("payment", due()).call::<Pay>("fees", due());
    both.build().expect("it is right")
}

/// Coordinator and participants in one process, of which one stops at a place.
async fn start(store: &PgStore, stop: Stop) -> Dtx {
    let fees = Participant::resource_manager("fees", store.clone()).expect("a name");
    let payment = Participant::resource_manager("payment", brittle(store, stop));
    let lease_ttl = Duration::from_secs(1);
    let settings = CoordinatorSettings { lease_ttl, ..CoordinatorSettings::default() };
    Dtx::builder()
        .store(store.clone())
        .transport(InMemoryTransport::new())
        .settings(settings)
        .participant(payment.expect("a name").prepared(Pay::on(store)))
        .participant(fees.prepared(Pay::on(store)))
        .start()
        .await
        .expect("it starts")
}

async fn coordinate(store: &PgStore, stop: Stop) {
    let mut handle = start(store, stop).await.submit(both()).await.expect("accepted");
    // The outcome is told before the branches end.
    let _ = handle.outcome().await;
    std::future::pending::<()>().await;
}

/// Notes in the database what it was sent, and does not come back after the second.
#[derive(Debug)]
struct Noting(PgStore);

#[async_trait]
impl MessageSink for Noting {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<(), NotSent>> {
        for one in messages {
            let text = String::from_utf8_lossy(&one.message.payload).into_owned();
            sql(&self.0, &format!("INSERT INTO {{s}}.noted VALUES ('{}', '{text}')", one.id)).await;
            if text == "2" {
                park().await;
            }
        }
        messages.iter().map(|_| Ok(())).collect()
    }
}

async fn relay_and_park(store: &PgStore) {
    let outbox = PgOutbox::on(store);
    let relay = dtx::Relay::new(outbox, Noting(store.clone()), Default::default());
    relay.expect("it is right").flush().await.expect("sent");
}

async fn begin_and_park(store: &PgStore) {
    let dtx = Dtx::builder().store(store.clone()).transport(InMemoryTransport::new());
    let dtx = dtx.start().await.expect("it starts");
    let mut tx = store.pool().begin().await.expect("begun");
    let due = Due { cents: 1, how: "well".into() };
    let checkout = Transaction::builder(Pattern::Saga).key("k").call::<Pay>("payment", due);
    dtx.begin_in(&mut tx, checkout.build().expect("right")).await.expect("accepted");
    PgOutbox::on(store).append(&mut tx, Message::new("t", "1")).await.expect("appended");
    park().await;
}

#[tokio::test]
async fn a_participant_that_is_killed_anywhere_has_its_effect_once() {
    for (what, before) in [("in the handler", 0), ("before the commit", 0), ("after the commit", 1)]
    {
        let schema = schema();
        let store = open(&schema).await;
        kill(what, &schema);
        assert_eq!(paid(&store).await, before, "{what}");
        let payment = Participant::within("payment", store.clone()).expect("a name");
        let mut asked = Asked::start(payment.saga(Pay::on(&store))).await;
        let command = command(1, Pattern::Saga, Phase::Execute);
        let answer = asked.settle(&command).await;
        assert!(answer.is_ok(), "{what}: {answer:?}");
        assert_eq!(asked.settle(&command).await, answer);
        assert_eq!((paid(&store).await, asked.host.stats().runs), (1, 1 - before as u64), "{what}");
    }
}

#[tokio::test]
async fn a_resource_manager_that_is_killed_anywhere_commits_once_or_not_at_all() {
    for (what, branches, before) in [
        ("before the prepare", 0, 0),
        ("after the prepare", 1, 0),
        ("after the branch ended", 0, 1),
    ] {
        for back in [false, true] {
            if back && before == 1 {
                continue;
            }
            let schema = schema();
            let store = open(&schema).await;
            kill(what, &schema);
            let prepared = format!(
                "SELECT count(*) FROM pg_prepared_xacts WHERE starts_with(gid, 'dtx:{schema}:')"
            );
            let found = (count(&store, &prepared).await, paid(&store).await);
            assert_eq!(found, (branches, before), "{what}");
            let payment = Participant::resource_manager("payment", store.clone());
            let mut asked = Asked::start(payment.expect("a name").prepared(Pay::on(&store))).await;
            let ask = |phase| command(1, Pattern::TwoPhaseCommit, phase);
            if back {
                assert!(asked.settle(&ask(Phase::Abort)).await.is_ok(), "{what}");
                assert!(asked.settle(&ask(Phase::Prepare)).await.is_err(), "{what}");
            } else {
                assert!(asked.settle(&ask(Phase::Prepare)).await.is_ok(), "{what}");
                let told = asked.settle(&ask(Phase::Commit)).await.expect(what);
                assert!(!told.output.is_empty(), "{what}: the output of its work");
            }
            let left = (count(&store, &prepared).await, paid(&store).await);
            assert_eq!(left, (0, i64::from(!back)), "{what}, back: {back}");
            assert_eq!(asked.host.stats().heuristics, 0);
        }
    }
}

#[tokio::test]
async fn a_coordinator_that_is_killed_in_the_middle_of_a_commit_is_carried_on_by_another() {
    for what in ["coordinator after the prepare", "coordinator after a branch ended"] {
        let schema = schema();
        let store = open(&schema).await;
        kill(what, &schema);
        let prepared = format!(
            "SELECT count(*) FROM pg_prepared_xacts WHERE starts_with(gid, 'dtx:{schema}:')"
        );
        let dtx = start(&store, Stop::Never).await;
        until("all is committed", async || {
            paid(&store).await == 2 && count(&store, &prepared).await == 0
        })
        .await;
        // The same key is the same transaction, once the leases of the dead one have ended.
        until("it is known", async || match dtx.submit(both()).await {
            Ok(mut handle) => handle.outcome().await.expect("told") == Outcome::Committed,
            Err(error) => {
                assert!(matches!(error, SubmitError::NoShard), "{error}");
                false
            }
        })
        .await;
        assert_eq!(paid(&store).await, 2, "{what}");
        dtx.shutdown(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn what_a_killed_relay_had_not_noted_comes_again_with_its_id() {
    let schema = schema();
    let store = open(&schema).await;
    sql(&store, "CREATE TABLE {s}.noted (id text, payload text)").await;
    let outbox = PgOutbox::on(&store);
    let mut tx = store.pool().begin().await.expect("begun");
    let mut ids = Vec::new();
    for number in 1..=3 {
        let message = Message::new("t", number.to_string()).key("a");
        ids.push(outbox.append(&mut tx, message).await.expect("appended"));
    }
    tx.commit().await.expect("committed");
    kill("after the send", &schema);
    assert_eq!(count(&store, "SELECT count(*) FROM {s}.noted").await, 2);
    let (book, relay) = relay(&store);
    // The lane is free when the server has seen that the child is gone.
    until("all are sent", async || relay.flush().await.expect("asked").sent == 3).await;
    let sent: Vec<_> = book.sent().into_iter().map(|one| one.id).collect();
    assert_eq!(sent, ids, "those that had been sent as well, in their order");
    let known = "SELECT count(*) FROM {s}.noted WHERE id = ";
    let first = count(&store, &format!("{known}'{}'", ids[0])).await;
    assert_eq!(first, 1, "a repeat can be told by its id");
}

#[tokio::test]
async fn what_a_killed_caller_had_begun_never_was() {
    let schema = schema();
    let store = open(&schema).await;
    kill("in the callers transaction", &schema);
    assert_eq!(store.list(&Filter::default()).await.expect("listed").items.len(), 0);
    assert_eq!(PgOutbox::on(&store).waiting().await.expect("asked"), 0);
}
