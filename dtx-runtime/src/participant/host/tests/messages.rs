//! Messages that nobody waits for.

use std::{sync::atomic::Ordering, time::Duration};

use dtx_core::{
    answer::NotDone,
    pattern::{Pattern, Phase},
    transport::Command,
};

use crate::participant::{
    HostSettings,
    host::testing::{Coordinator, Record, Told, command, told, tx, worker},
};

fn message(number: u64, what: Told) -> Command {
    Command {
        pattern: Pattern::FireAndForget,
        reply: false,
        payload: told(what),
        ..command(number, Phase::Deliver)
    }
}

fn settings() -> HostSettings {
    HostSettings { backoff_ms: 1, deliveries_max: 3, dead_letters_max: 2, ..Default::default() }
}

#[tokio::test]
async fn a_message_is_tried_again_until_it_is_taken_in() {
    let (record, mut started) = Record::new();
    let coordinator = Coordinator::new().await;
    let host = coordinator.host(worker(&record), settings()).await;
    coordinator.send([message(1, Told::FailOnce)]).await;
    for _ in 0..2 {
        started.recv().await.expect("it began");
    }
    let report = host.shutdown(Duration::from_secs(5)).await;
    assert_eq!((report.stats.replies, report.stats.dead_letters), (0, 0));
    assert_eq!(record.calls().len(), 2);
}

#[tokio::test]
async fn one_that_is_never_taken_in_becomes_a_dead_letter_and_the_list_is_bounded() {
    let (record, _) = Record::new();
    let coordinator = Coordinator::new().await;
    let host = coordinator.host(worker(&record), settings()).await;
    for (number, what) in [(1, Told::Refuse), (2, Told::Panic), (3, Told::Refuse)] {
        coordinator.send([message(number, what)]).await;
        while host.stats().dead_letters < number {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(record.calls().len(), 9, "each was tried three times");
    let letters = host.dead_letters();
    let transactions: Vec<_> = letters.iter().map(|letter| letter.tx).collect();
    assert_eq!(transactions, [tx(2), tx(3)], "the oldest made room");
    assert_eq!((letters[1].deliveries, letters[1].reason.as_str()), (3, "not today"));
    host.shutdown(Duration::from_secs(5)).await;
    let heir = coordinator.host(worker(&record), settings()).await;
    assert_eq!(heir.dead_letters(), letters, "they outlive the host");
}

#[tokio::test]
async fn a_confirmed_message_says_no_and_is_the_coordinators_to_repeat() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let host = coordinator.host(worker(&record), settings()).await;
    for _ in 0..2 {
        let no = Command { reply: true, ..message(1, Told::Refuse) };
        assert!(matches!(coordinator.ask(no).await, Err(NotDone::Rejected(_))));
    }
    assert_eq!(record.calls().len(), 2, "the no is of that delivery alone");
    let yes = Command { reply: true, ..message(1, Told::Do) };
    assert!(coordinator.ask(yes.clone()).await.is_ok());
    assert!(coordinator.ask(yes).await.is_ok());
    assert_eq!(record.calls().len(), 3);
    assert_eq!(host.stats().dead_letters, 0);
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_stored_is_delivered_again() {
    let (record, _) = Record::new();
    let coordinator = Coordinator::new().await;
    let host = coordinator.host(worker(&record), settings()).await;
    coordinator.store.failures.store(12, Ordering::SeqCst);
    coordinator.send([message(1, Told::Refuse)]).await;
    while host.stats().dead_letters < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.dead_letters().len(), 1);
}
