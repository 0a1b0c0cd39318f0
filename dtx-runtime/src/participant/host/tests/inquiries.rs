//! Pinned claims past their deadline: the host asks, and carries out what it is told.

use std::time::Duration;

use dtx_core::{
    pattern::{Pattern, Phase},
    store::Verdict,
    transport::{
        Body, Command, Envelope, Inquiry, InquiryAnswer, Interest, Subscription, Transport,
    },
};

use super::resources::{check, open, stock, take};
use crate::participant::{
    HostSettings,
    host::testing::{Coordinator, Record, command, subscribe, worker},
};

fn settings() -> HostSettings {
    HostSettings { inquiry_interval_ms: 5, ..HostSettings::default() }
}

fn three(number: u64, phase: Phase) -> Command {
    Command {
        pattern: Pattern::ThreePhaseSaga,
        ttl: Some(Duration::from_millis(if phase == Phase::Validate { 1 } else { 60_000 })),
        ..take(number, "cd", 4, phase)
    }
}

async fn next(inquiries: &mut dyn Subscription) -> Inquiry {
    let got = inquiries.receive(1, Duration::from_secs(20)).await.expect("open").remove(0);
    inquiries.ack(&[got.token]).await.expect("acknowledged");
    match got.envelope.body {
        Body::Inquiry(inquiry) => inquiry,
        other => panic!("no inquiry: {other:?}"),
    }
}

async fn answer(coordinator: &Coordinator, inquiry: &Inquiry, verdict: Option<Verdict>) {
    let answer = InquiryAnswer {
        tx: inquiry.tx,
        operation: inquiry.operation,
        participant: inquiry.participant.clone(),
        host: inquiry.host,
        verdict,
        retry_after: Duration::from_millis(1),
    };
    let message = Envelope::new(Body::InquiryAnswer(answer));
    for result in coordinator.transport.publish(&[message]).await {
        result.expect("published");
    }
}

#[tokio::test]
async fn a_pinned_reservation_is_released_by_the_answer_and_by_nothing_else() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    open(&store, "cd", 10).await;
    let mut inquiries = subscribe(&coordinator.transport, Interest::Inquiries).await;
    let host = coordinator.host(stock(&store), settings()).await;
    for phase in [Phase::Reserve, Phase::Validate] {
        assert!(coordinator.ask(three(1, phase)).await.is_ok());
    }
    let first = next(&mut *inquiries).await;
    assert_eq!((first.tx, first.host), (three(1, Phase::Reserve).tx, host.host_id()));
    answer(&coordinator, &first, None).await;
    let again = next(&mut *inquiries).await;
    assert_eq!(check(&store, "cd").await.pinned, 1, "undecided: it stays");
    answer(&coordinator, &again, Some(Verdict::Abort)).await;
    while check(&store, "cd").await.pinned > 0 {
        tokio::task::yield_now().await;
    }
    let late = coordinator.ask(three(1, Phase::Execute)).await;
    assert!(late.is_err(), "{late:?}");
    let audit = check(&store, "cd").await;
    assert!(audit.is_clean() && audit.taken() == 0, "{audit:?}");
}

#[tokio::test]
async fn a_verdict_to_commit_waits_for_the_coordinator() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    open(&store, "cd", 10).await;
    let mut inquiries = subscribe(&coordinator.transport, Interest::Inquiries).await;
    let _host = coordinator.host(stock(&store), settings()).await;
    for phase in [Phase::Reserve, Phase::Validate] {
        assert!(coordinator.ask(three(1, phase)).await.is_ok());
    }
    let inquiry = next(&mut *inquiries).await;
    answer(&coordinator, &inquiry, Some(Verdict::Commit)).await;
    assert!(coordinator.ask(three(1, Phase::Execute)).await.is_ok());
    assert_eq!(check(&store, "cd").await.taken(), 4);
}

#[tokio::test]
async fn a_new_host_finds_the_claims_of_the_one_before() {
    let mut coordinator = Coordinator::new().await;
    let store = coordinator.store.clone();
    open(&store, "cd", 10).await;
    let mut inquiries = subscribe(&coordinator.transport, Interest::Inquiries).await;
    let slow = HostSettings { inquiry_interval_ms: 60_000, ..settings() };
    let host = coordinator.host(stock(&store), slow).await;
    for phase in [Phase::Reserve, Phase::Validate] {
        assert!(coordinator.ask(three(1, phase)).await.is_ok());
    }
    host.shutdown(Duration::from_secs(5)).await;
    let heir = coordinator.host(stock(&store), settings()).await;
    let inquiry = next(&mut *inquiries).await;
    assert_eq!(inquiry.host, heir.host_id());
    answer(&coordinator, &inquiry, Some(Verdict::Abort)).await;
    while check(&store, "cd").await.pinned > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_prepared_branch_of_a_handler_is_aborted_by_the_answer() {
    for is_volatile in [false, true] {
        let (record, mut started) = Record::new();
        let mut coordinator = Coordinator::new().await;
        let mut inquiries = subscribe(&coordinator.transport, Interest::Inquiries).await;
        let worker = worker(&record);
        let worker = if is_volatile { worker.volatile_inbox() } else { worker };
        let host = coordinator.host(worker, settings()).await;
        let prepare = Command {
            pattern: Pattern::TwoPhaseCommit,
            ttl: Some(Duration::from_millis(1)),
            ..command(1, Phase::Prepare)
        };
        assert!(coordinator.ask(prepare.clone()).await.is_ok());
        let inquiry = next(&mut *inquiries).await;
        answer(&coordinator, &inquiry, Some(Verdict::Abort)).await;
        for _ in 0..2 {
            started.recv().await.expect("it began");
        }
        assert_eq!(record.calls()[1].split(' ').next(), Some("abort"));
        let report = host.shutdown(Duration::from_secs(5)).await;
        assert!(!report.was_killed);
        assert_eq!(report.stats.replies, 1, "nobody asked the host to abort");
    }
}
