//! Relays: order, repeats, what fails, and several at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dtx::{
    PgOutbox, PgStore, Relay, RelaySettings,
    outbox::{Message, MessageSink, NotSent, Outgoing},
};

use super::support::{count, store, until};

/// What a message does to its sink, by its payload.
type Fault = fn(&Outgoing, u64) -> bool;

/// Keeps what it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    calls: Arc<Mutex<Vec<Vec<Outgoing>>>>,
    number: Arc<AtomicU64>,
    fails: Fault,
}

impl Default for Book {
    fn default() -> Self {
        Self::failing(|_, _| false)
    }
}

impl Book {
    pub(crate) fn failing(fails: Fault) -> Self {
        Self { calls: Arc::default(), number: Arc::default(), fails }
    }

    pub(crate) fn calls(&self) -> Vec<Vec<Outgoing>> {
        self.calls.lock().expect("nobody panics with it").clone()
    }

    /// What was taken, repeats included.
    pub(crate) fn sent(&self) -> Vec<Outgoing> {
        self.calls().concat()
    }

    fn payloads(&self) -> Vec<String> {
        let text = |one: Outgoing| String::from_utf8(one.message.payload.to_vec()).expect("text");
        self.sent().into_iter().map(text).collect()
    }
}

#[async_trait]
impl MessageSink for Book {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<(), NotSent>> {
        // Other relays run meanwhile.
        tokio::task::yield_now().await;
        match messages[0].message.payload.as_ref() {
            b"hangs" => std::future::pending().await,
            b"panics" => panic!("as it was told"),
            b"forgets" => return Vec::new(),
            _ => {}
        }
        let (mut taken, mut results) = (Vec::new(), Vec::new());
        for one in messages {
            let number = self.number.fetch_add(1, Ordering::SeqCst);
            let fails = (self.fails)(one, number);
            results.push(if fails { Err(NotSent("no".into())) } else { Ok(()) });
            if !fails {
                taken.push(one.clone());
            }
        }
        self.calls.lock().expect("nobody panics with it").push(taken);
        results
    }
}

/// No pauses, so that nothing has to be waited for.
fn settings() -> RelaySettings {
    RelaySettings { backoff: Duration::ZERO, ..RelaySettings::default() }
}

pub(crate) fn relay(store: &PgStore) -> (Book, Relay) {
    let book = Book::default();
    let relay = Relay::new(PgOutbox::on(store), book.clone(), settings());
    (book, relay.expect("it is right"))
}

async fn append(store: &PgStore, messages: impl IntoIterator<Item = Message>) {
    let outbox = PgOutbox::on(store);
    let mut tx = store.pool().begin().await.expect("begun");
    for message in messages {
        outbox.append(&mut tx, message).await.expect("appended");
    }
    tx.commit().await.expect("committed");
}

fn keyed(key: &str, payload: impl Into<String>) -> Message {
    Message::new("t", payload.into()).key(key)
}

#[tokio::test]
async fn several_relays_keep_the_order_of_each_key_and_lose_nothing() {
    const KEYS: usize = 6;
    const EACH: usize = 40;
    let store = store().await;
    // Every fifth attempt fails, whatever it is.
    let book = Book::failing(|_, number| number % 5 == 3);
    let every = RelaySettings { attempts_max: 1_000, poll: Duration::from_millis(1), ..settings() };
    let every = RelaySettings { batch_messages_max: 7, poll_max: every.poll, ..every };
    let relays: Vec<_> = (0..4)
        .map(|_| Relay::new(PgOutbox::on(&store), book.clone(), every.clone()))
        .map(|relay| relay.expect("it is right").start())
        .collect();
    let mut writers = tokio::task::JoinSet::new();
    for key in 0..KEYS {
        let store = store.clone();
        writers.spawn(async move {
            for number in 0..EACH {
                append(&store, [keyed(&format!("k{key}"), format!("{number}"))]).await;
            }
        });
    }
    writers.join_all().await;
    let outbox = PgOutbox::on(&store);
    until("all are sent", async || outbox.waiting().await.expect("asked") == 0).await;
    for relay in relays {
        relay.stop().await;
    }
    let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for one in book.sent() {
        // A repeat has its id, and does not count.
        if seen.insert(one.id) {
            let number = std::str::from_utf8(&one.message.payload).expect("text").parse();
            by_key.entry(one.message.key.expect("a key")).or_default().push(number.expect("one"));
        }
    }
    assert_eq!(by_key.len(), KEYS);
    for (key, numbers) in by_key {
        assert_eq!(numbers, (0..EACH).collect::<Vec<_>>(), "{key}");
    }
}

#[tokio::test]
async fn a_lane_that_another_relay_has_is_passed_over() {
    let store = store().await;
    append(&store, [keyed("a", "1")]).await;
    let mut other = store.pool().begin().await.expect("begun");
    let text = format!("SELECT lane FROM {}.outbox_lane FOR UPDATE", store.schema());
    sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut *other).await.expect("taken");
    let (book, relay) = relay(&store);
    assert_eq!(relay.flush().await.expect("it does not wait").sent, 0);
    other.rollback().await.expect("free again");
    assert_eq!(relay.flush().await.expect("asked").sent, 1);
    assert_eq!(book.payloads(), ["1"]);
}

#[tokio::test]
async fn who_appends_with_a_key_waits_for_the_commit_of_the_one_before() {
    let store = store().await;
    let outbox = PgOutbox::on(&store);
    let mut first = store.pool().begin().await.expect("begun");
    outbox.append(&mut first, keyed("a", "1")).await.expect("appended");
    let second = {
        let store = store.clone();
        tokio::spawn(async move { append(&store, [keyed("a", "2")]).await })
    };
    append(&store, [keyed("b", "3"), Message::new("t", "4")]).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND \
        query LIKE '%{s}%append_1%'";
    until("it waits", async || count(&store, waiting).await == 1).await;
    first.commit().await.expect("committed");
    second.await.expect("it ends");
    let (book, relay) = relay(&store);
    assert_eq!(relay.flush().await.expect("sent").sent, 4);
    let payloads = book.payloads();
    let place = |wanted: &str| payloads.iter().position(|one| one == wanted);
    assert!(place("1") < place("2"), "{payloads:?}");
}

#[tokio::test]
async fn a_message_is_tried_as_often_as_the_setting_says_and_then_laid_aside() {
    for (failures, dead) in [(2, 0), (3, 1)] {
        let store = store().await;
        let fails: Fault = match failures {
            2 => |one, _| one.message.payload == "poison" && one.attempt <= 2,
            _ => |one, _| one.message.payload == "poison" && one.attempt <= 3,
        };
        let book = Book::failing(fails);
        let three = RelaySettings { attempts_max: 3, ..settings() };
        let outbox = PgOutbox::on(&store);
        let relay = Relay::new(outbox.clone(), book.clone(), three).expect("it is right");
        append(&store, [keyed("a", "poison"), keyed("a", "next"), keyed("b", "other")]).await;
        let stats = relay.flush().await.expect("sent");
        assert_eq!((stats.failed, stats.dead), (failures, dead));
        let payloads = book.payloads();
        let (poison, next) = (
            payloads.iter().position(|p| p == "poison"),
            payloads.iter().position(|p| p == "next"),
        );
        let listed = outbox.dead(10).await.expect("listed");
        assert_eq!(listed.len() as u64, dead);
        if dead == 0 {
            assert!(poison < next, "{payloads:?}");
            continue;
        }
        assert_eq!((poison, payloads.len()), (None, 2), "the next of its key goes on without it");
        assert_eq!((listed[0].attempts, listed[0].error.as_str()), (3, "no"));
        assert_eq!(listed[0].message, keyed("a", "poison"));
        assert!(outbox.revive(listed[0].id).await.expect("asked"));
        assert!(!outbox.revive(listed[0].id).await.expect("asked"), "it is not dead any more");
        assert_eq!(relay.flush().await.expect("tried").dead, 2);
        assert!(outbox.discard(listed[0].id).await.expect("asked"));
        assert_eq!(outbox.dead(10).await.expect("listed"), []);
    }
}

#[tokio::test]
async fn what_failed_waits_and_the_others_of_its_key_with_it() {
    let store = store().await;
    let book = Book::failing(|one, _| one.message.payload == "1");
    let hour = Duration::from_secs(3600);
    let slow = RelaySettings { backoff: hour, backoff_max: hour, ..settings() };
    let relay = Relay::new(PgOutbox::on(&store), book.clone(), slow).expect("it is right");
    append(&store, [keyed("a", "1"), keyed("a", "2"), keyed("b", "3"), Message::new("t", "4")])
        .await;
    assert_eq!(relay.flush().await.expect("tried").failed, 1);
    append(&store, [keyed("a", "5"), keyed("b", "6")]).await;
    relay.flush().await.expect("tried");
    let sent: BTreeSet<_> = book.payloads().into_iter().collect();
    assert_eq!(sent, ["3", "4", "6"].map(String::from).into());
    assert_eq!(PgOutbox::on(&store).waiting().await.expect("asked"), 3);
}

#[tokio::test]
async fn a_round_has_as_many_as_the_setting_says() {
    let store = store().await;
    let book = Book::default();
    let five = RelaySettings { batch_messages_max: 5, ..settings() };
    let relay = Relay::new(PgOutbox::on(&store), book.clone(), five).expect("it is right");
    // One key, so one lane; a call of the sink has one of each key.
    append(&store, (0..5).map(|n| keyed("a", n.to_string()))).await;
    let rounds = async || count(&store, "SELECT count(*) FROM {s}.outbox").await;
    relay.flush().await.expect("sent");
    assert_eq!((rounds().await, book.calls().len()), (0, 5));
    // Six without a key, in the same lane: two calls, of five and of one.
    append(&store, (0..6).map(|n| Message::new("t", format!("x{n}")))).await;
    super::support::sql(&store, "UPDATE {s}.outbox SET lane = 0").await;
    relay.flush().await.expect("sent");
    let sizes: Vec<_> = book.calls().iter().skip(5).map(Vec::len).collect();
    assert_eq!(sizes, [5, 1]);
}

#[tokio::test]
async fn a_sink_that_hangs_panics_or_forgets_has_not_sent() {
    for what in ["hangs", "panics", "forgets"] {
        let store = store().await;
        let once = RelaySettings {
            attempts_max: 1,
            send_timeout: Duration::from_millis(50),
            ..settings()
        };
        let outbox = PgOutbox::on(&store);
        let relay = Relay::new(outbox.clone(), Book::default(), once).expect("it is right");
        append(&store, [Message::new("t", what)]).await;
        let stats = relay.flush().await.expect("tried");
        assert_eq!((stats.sent, stats.dead), (0, 1), "{what}");
        let error = outbox.dead(1).await.expect("listed").remove(0).error;
        let expected = match what {
            "hangs" => "no answer within 50 ms",
            "panics" => "the sink ended early",
            _ => "did not say",
        };
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_running_relay_stops_when_it_is_told() {
    let store = store().await;
    let (book, relay) = relay(&store);
    let running = relay.start();
    append(&store, [Message::new("t", "1")]).await;
    until("it is sent", async || running.stats().sent == 1).await;
    assert_eq!((running.stop().await.sent, book.sent().len()), (1, 1));
    append(&store, [Message::new("t", "2")]).await;
    assert_eq!(PgOutbox::on(&store).waiting().await.expect("asked"), 1);
}
