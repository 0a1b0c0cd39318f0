//! Settings of the coordinator and the engine at their limit and one past it. Those that have a
//! file of their own (signals, leases, inquiries, ...) are tested there.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dtx::{
    coordinator::CoordinatorSettings,
    pattern::Phase,
    prelude::*,
    store::{JournalEvent, RecordKind, Status},
    transaction::RetryPolicy,
    transport::Body,
};
use tokio::time::Instant;

use crate::kit::*;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Timers of tokio are of a millisecond, and some of them follow each other.
fn is_about(took: Duration, wanted: Duration) -> bool {
    took >= wanted && took <= wanted + 20 * MS
}

#[tokio::test(start_paused = true)]
async fn an_answer_within_attempt_timeout_min_is_waited_for_and_one_past_it_is_asked_for_again() {
    let least = Duration::from_millis(500);
    for (takes, attempts) in [(least - 2 * MS, 1), (least + 2 * MS, 2)] {
        let mut settings = quick();
        settings.engine.attempt_timeout_min = least;
        let node = World::new().node(settings, &["a"]).await;
        node.script.rule(move |_| Say::After(takes));
        let (handle, outcome) = node.run(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
        assert_eq!(outcome, Outcome::Committed);
        assert_eq!(node.wire.sent(handle.tx()).len(), attempts, "{takes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_timeouts_double_from_the_least_to_the_largest_and_no_further() {
    let mut settings = quick();
    settings.engine.attempt_timeout_min = Duration::from_millis(300);
    settings.engine.attempt_timeout_max = Duration::from_millis(1_000);
    let node = World::new().node(settings, &[]).await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = times.clone();
    node.wire.rule(move |message| {
        if matches!(message.body, Body::Command(_)) {
            seen.lock().unwrap().push(Instant::now());
        }
        Fate::IsLost
    });
    node.submit(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
    eventually("five attempts", async || times.lock().unwrap().len() >= 5).await;
    let times = times.lock().unwrap().clone();
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).take(4).collect();
    for (pause, wanted) in pauses.iter().zip([300, 600, 1_000, 1_000]) {
        assert!(is_about(*pause, wanted * MS), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn up_to_resumes_max_it_is_taken_up_and_one_past_it_waits_for_an_operator() {
    let world = World::new();
    let mut settings = quick();
    settings.engine.resumes_max = 2;
    settings.engine.deadline = LONG;
    let mut node = world.node(settings.clone(), &[]).await;
    let tx = node.submit(steps(Pattern::Saga, &["a"]).build().unwrap()).await.tx();
    for (resume, wanted) in [(1, Status::Open), (2, Status::Open), (3, Status::NeedsAttention)] {
        within(node.dtx.shutdown(Duration::ZERO)).await;
        node = world.node(settings.clone(), &[]).await;
        pass(2 * SECOND).await;
        let record = node.dtx.get(tx).await.unwrap().unwrap();
        assert_eq!(record.summary.status, wanted, "resume {resume}");
        assert_eq!(record.summary.resumes, resume.min(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lazy_record_that_nothing_takes_along_is_written_after_lazy_flush() {
    let lazy_flush = 10 * SECOND;
    let settings = CoordinatorSettings { lazy_flush, ..quick() };
    let node = World::new().node(settings, &["a", "b"]).await;
    let one = || steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap();
    let mut handle = node.submit(one()).await;
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Committed);
    let is_written = |tx| {
        let notes = node.store.notes(tx);
        notes.iter().any(|note| note.kind == RecordKind::Finished && note.lazy)
    };
    pass(lazy_flush - 20 * MS).await;
    assert!(!is_written(handle.tx()), "not before");
    pass(40 * MS).await;
    assert!(is_written(handle.tx()), "nor later");
    // What is written for another transaction takes it along at once.
    let mut first = node.submit(one()).await;
    within(first.finished()).await.unwrap();
    let second = node.submit(one()).await;
    assert!(is_written(first.tx()) && !is_written(second.tx()));
}

#[tokio::test(start_paused = true)]
async fn what_becomes_due_in_the_store_is_found_within_scan_interval() {
    let delay = 15 * SECOND;
    for (interval, earliest) in [(SECOND, delay), (10 * SECOND, delay + SECOND)] {
        let mut settings = CoordinatorSettings { scan_interval: interval, ..quick() };
        settings.engine.deadline = LONG;
        let node = World::new().node(settings, &["a"]).await;
        let begun = Instant::now();
        let one = steps(Pattern::TwoPhaseSaga, &["a"]).execute_after(delay);
        let (_, outcome) = node.run(one.build().unwrap()).await;
        assert_eq!(outcome, Outcome::Committed);
        let took = begun.elapsed();
        assert!(took >= earliest && took <= delay + interval + 20 * MS, "{interval:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_up_to_park_after_is_waited_for_in_memory_and_one_past_it_is_parked() {
    for (delay, parks) in [(2 * SECOND, false), (2 * SECOND + 50 * MS, true)] {
        let mut settings = quick();
        settings.engine.park_after = 2 * SECOND;
        let node = World::new().node(settings, &["a"]).await;
        let one = steps(Pattern::TwoPhaseSaga, &["a"]).execute_after(delay);
        let handle = node.submit(one.build().unwrap()).await;
        pass(SECOND).await;
        let record = node.dtx.get(handle.tx()).await.unwrap().unwrap();
        assert_eq!(record.summary.status == Status::Parked, parks, "{delay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_of_its_own_a_transaction_has_that_of_the_settings() {
    for (takes, wanted) in [(1_900, Outcome::Committed), (2_100, Outcome::Compensated)] {
        let mut settings = quick();
        settings.engine.deadline = 2 * SECOND;
        settings.engine.attempt_timeout_min = 5 * SECOND;
        let node = World::new().node(settings, &["a", "b"]).await;
        node.script.rule(move |call| match call.phase {
            Phase::Execute if call.who == "b" => Say::After(takes * MS),
            _ => Say::Done,
        });
        let (_, outcome) = node.run(steps(Pattern::Saga, &["a", "b"]).build().unwrap()).await;
        assert_eq!(outcome, wanted, "{takes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_fate_is_repeated_after_write_retry() {
    let mut settings = quick();
    settings.engine.write_retry = 3 * SECOND;
    let node = World::new().node(settings, &["a"]).await;
    node.store.fail_next(RecordKind::Accepted, Fault::NotLanded);
    let begun = Instant::now();
    let handle = node.submit(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
    assert!(is_about(begun.elapsed(), 3 * SECOND), "{:?}", begun.elapsed());
    let notes = node.store.notes(handle.tx());
    assert_eq!(notes[0].id, notes[1].id, "the same write");
}

#[tokio::test(start_paused = true)]
async fn up_to_journal_entries_max_all_is_kept_and_one_past_it_is_left_out() {
    // Two operations are sent and answered, which makes four entries, before anything is written
    // after the accept; the write itself and its verdict are two more.
    let sent = async |entries| {
        let mut settings = quick();
        settings.engine.journal_entries_max = entries;
        let node = World::new().node(settings, &["a", "b"]).await;
        let one = steps(Pattern::Saga, &["a", "b"]).build().unwrap();
        let (handle, outcome) = node.run(one).await;
        assert_eq!(outcome, Outcome::Committed, "what is left out changes nothing");
        let history = node.dtx.history(handle.tx()).await.unwrap();
        let of = |entry: &&dtx::store::JournalEntry| {
            matches!(entry.event, JournalEvent::Sent { .. } | JournalEvent::Answered { .. })
        };
        let left_out = history.iter().map(|entry| match entry.event {
            JournalEvent::LeftOut(count) => count,
            _ => 0,
        });
        (history.iter().filter(of).count(), left_out.sum::<u32>())
    };
    assert_eq!(sent(6).await, (4, 0));
    // One of the later entries has no room, and says so.
    assert_eq!(sent(5).await, (4, 1));
    assert_eq!(sent(3).await, (3, 3));
}

#[tokio::test(start_paused = true)]
async fn up_to_attempts_max_a_command_is_sent_and_no_more() {
    for attempts_max in [1, 3] {
        let mut settings = quick();
        settings.engine.retry = RetryPolicy { attempts_max, backoff_ms: 10, backoff_ms_max: 10 };
        let node = World::new().node(settings, &["a"]).await;
        node.script.rule(|call| match call.phase {
            Phase::Execute => Say::Unknown,
            _ => Say::Done,
        });
        let (handle, outcome) = node.run(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
        assert_ne!(outcome, Outcome::Committed);
        let phases = node.script.phases(handle.tx());
        let runs = phases.iter().filter(|phase| **phase == Phase::Execute).count();
        assert_eq!(runs, attempts_max as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn at_backoff_durable_the_count_stays_in_memory_and_one_past_it_is_written() {
    for (backoff_durable, writes) in [(SECOND, false), (SECOND - MS, true)] {
        let mut settings = quick();
        settings.engine.backoff_durable = backoff_durable;
        settings.engine.attempt_timeout_min = 200 * MS;
        // A pause is between half of the backoff and all of it: at most two milliseconds, or a
        // whole second, which is what an attempt waits for its answer.
        settings.engine.attempt_timeout_max = SECOND;
        settings.engine.retry = RetryPolicy { attempts_max: 20, backoff_ms: 1, backoff_ms_max: 1 };
        let node = World::new().node(settings, &[]).await;
        let one = steps(Pattern::Saga, &["a"]).deadline(10 * SECOND);
        let handle = node.submit(one.build().unwrap()).await;
        pass(6 * SECOND).await;
        let notes = node.store.notes(handle.tx());
        let progress = notes.iter().any(|note| note.kind == RecordKind::Progress);
        assert_eq!(progress, writes, "{backoff_durable:?}: {notes:?}");
    }
}
