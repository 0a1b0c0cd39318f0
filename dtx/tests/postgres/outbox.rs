//! Messages and transactions that begin in the user's own transaction.

use std::time::Duration;

use dtx::{
    BeginIn, PgOutbox, PgStore,
    coordinator::SubmitError,
    error::ErrorKind,
    outbox::Message,
    participant::Participant,
    prelude::{Dtx, InMemoryTransport, Outcome, Pattern, Transaction},
    store::{Catalog, Filter},
};

use super::{
    pay::{Due, Pay},
    relays::relay,
    support::{config, paid, schema, sql, store, until},
};

async fn dtx(store: &PgStore) -> Dtx {
    let payment = Participant::within("payment", store.clone()).expect("a name");
    let payment = payment.saga(Pay::on(store)).deliver(Pay::on(store));
    let builder = Dtx::builder().store(store.clone()).transport(InMemoryTransport::new());
    builder.participant(payment).start().await.expect("it starts")
}

fn checkout(cents: i64) -> Transaction {
    Transaction::builder(Pattern::Saga)
        .key("order-1")
        .call::<Pay>("payment", Due { cents, how: "well".into() })
        .build()
        .expect("it is right")
}

async fn known(store: &PgStore) -> usize {
    store.list(&Filter::default()).await.expect("listed").items.len()
}

#[tokio::test]
async fn a_transaction_begins_with_the_callers_and_never_was_without_it() {
    let store = store().await;
    let dtx = dtx(&store).await;
    let mut tx = store.pool().begin().await.expect("begun");
    dtx.begin_in(&mut tx, checkout(1)).await.expect("accepted");
    assert_eq!(known(&store).await, 0, "nobody sees it yet");
    tx.rollback().await.expect("undone");
    assert_eq!((known(&store).await, paid(&store).await), (0, 0));

    let mut tx = store.pool().begin().await.expect("begun");
    sqlx::query("SELECT 1").execute(&mut *tx).await.expect("done");
    let id = dtx.begin_in(&mut tx, checkout(1)).await.expect("the key is free again");
    tx.commit().await.expect("committed");
    let outcome = dtx.attach(id).await.outcome().await.expect("told");
    assert_eq!((outcome, paid(&store).await), (Outcome::Committed, 1));

    let mut tx = store.pool().begin().await.expect("begun");
    assert_eq!(dtx.begin_in(&mut tx, checkout(1)).await.expect("the same"), id);
    let other = dtx.begin_in(&mut tx, checkout(2)).await;
    assert!(matches!(other, Err(SubmitError::KeyConflict(tx)) if tx == id), "{other:?}");
    tx.rollback().await.expect("undone");
    dtx.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_transaction_begins_in_an_open_one_only() {
    let store = store().await;
    let dtx = dtx(&store).await;
    let mut none = store.pool().acquire().await.expect("a connection");
    let error = dtx.begin_in(&mut none, checkout(1)).await.expect_err("nothing is open");
    let SubmitError::Store(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(known(&store).await, 0);
    let memory = Dtx::builder().store(dtx::store::MemoryStore::new()).allow_volatile();
    let memory = memory.transport(InMemoryTransport::new()).start().await.expect("it starts");
    let mut tx = store.pool().begin().await.expect("begun");
    let error = memory.begin_in(&mut tx, checkout(1)).await;
    assert!(matches!(error, Err(SubmitError::OtherStore)), "{error:?}");
    dtx.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_message_is_sent_after_the_commit_and_never_without_it() {
    let store = store().await;
    let outbox = PgOutbox::on(&store);
    let (book, relay) = relay(&store);
    let mut tx = store.pool().begin().await.expect("begun");
    outbox.append(&mut tx, Message::new("t", "lost")).await.expect("appended");
    assert_eq!(relay.flush().await.expect("asked").sent, 0, "it is not committed");
    tx.rollback().await.expect("undone");
    let mut tx = store.pool().begin().await.expect("begun");
    let id = outbox.append(&mut tx, Message::new("t", "kept")).await.expect("appended");
    assert_eq!(relay.flush().await.expect("asked").sent, 0, "it is not committed");
    tx.commit().await.expect("committed");
    assert_eq!(outbox.waiting().await.expect("asked"), 1);
    assert_eq!(relay.flush().await.expect("asked").sent, 1);
    assert_eq!(outbox.waiting().await.expect("asked"), 0);
    let sent = book.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].id, sent[0].message.clone()), (id, Message::new("t", "kept")));
}

#[tokio::test]
async fn limits_of_a_message_are_kept() {
    let schema = schema();
    let config = config(&schema).value_bytes_max(10);
    let store = PgStore::connect(config).await.expect("it opens");
    let outbox = PgOutbox::on(&store);
    let good = || Message::new("t".repeat(256), vec![0; 10]).key("k".repeat(256));
    let mut tx = store.pool().begin().await.expect("begun");
    outbox.append(&mut tx, good()).await.expect("at the limits");
    for (field, wrong) in [
        ("topic", Message { topic: "t".repeat(257), ..good() }),
        ("topic", Message { topic: String::new(), ..good() }),
        ("topic", Message { topic: "\0".into(), ..good() }),
        ("key", good().key("k".repeat(257))),
        ("key", good().key("")),
        ("payload", Message { payload: vec![0; 11].into(), ..good() }),
    ] {
        let error = outbox.append(&mut tx, wrong).await.expect_err(field);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(field), "{error}");
    }
    tx.commit().await.expect("a refused message breaks nothing");
    let mut none = store.pool().acquire().await.expect("a connection");
    let error = outbox.append(&mut none, good()).await.expect_err("nothing is open");
    assert!(error.to_string().contains("no open transaction"), "{error}");
    assert_eq!(outbox.waiting().await.expect("asked"), 1);
}

#[tokio::test]
async fn messages_to_a_coordinator_start_a_transaction_each_however_often_they_come() {
    let store = store().await;
    let dtx = dtx(&store).await;
    let outbox = PgOutbox::on(&store);
    let mut tx = store.pool().begin().await.expect("begun");
    for cents in [1, 2] {
        let due = Due { cents, how: "well".into() };
        let message = Message::to::<Pay>("payment", &due).expect("it is JSON").key("alice");
        outbox.append(&mut tx, message).await.expect("appended");
    }
    tx.commit().await.expect("committed");
    // A copy of what will be deleted, to be sent once more.
    sql(&store, "CREATE TABLE {s}.copy AS SELECT * FROM {s}.outbox").await;
    let relay = dtx::Relay::new(outbox.clone(), dtx.clone(), Default::default()).expect("right");
    assert_eq!(relay.flush().await.expect("sent").sent, 2);
    sql(&store, "INSERT INTO {s}.outbox OVERRIDING SYSTEM VALUE SELECT * FROM {s}.copy").await;
    assert_eq!(relay.flush().await.expect("sent").sent, 4);
    until("both arrive", async || paid(&store).await == 2).await;
    dtx.drain().await;
    assert_eq!((paid(&store).await, known(&store).await), (2, 2));
    dtx.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_handler_appends_in_its_own_transaction() {
    let store = store().await;
    let outbox = PgOutbox::on(&store);
    let note = Note(outbox.clone());
    let noting = Participant::within("payment", store.clone()).expect("a name").retriable(note);
    let builder = Dtx::builder().store(store.clone()).transport(InMemoryTransport::new());
    let dtx = builder.participant(noting).start().await.expect("it starts");
    let (book, relay) = relay(&store);
    for (text, sent) in [("no", 0), ("yes", 1)] {
        let call = dtx::transaction::OperationDraft::call::<Note>("payment", text.to_owned());
        let noted =
            Transaction::builder(Pattern::Saga).operation(call.step(dtx::prelude::StepKind::Pivot));
        let mut handle = dtx.submit(noted.build().expect("it is right")).await.expect("accepted");
        handle.outcome().await.expect("told");
        relay.flush().await.expect("asked");
        assert_eq!(book.sent().len(), sent, "{text}");
    }
    dtx.shutdown(Duration::from_secs(5)).await;
}

/// Notes something, and may say no after that.
struct Note(PgOutbox);

impl dtx::transaction::Action for Note {
    const NAME: &'static str = "note";
    type Input = String;
    type Output = ();
}

impl dtx::participant::Execute<dtx::Pg> for Note {
    async fn execute(
        &self,
        cx: &mut dtx::participant::Context<'_, dtx::Pg>,
        text: &String,
    ) -> dtx::answer::Answer<()> {
        self.0.append(cx.tx(), Message::new("notes", text.clone())).await?;
        if text == "no" { dtx::answer::rejected("no note") } else { Ok(()) }
    }
}
