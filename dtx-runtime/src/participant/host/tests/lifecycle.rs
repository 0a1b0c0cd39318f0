//! Starting, bounds, shutting down.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use dtx_core::{
    pattern::Phase,
    store::{MemoryStore, ParticipantStore},
    transport::{Command, Transport},
};

use super::resources::stock;
use crate::participant::{
    Host, HostError, HostSettings, Participant, ParticipantError,
    host::testing::{Coordinator, Record, Told, Work, command, is_unknown, told, worker},
};

fn waiting(number: u64) -> Command {
    Command { payload: told(Told::Wait), ..command(number, Phase::Execute) }
}

#[tokio::test]
async fn handlers_run_side_by_side_up_to_the_limit_and_not_one_past_it() {
    for concurrency in [1, 4] {
        let (record, mut started) = Record::new();
        let mut coordinator = Coordinator::new().await;
        let settings = HostSettings { concurrency, ..HostSettings::default() };
        let host = coordinator.host(worker(&record), settings).await;
        coordinator.send((1..=12).map(waiting)).await;
        for _ in 0..concurrency {
            started.recv().await.expect("it began");
        }
        // The rest begins one by one, each when another has ended.
        for _ in 0..12 {
            record.gate.add_permits(1);
            assert!(coordinator.reply().await.answer.is_ok());
        }
        assert_eq!(record.most.load(Ordering::SeqCst), concurrency);
        assert_eq!(host.stats().runs, 12);
    }
}

#[tokio::test]
async fn no_more_is_taken_than_the_prefetch() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let settings = HostSettings { prefetch: 3, ..HostSettings::default() };
    let host = coordinator.host(worker(&record), settings).await;
    coordinator.send((1..=9).map(waiting)).await;
    for _ in 0..3 {
        started.recv().await.expect("it began");
    }
    assert_eq!(host.stats().commands, 3);
    record.gate.add_permits(9);
    coordinator.replies(9).await;
    assert!(record.most.load(Ordering::SeqCst) <= 3);
}

#[tokio::test]
async fn a_shutdown_lets_handlers_finish_and_gives_back_what_is_not_begun() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let settings = HostSettings { concurrency: 1, ..HostSettings::default() };
    let host = coordinator.host(worker(&record), settings.clone()).await;
    coordinator.send((1..=5).map(waiting)).await;
    started.recv().await.expect("it began");
    while host.stats().commands < 5 {
        tokio::task::yield_now().await;
    }
    let shutdown = tokio::spawn(host.shutdown(Duration::from_secs(20)));
    let heir = coordinator.host(worker(&record), settings).await;
    record.gate.add_permits(5);
    let report = shutdown.await.expect("it ends");
    assert_eq!((report.was_killed, report.unfinished, report.returned), (false, 0, 4));
    assert!(coordinator.replies(5).await.iter().all(|reply| reply.answer.is_ok()));
    assert_eq!((record.calls().len(), heir.stats().runs), (5, 4));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_outlives_the_grace_is_dropped_and_its_claim_ended() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let host = coordinator.host(worker(&record), HostSettings::default()).await;
    coordinator.send([waiting(1)]).await;
    started.recv().await.expect("it began");
    let report = host.shutdown(Duration::from_millis(50)).await;
    assert_eq!((report.was_killed, report.unfinished), (true, 0));
    assert!(is_unknown(&coordinator.reply().await.answer));
    let _heir = coordinator.host(worker(&record), HostSettings::default()).await;
    record.gate.add_permits(1);
    assert!(coordinator.ask(waiting(1)).await.is_ok());
    assert_eq!(record.calls().len(), 2);
}

#[tokio::test]
async fn a_dropped_handle_ends_its_handlers_and_their_claims() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let host = coordinator.host(worker(&record), HostSettings::default()).await;
    coordinator.send([waiting(1)]).await;
    started.recv().await.expect("it began");
    drop(host);
    assert!(is_unknown(&coordinator.reply().await.answer));
    let _heir = coordinator.host(worker(&record), HostSettings::default()).await;
    record.gate.add_permits(1);
    assert!(coordinator.ask(waiting(1)).await.is_ok());
}

#[tokio::test]
async fn a_claim_whose_answer_could_not_be_stored_is_run_again() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let settings = HostSettings { backoff_ms: 1, ..HostSettings::default() };
    let _host = coordinator.host(worker(&record), settings).await;
    coordinator.send([waiting(1)]).await;
    started.recv().await.expect("it began");
    coordinator.store.failures.store(1, Ordering::SeqCst);
    record.gate.add_permits(2);
    assert!(coordinator.reply().await.answer.is_ok());
    assert_eq!(record.calls().len(), 2, "at least once");
    coordinator.store.lost_answers.store(1, Ordering::SeqCst);
    assert!(coordinator.ask(command(2, Phase::Execute)).await.is_ok(), "a claim unseen");
    assert_eq!(record.calls().len(), 3);
}

#[tokio::test]
async fn an_answer_that_is_found_in_the_inbox_is_not_told_before_it_is_durable() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let settings = HostSettings { backoff_ms: 1, deliveries_max: 3, ..HostSettings::default() };
    let host = coordinator.host(worker(&record), settings).await;
    coordinator.send([waiting(1)]).await;
    started.recv().await.expect("it began");
    // The answer is stored, and nobody knows: it is found when the row is read again, and then by
    // the next delivery.
    coordinator.store.lost_answers.store(1, Ordering::SeqCst);
    coordinator.store.unconfirmed.store(2, Ordering::SeqCst);
    record.gate.add_permits(1);
    assert!(coordinator.reply().await.answer.is_ok());
    assert_eq!(coordinator.store.unconfirmed.load(Ordering::SeqCst), 0);
    assert_eq!(host.stats().faults, 2);
    coordinator.store.unconfirmed.store(3, Ordering::SeqCst);
    assert!(is_unknown(&coordinator.ask(waiting(1)).await));
    assert!(coordinator.ask(waiting(1)).await.is_ok());
    assert_eq!(record.calls().len(), 1, "it ran once");
}

#[tokio::test]
async fn the_answers_of_waiting_handlers_share_writes() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    coordinator.send((1..=100).map(waiting)).await;
    let _host = coordinator.host(worker(&record), HostSettings::default()).await;
    for _ in 0..100 {
        started.recv().await.expect("it began");
    }
    let claims = coordinator.store.writes.load(Ordering::SeqCst);
    assert_eq!(claims, 1, "one write for all claims");
    record.gate.add_permits(100);
    coordinator.replies(100).await;
    let finishes = coordinator.store.writes.load(Ordering::SeqCst) - claims;
    assert!(finishes < 50, "{finishes} writes for 100 answers");
}

#[tokio::test]
async fn what_cannot_be_served_does_not_start() {
    let (record, _) = Record::new();
    let coordinator = Coordinator::new().await;
    let transport: Arc<dyn Transport> = coordinator.transport.clone();
    let store: Arc<dyn ParticipantStore> = Arc::new(MemoryStore::new());
    let start = async |participant, store, settings| {
        Host::start(participant, Arc::clone(&transport), store, settings).await.expect_err("no")
    };
    let settings = HostSettings::default;
    let empty = Participant::new("idle").expect("a name");
    assert!(matches!(
        start(empty, Some(store.clone()), settings()).await,
        HostError::Participant(ParticipantError::Empty(_))
    ));
    let mixed = stock(&coordinator.store).saga(Work(Arc::clone(&record)));
    assert!(matches!(
        start(mixed, Some(store.clone()), settings()).await,
        HostError::Participant(ParticipantError::Mixed(_))
    ));
    assert!(matches!(
        start(worker(&record), None, settings()).await,
        HostError::NoInbox(name) if name.as_str() == "worker"
    ));
    let none = HostSettings { prefetch: 0, ..settings() };
    assert!(matches!(start(worker(&record), Some(store), none).await, HostError::Settings(_)));
}

#[tokio::test]
async fn a_host_whose_transport_is_closed_ends() {
    let (record, _) = Record::new();
    let coordinator = Coordinator::new().await;
    let host = coordinator.host(worker(&record), HostSettings::default()).await;
    coordinator.transport.close().await.expect("closed");
    while !host.is_finished() {
        tokio::task::yield_now().await;
    }
    let report = host.shutdown(Duration::from_secs(1)).await;
    assert_eq!((report.was_killed, report.unfinished), (false, 0));
}
