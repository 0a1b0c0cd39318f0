//! The healer, what it finds, and how often it looks.

use std::time::Duration;

use dtx::{
    coordinator::CoordinatorSettings,
    engine::{HEALER, HealSettings},
    ids::TxId,
    pattern::Phase,
    prelude::*,
    store::{JournalEvent, Status},
    transaction::{Payload as Bytes, RetryPolicy},
};

use crate::kit::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn healing() -> CoordinatorSettings {
    let mut settings = quick();
    settings.healing = HealSettings {
        interval: 5 * SECOND,
        interval_max: 40 * SECOND,
        orphan_age: MINUTE,
        stuck_retry_after: 2 * MINUTE,
        ..HealSettings::default()
    };
    settings
}

/// `a` cannot be compensated while `down` says so.
async fn stuck(node: &Node) -> Handle {
    node.script.rule(|call| match (call.who.as_str(), call.phase) {
        ("b", Phase::Execute) => Say::No,
        ("a", Phase::Compensate) => Say::Unknown,
        _ => Say::Done,
    });
    let retry = RetryPolicy { attempts_max: 2, backoff_ms: 10, backoff_ms_max: 20 };
    let builder = ["a", "b"].into_iter().fold(Transaction::builder(Pattern::Saga), |all, who| {
        let draft = OperationDraft::call::<Step>(who, Ask { who: who.to_owned() }).name(who);
        all.operation(draft.retry(retry.clone()))
    });
    let handle = node.submit(builder.in_sequence().build().unwrap()).await;
    attention(node, handle.tx()).await;
    handle
}

async fn attention(node: &Node, tx: TxId) {
    eventually("it needs attention", async || {
        node.dtx.get(tx).await.unwrap().unwrap().summary.status == Status::NeedsAttention
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_stuck_is_tried_again_after_a_while_and_ends_when_the_service_is_back() {
    let node = World::new().node(healing(), &["a", "b", "c"]).await;
    let mut handle = stuck(&node).await;
    let before = node.script.runs().len();
    pass(MINUTE).await;
    assert_eq!(node.script.runs().len(), before, "not before its time");
    node.script.rule(|_| Say::Done);
    let outcome = within(handle.finished()).await.unwrap();
    assert_eq!(outcome, Outcome::Compensated);
    let history = node.dtx.history(handle.tx()).await.unwrap();
    let by_healer = |entry: &&dtx::store::JournalEntry| match &entry.event {
        JournalEvent::Signalled(text) => text.contains("retry") && text.contains(HEALER),
        _ => false,
    };
    assert_eq!(history.iter().filter(by_healer).count(), 1);
    assert_eq!(node.dtx.stats().heal_retries, 1);
}

#[tokio::test(start_paused = true)]
async fn the_healer_tries_so_often_and_no_more_and_each_time_later() {
    let node = World::new().node(healing(), &["a", "b", "c"]).await;
    let handle = stuck(&node).await;
    let mut tries = Vec::new();
    let mut known = node.dtx.stats().heal_retries;
    for minute in 1..60 {
        pass(MINUTE).await;
        let now = node.dtx.stats().heal_retries;
        if now > known {
            (known, _) = (now, tries.push(minute));
        }
    }
    assert_eq!(tries.len(), 3, "stuck_retries_max: {tries:?}");
    assert!(tries[1] - tries[0] >= 4 && tries[2] - tries[1] >= 8, "twice as long: {tries:?}");
    let report = node.dtx.heal().await.unwrap();
    assert_eq!(report.needs_operator.transactions, [handle.tx()], "now only an operator helps");
    assert_eq!(report.retried.count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_no_after_the_decision_is_left_to_the_operator() {
    let node = World::new().node(healing(), &["a", "b", "c"]).await;
    node.script.rule(|call| match call.phase {
        Phase::Commit if call.who == "b" => Say::No,
        _ => Say::Done,
    });
    let two = steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap();
    let tx = node.submit(two).await.tx();
    attention(&node, tx).await;
    pass(60 * MINUTE).await;
    assert_eq!(node.dtx.stats().heal_retries, 0);
    assert_eq!(node.dtx.heal_report().await.needs_operator.count, 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_quarantined_and_stops_nobody() {
    let world = World::new();
    let mut damaged = accept(1);
    damaged.state = Bytes::from_static(b"no state");
    let mut newer = accept(2);
    newer.definition = Some(Bytes::from_static(&[0xD7, 1, 250]));
    let good = accept(3);
    let (first, second, third) = (damaged.tx, newer.tx, good.tx);
    for write in [damaged, newer, good] {
        written(&world, write).await;
    }
    let node = world.node(healing(), &["a", "b", "c"]).await;
    let (_, outcome) = node.run(steps(Pattern::Saga, &["a", "b"]).build().unwrap()).await;
    assert_eq!(outcome, Outcome::Committed);
    eventually("the good one ends", async || {
        node.dtx.get(third).await.unwrap().unwrap().due.is_none()
    })
    .await;
    let report = node.dtx.heal().await.unwrap();
    assert_eq!(report.quarantined_count, 2);
    let mut listed: Vec<TxId> = report.quarantined.iter().map(|found| found.tx).collect();
    listed.sort_unstable();
    assert_eq!(listed, [first, second]);
    assert!(report.quarantined.iter().all(|found| !found.reason.is_empty()), "{report:?}");
    assert!(report.complete);
    let record = node.dtx.get(first).await.unwrap().unwrap();
    assert_eq!(record.state, Bytes::from_static(b"no state"), "it is left as it is");
}

#[tokio::test(start_paused = true)]
async fn one_whom_nobody_looks_after_is_taken_up() {
    let world = World::new();
    let node = world.node(healing(), &["a", "b", "c"]).await;
    // As if its owner had lost it: open, and due to nobody.
    let mut lost = accept(1);
    lost.due = Some(dtx::time::Timestamp::MAX);
    let tx = lost.tx;
    written(&world, lost).await;
    pass(MINUTE / 2).await;
    assert!(node.dtx.get(tx).await.unwrap().unwrap().due.is_some(), "it is no orphan yet");
    assert_eq!(node.dtx.heal().await.unwrap().orphans.count, 0);
    pass(2 * MINUTE).await;
    assert!(node.dtx.get(tx).await.unwrap().unwrap().due.is_none());
    assert!(node.dtx.stats().heal_passes > 0);
}

#[tokio::test(start_paused = true)]
async fn a_pass_looks_at_so_many_records_and_the_next_goes_on_from_there() {
    let world = World::with(1, 4, InMemoryTransport::new());
    let mut settings = healing();
    settings.healing.records_max = 3;
    settings.healing.listed_max = 2;
    settings.scan_records_max = 2;
    settings.healing.interval = 60 * MINUTE;
    settings.healing.interval_max = 60 * MINUTE;
    for number in 1..=7 {
        let mut damaged = accept(number);
        damaged.state = Bytes::from_static(b"no state");
        written(&world, damaged).await;
    }
    let node = world.node(settings, &[]).await;
    let mut seen = 0;
    for round in 1..=3 {
        let report = node.dtx.heal().await.unwrap();
        assert!(report.examined <= 3);
        assert!(report.quarantined.len() <= 2 && report.quarantined_count <= 3);
        seen += report.quarantined_count;
        assert_eq!(report.complete, round == 3, "{report:?}");
    }
    assert_eq!(seen, 7, "all of them, and none twice");
}
