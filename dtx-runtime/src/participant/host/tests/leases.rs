//! Claims of hosts that are gone, on a store that several processes share.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use dtx_core::{
    answer::NotDone,
    engine::{member_read, member_write},
    ids::{AcceptSequence, HolderId},
    pattern::Phase,
    resource::barrier::{self, Claim, ClaimContext},
    store::{ParticipantStore, RowChange, RowExpect, RowSet, RowWriteResult, Scope, ScopeRead},
    time::Timestamp,
    transport::Command,
};

use crate::participant::{
    HostSettings,
    host::testing::{Coordinator, Record, Told, command, is_unknown, told, worker},
};

/// How long anything may take.
const WAIT: Duration = Duration::from_secs(20);

const SOMEBODY: HolderId = HolderId(7);

fn short() -> HostSettings {
    HostSettings { lease_ms: 300, backoff_ms: 5, ..HostSettings::default() }
}

async fn write(coordinator: &Coordinator, set: RowSet) {
    let written = coordinator.store.inner.write(&[set]).await.pop();
    assert!(matches!(written, Some(RowWriteResult::Written)), "{written:?}");
}

/// Stores a claim of another host, as if its handler were running.
async fn claim(coordinator: &Coordinator, command: &Command) {
    let context = ClaimContext {
        host: SOMEBODY,
        ended: &|_| false,
        forgotten_below: AcceptSequence::default(),
        now: Timestamp::from_millis(1),
    };
    let Claim::Run { row, .. } = barrier::claim(None, &context, command) else {
        panic!("it is new");
    };
    let key = barrier::inbox_key(command.tx, command.operation);
    let scope = Scope::new(format!("worker/inbox/{}", command.shard)).expect("a scope");
    let change = RowChange { key, expect: RowExpect::Absent, value: Some(row.encode()) };
    let set = RowSet { scope, changes: vec![change], unchanged: Vec::new(), not_after: None };
    write(coordinator, set).await;
}

/// Somebody lives for so long.
async fn live(coordinator: &Coordinator, ttl: Duration) {
    let scope = Scope::new("worker/hosts").expect("a scope");
    let read = ScopeRead { scope: scope.clone(), ..member_read(SOMEBODY) };
    let rows = coordinator.store.inner.read(&[read]).await.expect("read").remove(0);
    let set = member_write(SOMEBODY, &rows, Some(ttl)).expect("it fits").expect("a row");
    write(coordinator, RowSet { scope, ..set }).await;
}

#[tokio::test]
async fn the_claim_of_a_host_is_taken_over_once_its_lease_has_ended_and_not_before() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::shared().await;
    live(&coordinator, Duration::from_secs(2)).await;
    claim(&coordinator, &command(1, Phase::Execute)).await;
    let _host = coordinator.host(worker(&record), short()).await;
    let begun = Instant::now();
    let mut attempt = 1;
    loop {
        let answer = coordinator.ask(Command { attempt, ..command(1, Phase::Execute) }).await;
        if answer.is_ok() {
            break;
        }
        assert!(is_unknown(&answer), "{answer:?}");
        assert!(begun.elapsed() < WAIT, "it is never taken over");
        attempt += 1;
    }
    assert!(attempt > 1 && begun.elapsed() >= Duration::from_millis(1_500), "after {attempt}");
    assert_eq!(record.calls().len(), 1);
}

#[tokio::test]
async fn a_host_that_has_no_lease_any_more_is_gone() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::shared().await;
    claim(&coordinator, &command(1, Phase::Execute)).await;
    let _host = coordinator.host(worker(&record), short()).await;
    assert!(coordinator.ask(command(1, Phase::Execute)).await.is_ok());
}

#[tokio::test]
async fn a_host_that_is_shut_down_leaves_no_lease_behind() {
    let (record, _) = Record::new();
    let coordinator = Coordinator::shared().await;
    let host = coordinator.host(worker(&record), short()).await;
    let scope = Scope::new("worker/hosts").expect("a scope");
    let rows = async || coordinator.store.scan(&scope, b"", None, 9).await.expect("read").items;
    assert_eq!(rows().await.len(), 1);
    host.shutdown(WAIT).await;
    assert_eq!(rows().await.len(), 0);
}

#[tokio::test]
async fn a_host_that_cannot_renew_drops_its_handlers_and_begins_none_until_it_can() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::shared().await;
    let _host = coordinator.host(worker(&record), short()).await;
    let waits = Command { payload: told(Told::Wait), ..command(1, Phase::Execute) };
    coordinator.send([waits]).await;
    started.recv().await.expect("it has begun");
    coordinator.store.forgets_hosts.store(true, Ordering::SeqCst);
    let reply = coordinator.reply().await;
    let Err(NotDone::Unknown(reason)) = reply.answer else { panic!("{reply:?}") };
    assert!(reason.to_string().contains("lease"), "{reason}");
    coordinator.send([command(2, Phase::Execute)]).await;
    let faults = async || _host.stats().faults;
    let begun = Instant::now();
    while faults().await == 0 {
        assert!(begun.elapsed() < WAIT, "its claim is not refused");
        tokio::task::yield_now().await;
    }
    assert_eq!(record.calls().len(), 1, "nothing new has begun");
    coordinator.store.forgets_hosts.store(false, Ordering::SeqCst);
    assert!(coordinator.reply().await.answer.is_ok(), "the second, once there is a lease again");
}
