//! Built-in resources: commands of one item share a write.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use dtx_core::{
    answer::NotDone,
    ids::OperationIndex,
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    resource::{Audit, Reservations, Take, Units, audit},
    store::{ParticipantStore, RowWriteResult, Scope},
    transaction::Action,
    transport::Command,
};

use crate::participant::{
    HostSettings, Participant,
    host::testing::{Coordinator, CountingStore, command, is_unknown},
};

pub(super) fn stock(store: &Arc<CountingStore>) -> Participant {
    let store: Arc<dyn ParticipantStore> = store.clone();
    Participant::new("stock").expect("a name").resource(Reservations::default(), store)
}

fn name() -> ParticipantName {
    ParticipantName::new("stock").expect("a name")
}

pub(super) async fn open(store: &CountingStore, item: &str, units: u64) {
    let read = Reservations::item(&name(), item).expect("an item");
    let rows = store.read(std::slice::from_ref(&read)).await.expect("read").remove(0);
    let set = Reservations::open_item(&read, &rows, units).expect("opened").expect("new");
    assert!(matches!(store.inner.write(&[set]).await[0], RowWriteResult::Written));
}

pub(super) fn take(number: u64, item: &str, units: u64, phase: Phase) -> Command {
    let input = Units { item: item.to_owned(), units, strict: false };
    Command {
        participant: name(),
        action: ActionName::new(Take::NAME).expect("a name"),
        payload: serde_json::to_vec(&input).expect("encoded").into(),
        ..command(number, phase)
    }
}

pub(super) async fn check(store: &CountingStore, item: &str) -> Audit {
    let read = Reservations::item(&name(), item).expect("an item");
    let now = store.read(std::slice::from_ref(&read)).await.expect("read")[0].now;
    let page = store.scan(&read.scope, b"", None, 10_000).await.expect("scanned");
    assert!(page.next.is_none());
    audit(page.items.iter().map(|(key, row)| (key, row)), now)
}

#[tokio::test]
async fn two_hundred_commands_on_one_item_are_one_write() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    open(&store, "cd", 150).await;
    let commands = (1..=200).map(|number| take(number, "cd", 1, Phase::Execute));
    // They wait for the host, which receives them all at once.
    coordinator.send(commands).await;
    let host = coordinator.host(stock(&store), HostSettings::default()).await;
    let replies = coordinator.replies(200).await;
    assert_eq!(replies.iter().filter(|reply| reply.answer.is_ok()).count(), 150);
    let no = replies.iter().filter(|r| matches!(r.answer, Err(NotDone::Rejected(_))));
    assert_eq!(no.count(), 50);
    assert_eq!(store.writes.load(Ordering::SeqCst), 1);
    assert_eq!(store.sets.load(Ordering::SeqCst), 1);
    let audit = check(&store, "cd").await;
    assert!(audit.is_clean() && audit.taken() == 150, "{audit:?}");
    let report = host.shutdown(Duration::from_secs(5)).await;
    assert_eq!((report.was_killed, report.unfinished, report.stats.commands), (false, 0, 200));
}

#[tokio::test]
async fn a_batch_is_cut_at_its_limit() {
    for (batch_commands_max, writes) in [(10, 1), (9, 2)] {
        let mut coordinator = Coordinator::new().await;
        let store = coordinator.store.clone();
        open(&store, "cd", 10).await;
        coordinator.send((1..=10).map(|n| take(n, "cd", 1, Phase::Execute))).await;
        let settings = HostSettings { batch_commands_max, ..HostSettings::default() };
        let _host = coordinator.host(stock(&store), settings).await;
        coordinator.replies(10).await;
        assert_eq!(store.writes.load(Ordering::SeqCst), writes, "{batch_commands_max}");
    }
}

#[tokio::test]
async fn several_items_share_a_write_call() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    for item in ["a", "b", "c"] {
        open(&store, item, 1).await;
    }
    let commands = ["a", "b", "c", "a"].into_iter().zip(1..);
    coordinator.send(commands.map(|(item, n)| take(n, item, 1, Phase::Execute))).await;
    let _host = coordinator.host(stock(&store), HostSettings::default()).await;
    let replies = coordinator.replies(4).await;
    assert_eq!(replies.iter().filter(|reply| reply.answer.is_ok()).count(), 3);
    assert_eq!(store.writes.load(Ordering::SeqCst), 1);
    assert_eq!(store.sets.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_on_one_item_meet_conflicts_and_never_oversell() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    open(&store, "cd", 100).await;
    let settings = HostSettings { prefetch: 8, ..HostSettings::default() };
    let _first = coordinator.host(stock(&store), settings.clone()).await;
    let _second = coordinator.host(stock(&store), settings).await;
    for chunk in 0..10 {
        let commands = (1..=40).map(|n| take(chunk * 40 + n, "cd", 1, Phase::Execute));
        // Each command twice: the duplicate may reach the other host.
        coordinator.send(commands.clone().chain(commands)).await;
    }
    let replies = coordinator.replies(800).await;
    let done = replies.iter().filter(|reply| reply.answer.is_ok()).count();
    assert_eq!(done, 200, "each of the hundred was told twice");
    let audit = check(&store, "cd").await;
    assert!(audit.is_clean() && audit.taken() == 100, "{audit:?}");
}

#[tokio::test]
async fn a_failed_write_is_tried_again_and_a_lost_answer_is_found_in_the_row() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    open(&store, "cd", 10).await;
    let settings = HostSettings { backoff_ms: 1, ..HostSettings::default() };
    let host = coordinator.host(stock(&store), settings).await;
    store.failures.store(2, Ordering::SeqCst);
    assert!(coordinator.ask(take(1, "cd", 1, Phase::Execute)).await.is_ok());
    store.lost_answers.store(1, Ordering::SeqCst);
    assert!(coordinator.ask(take(2, "cd", 1, Phase::Execute)).await.is_ok());
    let audit = check(&store, "cd").await;
    assert!(audit.is_clean() && audit.taken() == 2, "{audit:?}");
    assert_eq!(host.stats().faults, 3);
}

#[tokio::test]
async fn an_earlier_answer_is_not_told_before_it_is_durable() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    open(&store, "cd", 10).await;
    let settings = HostSettings { backoff_ms: 1, deliveries_max: 3, ..HostSettings::default() };
    let host = coordinator.host(stock(&store), settings).await;
    store.lost_answers.store(1, Ordering::SeqCst);
    store.unconfirmed.store(1, Ordering::SeqCst);
    assert!(coordinator.ask(take(1, "cd", 1, Phase::Execute)).await.is_ok());
    assert_eq!((host.stats().faults, store.unconfirmed.load(Ordering::SeqCst)), (2, 0));
    store.unconfirmed.store(3, Ordering::SeqCst);
    assert!(is_unknown(&coordinator.ask(take(1, "cd", 1, Phase::Execute)).await));
    assert!(coordinator.ask(take(1, "cd", 1, Phase::Execute)).await.is_ok());
    assert_eq!((store.writes.load(Ordering::SeqCst), check(&store, "cd").await.taken()), (1, 1));
}

#[tokio::test]
async fn a_fault_that_stays_is_answered_unknown() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    open(&store, "cd", 10).await;
    let settings = HostSettings { backoff_ms: 1, deliveries_max: 3, ..HostSettings::default() };
    let host = coordinator.host(stock(&store), settings).await;
    store.failures.store(3, Ordering::SeqCst);
    assert!(is_unknown(&coordinator.ask(take(1, "cd", 1, Phase::Execute)).await));
    assert_eq!((host.stats().faults, check(&store, "cd").await.taken()), (3, 0));
}

#[tokio::test]
async fn what_reaches_no_scope_is_answered_at_once() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    let _host = coordinator.host(stock(&store), HostSettings::default()).await;
    let newer = Command { action_version: 9, ..take(1, "cd", 1, Phase::Execute) };
    assert!(is_unknown(&coordinator.ask(newer).await));
    let garbled = Command { payload: Bytes::from_static(b"?"), ..take(1, "cd", 1, Phase::Execute) };
    assert!(matches!(coordinator.ask(garbled).await, Err(NotDone::Rejected(_))));
    assert_eq!(store.writes.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_passed_deadline_begins_nothing_and_a_stored_answer_outlives_it() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    open(&store, "cd", 10).await;
    let _host = coordinator.host(stock(&store), HostSettings::default()).await;
    let late = |command| Command { deadline: Some(Duration::ZERO), ..command };
    let first = take(1, "cd", 1, Phase::Execute);
    assert!(is_unknown(&coordinator.ask(late(first.clone())).await));
    assert!(coordinator.ask(first.clone()).await.is_ok());
    assert!(coordinator.ask(late(first)).await.is_ok());
    assert_eq!(check(&store, "cd").await.taken(), 1);
}

#[tokio::test]
async fn three_phases_run_through_and_go_back() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    open(&store, "cd", 10).await;
    let _host = coordinator.host(stock(&store), HostSettings::default()).await;
    let three = |number, phase| Command {
        pattern: Pattern::ThreePhaseSaga,
        operation: OperationIndex(1),
        ttl: Some(Duration::from_secs(60)),
        ..take(number, "cd", 4, phase)
    };
    for phase in [Phase::Reserve, Phase::Validate, Phase::Execute] {
        assert!(coordinator.ask(three(1, phase)).await.is_ok(), "{phase}");
    }
    for phase in [Phase::Reserve, Phase::Validate, Phase::Release] {
        assert!(coordinator.ask(three(2, phase)).await.is_ok(), "{phase}");
    }
    let audit = check(&store, "cd").await;
    assert!(audit.is_clean() && audit.taken() == 4 && audit.holds == 0, "{audit:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_finished_and_old_is_forgotten_and_never_run_again() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    open(&store, "cd", 10).await;
    let settings =
        HostSettings { retention_ms: 0, collect_interval_ms: 10, ..HostSettings::default() };
    let _host = coordinator.host(stock(&store), settings).await;
    let mut second = take(2, "cd", 1, Phase::Execute);
    assert!(coordinator.ask(take(1, "cd", 1, Phase::Execute)).await.is_ok());
    second.watermark = second.sequence;
    assert!(coordinator.ask(second.clone()).await.is_ok());
    let scope = Scope::new(Reservations::item(&name(), "cd").expect("an item").scope.as_str());
    let scope = scope.expect("a scope");
    let rows = async || {
        let prefix = dtx_core::resource::barrier::INBOX_PREFIX;
        store.scan(&scope, prefix, None, 10).await.expect("scanned").items.len()
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while rows().await > 1 {
        ticks.tick().await;
    }
    assert!(is_unknown(&coordinator.ask(take(1, "cd", 1, Phase::Execute)).await));
    assert!(coordinator.ask(second).await.is_ok(), "it is still open and is remembered");
    assert_eq!(check(&store, "cd").await.taken(), 2);
}
