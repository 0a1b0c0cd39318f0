//! Handlers that are slower than the transport waits for an acknowledgement.

use std::time::Duration;

use dtx_core::{
    pattern::{Pattern, Phase},
    transport::{Command, Transport},
};

use crate::participant::{
    HostSettings,
    host::testing::{Coordinator, Record, Told, command, is_unknown, told, worker},
};

/// Much longer than the transport waits.
const SLOW: Duration = Duration::from_secs(10 * 60);

fn settings() -> HostSettings {
    let handler_ms_max = 9 * SLOW.as_millis() as u64;
    HostSettings {
        handler_ms_max,
        deliveries_max: 2,
        concurrency: 1,
        prefetch: 2,
        ..HostSettings::default()
    }
}

fn slow(number: u64) -> Command {
    Command { payload: told(Told::Wait), ..command(number, Phase::Execute) }
}

/// Nobody is told anything for as long as the handlers are slow.
async fn quiet(coordinator: &mut Coordinator) {
    let told = coordinator.replies.receive(1, SLOW).await.expect("open");
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_runs_and_what_waits_behind_it_is_delivered_once() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let ack_wait = coordinator.transport.info().limits.ack_wait.expect("it has one");
    assert!(SLOW > 10 * ack_wait);
    // Two hosts of one group: what came again would go to the idle one too.
    let hosts = [
        coordinator.host(worker(&record), settings()).await,
        coordinator.host(worker(&record), settings()).await,
    ];
    coordinator.send([slow(1), slow(2), slow(3), slow(4)]).await;
    for _ in 0..2 {
        started.recv().await.expect("it began");
    }
    quiet(&mut coordinator).await;
    record.gate.add_permits(4);
    let replies = coordinator.replies(4).await;
    assert!(replies.iter().all(|reply| reply.answer.is_ok()), "{replies:?}");
    let delivered: u64 = hosts.iter().map(|host| host.stats().commands).sum();
    assert_eq!((delivered, record.calls().len()), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_the_coordinator_is_told_that_it_runs_and_changes_nothing() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let settings = HostSettings { concurrency: 2, ..settings() };
    let host = coordinator.host(worker(&record), settings).await;
    coordinator.send([slow(1)]).await;
    started.recv().await.expect("it began");
    for attempt in 2..5 {
        assert!(is_unknown(&coordinator.ask(Command { attempt, ..slow(1) }).await));
        quiet(&mut coordinator).await;
    }
    record.gate.add_permits(1);
    let reply = coordinator.reply().await;
    assert!(reply.answer.is_ok() && reply.attempt == 1, "{reply:?}");
    assert_eq!((host.stats().commands, record.calls().len()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_nobody_waits_for_is_not_given_up_while_it_is_taken_in() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let host = coordinator.host(worker(&record), settings()).await;
    let message = Command {
        pattern: Pattern::FireAndForget,
        reply: false,
        payload: told(Told::Wait),
        ..command(1, Phase::Deliver)
    };
    coordinator.send([message]).await;
    started.recv().await.expect("it began");
    quiet(&mut coordinator).await;
    record.gate.add_permits(1);
    quiet(&mut coordinator).await;
    let report = host.shutdown(Duration::from_secs(5)).await;
    assert_eq!((report.stats.commands, report.stats.dead_letters), (1, 0));
    assert_eq!(record.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_host_had_in_its_hands_comes_again_soon() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let host = coordinator.host(worker(&record), settings()).await;
    coordinator.send([slow(1), slow(2)]).await;
    started.recv().await.expect("it began");
    quiet(&mut coordinator).await;
    drop(host);
    assert!(is_unknown(&coordinator.reply().await.answer), "its handler was dropped");
    let _heir = coordinator.host(worker(&record), settings()).await;
    record.gate.add_permits(1);
    assert!(coordinator.reply().await.answer.is_ok(), "the one that had waited");
}
