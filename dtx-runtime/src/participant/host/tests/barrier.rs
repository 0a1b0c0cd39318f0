//! What is run, repeated and refused.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use dtx_core::{
    answer::{NotDone, Refusal},
    ids::{AcceptSequence, Epoch, HolderId},
    name::ActionName,
    pattern::{Pattern, Phase},
    resource::barrier::{self, Claim, ClaimContext},
    store::{ParticipantStore, RowChange, RowExpect, RowSet},
    time::Timestamp,
    transport::Command,
};

use crate::participant::{
    HostSettings,
    host::{
        inbox::InboxScopes,
        testing::{Coordinator, Record, Told, command, is_unknown, told, worker},
    },
};

fn with(number: u64, phase: Phase, what: Told) -> Command {
    Command { payload: told(what), ..command(number, phase) }
}

fn refused(refusal: Refusal) -> Result<dtx_core::answer::Done, NotDone> {
    Err(NotDone::Refused(refusal))
}

#[tokio::test]
async fn duplicates_run_once_and_repeat_the_stored_answer() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let _host = coordinator.host(worker(&record), HostSettings::default()).await;
    let first = command(1, Phase::Execute);
    let again = Command { attempt: 2, epoch: Epoch(4), ..first.clone() };
    let answer = coordinator.ask(first.clone()).await.expect("done");
    let key = format!("\"{}/0/execute\"", first.tx);
    assert_eq!(answer.output, key.as_bytes());
    coordinator.send([again]).await;
    let reply = coordinator.reply().await;
    assert_eq!((reply.attempt, reply.epoch), (2, Epoch(4)), "the reply echoes its command");
    assert_eq!(reply.answer.expect("done"), answer);
    assert_eq!(record.calls(), ["execute 1"]);
    assert!(is_unknown(&coordinator.ask(first).await), "the epoch is older than one seen");
}

#[tokio::test]
async fn a_stored_no_is_repeated() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let _host = coordinator.host(worker(&record), HostSettings::default()).await;
    for attempt in 1..=2 {
        let command = Command { attempt, ..with(1, Phase::Execute, Told::Refuse) };
        let answer = coordinator.ask(command).await;
        assert!(matches!(answer, Err(NotDone::Rejected(_))), "{answer:?}");
    }
    assert!(coordinator.ask(command(1, Phase::Compensate)).await.is_ok());
    assert_eq!(record.calls(), ["execute 1"], "what was rejected is not compensated");
}

#[tokio::test]
async fn a_compensation_before_its_action_leaves_a_tombstone() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let _host = coordinator.host(worker(&record), HostSettings::default()).await;
    let empty = coordinator.ask(command(1, Phase::Compensate)).await.expect("recorded");
    assert!(!empty.reversed, "there was nothing to reverse");
    let late = coordinator.ask(command(1, Phase::Execute)).await;
    assert_eq!(late, refused(Refusal::Undone));
    assert!(record.calls().is_empty(), "neither handler ran");
}

#[tokio::test]
async fn a_compensation_gets_the_output_and_a_late_repeat_is_refused() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let _host = coordinator.host(worker(&record), HostSettings::default()).await;
    assert!(coordinator.ask(command(1, Phase::Execute)).await.is_ok());
    for _ in 0..2 {
        let done = coordinator.ask(command(1, Phase::Compensate)).await.expect("done");
        assert!(done.reversed, "an effect was there, and the repeat says so too");
    }
    let key = format!("compensate 1 of \"{}/0/execute\"", command(1, Phase::Execute).tx);
    assert_eq!(record.calls(), ["execute 1", &key]);
    let late = coordinator.ask(command(1, Phase::Execute)).await;
    assert_eq!(late, refused(Refusal::Undone), "not the stored `Done`");
}

#[tokio::test]
async fn an_unknown_ends_its_claim() {
    for (what, calls) in [(Told::FailOnce, 2), (Told::Panic, 2)] {
        let (record, _) = Record::new();
        let mut coordinator = Coordinator::new().await;
        let _host = coordinator.host(worker(&record), HostSettings::default()).await;
        assert!(is_unknown(&coordinator.ask(with(1, Phase::Execute, what)).await));
        let repeat = coordinator.ask(with(1, Phase::Execute, what)).await;
        assert_eq!(repeat.is_ok(), what == Told::FailOnce);
        assert_eq!(record.calls().len(), calls, "a repeat runs again");
        assert!(coordinator.ask(command(1, Phase::Compensate)).await.is_ok());
        assert_eq!(record.calls().len(), calls + 1, "going back runs the real handler");
        assert!(coordinator.ask(command(2, Phase::Execute)).await.is_ok(), "the host survives");
    }
}

#[tokio::test]
async fn while_a_handler_runs_repeats_and_backward_phases_are_unknown() {
    let (record, mut started) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let _host = coordinator.host(worker(&record), HostSettings::default()).await;
    coordinator.send([with(1, Phase::Execute, Told::Wait)]).await;
    started.recv().await.expect("it began");
    assert!(is_unknown(&coordinator.ask(command(1, Phase::Execute)).await));
    assert!(is_unknown(&coordinator.ask(command(1, Phase::Compensate)).await));
    let newer = Command { epoch: Epoch(9), ..command(1, Phase::Execute) };
    assert!(is_unknown(&coordinator.ask(newer.clone()).await));
    record.gate.add_permits(1);
    assert!(coordinator.reply().await.answer.is_ok());
    assert!(is_unknown(&coordinator.ask(command(1, Phase::Execute)).await), "the epoch stays");
    assert!(coordinator.ask(newer).await.is_ok());
    assert_eq!(record.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_handler_and_nothing_is_begun_after_it() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let _host = coordinator.host(worker(&record), HostSettings::default()).await;
    let late = Command { deadline: Some(Duration::ZERO), ..command(1, Phase::Execute) };
    assert!(is_unknown(&coordinator.ask(late).await));
    assert!(record.calls().is_empty());
    assert_eq!(coordinator.store.writes.load(Ordering::SeqCst), 0, "it is not stored");
    let slow = Command {
        deadline: Some(Duration::from_millis(200)),
        ..with(1, Phase::Execute, Told::Wait)
    };
    assert!(is_unknown(&coordinator.ask(slow).await));
    assert_eq!(record.calls(), ["execute 1"]);
    record.gate.add_permits(1);
    assert!(coordinator.ask(with(1, Phase::Execute, Told::Wait)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_handler_without_a_deadline_ends_at_the_limit_of_the_host() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let settings = HostSettings { handler_ms_max: 100, ..HostSettings::default() };
    let _host = coordinator.host(worker(&record), settings).await;
    assert!(is_unknown(&coordinator.ask(with(1, Phase::Execute, Told::Wait)).await));
}

#[tokio::test]
async fn what_is_not_offered_is_unknown_and_not_stored() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let _host = coordinator.host(worker(&record), HostSettings::default()).await;
    let newer = Command { action_version: 2, ..command(1, Phase::Execute) };
    let other = ActionName::new("play").expect("a name");
    let other = Command { action: other, ..command(1, Phase::Execute) };
    for command in [newer, other] {
        assert!(is_unknown(&coordinator.ask(command).await));
    }
    assert_eq!(coordinator.store.writes.load(Ordering::SeqCst), 0);
    let garbled = Command { payload: Bytes::from_static(b"{"), ..command(2, Phase::Execute) };
    let answer = coordinator.ask(garbled).await;
    assert!(matches!(answer, Err(NotDone::Rejected(_))), "it can never be right: {answer:?}");
    assert!(record.calls().is_empty());
}

#[tokio::test]
async fn below_the_watermark_nothing_runs_without_a_row() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let _host = coordinator.host(worker(&record), HostSettings::default()).await;
    let watermark = AcceptSequence { epoch: Epoch(1), number: 5 };
    let old = Command { watermark, ..command(4, Phase::Execute) };
    assert!(is_unknown(&coordinator.ask(old).await));
    let open = Command { watermark, ..command(5, Phase::Execute) };
    assert!(coordinator.ask(open).await.is_ok());
    assert_eq!(record.calls().len(), 1);
}

#[tokio::test]
async fn status_writes_nothing_and_the_inbox_answers_it() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let _host = coordinator.host(worker(&record), HostSettings::default()).await;
    assert!(is_unknown(&coordinator.ask(command(1, Phase::Status)).await));
    assert_eq!(coordinator.store.writes.load(Ordering::SeqCst), 0);
    let done = coordinator.ask(command(1, Phase::Execute)).await;
    let writes = coordinator.store.writes.load(Ordering::SeqCst);
    assert_eq!(coordinator.ask(command(1, Phase::Status)).await, done);
    assert_eq!(coordinator.store.writes.load(Ordering::SeqCst), writes);
}

#[tokio::test]
async fn a_claim_is_taken_over_only_from_a_host_that_has_ended() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let host = coordinator.host(worker(&record), HostSettings::default()).await;
    for (number, claimant) in [(1, HolderId(77)), (2, host.host_id())] {
        claim_as(&coordinator, number, claimant).await;
    }
    assert!(coordinator.ask(command(1, Phase::Execute)).await.is_ok(), "its process is gone");
    assert!(coordinator.ask(command(2, Phase::Execute)).await.is_ok(), "no handler of it runs");
    let other = coordinator.host(worker(&record), HostSettings::default()).await;
    host.shutdown(Duration::from_secs(1)).await;
    let bystander = Coordinator::new().await;
    let alive = bystander.host(worker(&record), HostSettings::default()).await;
    claim_as(&coordinator, 3, alive.host_id()).await;
    assert!(is_unknown(&coordinator.ask(command(3, Phase::Execute)).await));
    drop((alive, other));
}

/// Stores a claim of another run of a host.
async fn claim_as(coordinator: &Coordinator, number: u64, host: HolderId) {
    let command = command(number, Phase::Execute);
    let ended = |_| false;
    let (forgotten_below, now) = (AcceptSequence::default(), Timestamp::from_micros(1));
    let context = ClaimContext { host, ended: &ended, forgotten_below, now };
    let Claim::Run { row, .. } = barrier::claim(None, &context, &command) else {
        panic!("a new command runs")
    };
    let change = RowChange {
        key: barrier::inbox_key(command.tx, command.operation),
        expect: RowExpect::Absent,
        value: Some(row.encode()),
    };
    let scope = InboxScopes::new(command.participant.clone()).of(command.shard);
    let set = RowSet { scope, changes: vec![change], unchanged: Vec::new(), not_after: None };
    let written = coordinator.store.write(&[set]).await;
    assert!(matches!(written[0], dtx_core::store::RowWriteResult::Written));
}

#[tokio::test]
async fn a_one_phase_commit_takes_back_what_it_prepared_before_it_says_no() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let _host = coordinator.host(worker(&record), HostSettings::default()).await;
    let alone = |number, what| Command {
        pattern: Pattern::TwoPhaseCommit,
        one_phase: true,
        ..with(number, Phase::Commit, what)
    };
    assert!(coordinator.ask(alone(1, Told::Do)).await.is_ok());
    assert_eq!(record.calls().len(), 2, "prepared and committed");
    let no = coordinator.ask(alone(2, Told::Refuse)).await;
    assert!(matches!(no, Err(NotDone::Rejected(_))));
    assert_eq!(record.calls().len(), 5, "prepared, refused, aborted");
}

#[tokio::test]
async fn without_an_inbox_every_duplicate_runs() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let worker = worker(&record).without_inbox();
    let _host = coordinator.host(worker, HostSettings::default()).await;
    for _ in 0..2 {
        assert!(coordinator.ask(command(1, Phase::Execute)).await.is_ok());
    }
    assert_eq!(record.calls().len(), 2);
    assert_eq!(coordinator.store.writes.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_volatile_inbox_remembers_up_to_its_limit_and_forgets_what_is_finished() {
    let (record, _) = Record::new();
    let mut coordinator = Coordinator::new().await;
    let settings = HostSettings { volatile_rows_max: 2, ..HostSettings::default() };
    let _host = coordinator.host(worker(&record).volatile_inbox(), settings).await;
    for number in [1, 2, 1, 2] {
        assert!(coordinator.ask(command(number, Phase::Execute)).await.is_ok());
    }
    assert_eq!(record.calls().len(), 2, "duplicates run once");
    assert!(is_unknown(&coordinator.ask(command(3, Phase::Execute)).await), "one past the limit");
    let watermark = AcceptSequence { epoch: Epoch(1), number: 2 };
    let fourth = Command { watermark, ..command(4, Phase::Execute) };
    assert!(coordinator.ask(fourth).await.is_ok(), "the first is finished and made room");
    assert!(is_unknown(&coordinator.ask(command(1, Phase::Execute)).await), "and is not run again");
    assert_eq!(coordinator.store.writes.load(Ordering::SeqCst), 0);
}
