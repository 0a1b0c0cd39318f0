//! What an operator can do with a transaction that does not go on by itself.

use std::time::Duration;

use dtx::{
    coordinator::SignalError,
    engine::Signal,
    ids::OperationIndex,
    pattern::Phase,
    prelude::*,
    store::{Filter, JournalEvent, Status},
    transaction::RetryPolicy,
};

use crate::kit::*;

/// `a` and `b` are executed one after the other, `c` says no, and `a` cannot be compensated.
async fn stuck(node: &Node) -> Handle {
    node.script.rule(|call| match (call.who.as_str(), call.phase) {
        ("c", Phase::Execute) => Say::No,
        ("a", Phase::Compensate) => Say::Unknown,
        _ => Say::Done,
    });
    let retry = RetryPolicy { attempts_max: 3, backoff_ms: 10, backoff_ms_max: 20 };
    let transaction = ["a", "b", "c"]
        .into_iter()
        .fold(Transaction::builder(Pattern::Saga), |builder, who| {
            let draft = OperationDraft::call::<Step>(who, Ask { who: who.to_owned() }).name(who);
            builder.operation(draft.retry(retry.clone()))
        })
        .in_sequence();
    let handle = node.submit(transaction.build().unwrap()).await;
    listed(node).await;
    handle
}

/// Until it is listed as one that needs attention.
async fn listed(node: &Node) {
    let filter = Filter { status: Some(Status::NeedsAttention), ..Filter::default() };
    eventually("it is listed", async || {
        let page = node.dtx.list(&filter).await.unwrap();
        page.items.len() == 1 && !page.items[0].summary.exceptions.is_empty()
    })
    .await;
}

async fn is_audited(node: &Node, handle: &Handle, words: &[&str]) -> bool {
    let history = node.dtx.history(handle.tx()).await.unwrap();
    history.iter().any(|entry| match &entry.event {
        JournalEvent::Signalled(text) => words.iter().all(|word| text.contains(word)),
        _ => false,
    })
}

#[tokio::test(start_paused = true)]
async fn a_compensation_past_its_budget_stops_the_chain_and_a_retry_ends_it() {
    let node = Node::three().await;
    let mut handle = stuck(&node).await;
    let tries = node.script.phases(handle.tx());
    assert_eq!(node.dtx.stats().needs_attention, 1);
    let told = tokio::time::timeout(Duration::from_secs(60), handle.outcome()).await;
    assert!(told.is_err(), "no outcome while an effect stands");
    assert_eq!(node.script.phases(handle.tx()), tries, "nothing goes on by itself");

    let silent = node.dtx.signal(handle.tx(), Signal::Retry, "op", "").await;
    assert!(matches!(silent, Err(SignalError::Invalid(_))), "a reason is wanted: {silent:?}");
    node.script.rule(|_| Say::Done);
    node.dtx.signal(handle.tx(), Signal::Retry, "op", "the service is back").await.unwrap();
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Compensated);
    assert!(is_sound(Outcome::Compensated, &node.script.effects(handle.tx())));
    assert!(is_audited(&node, &handle, &["retry", "op", "the service is back"]).await);
}

#[tokio::test(start_paused = true)]
async fn a_skip_counts_as_done_also_for_the_next_owner() {
    let world = World::new();
    let first = world.node(quick(), &[]).await;
    let second = world.node(quick(), &["a", "b", "c"]).await;
    let handle = stuck(&first).await;
    // The end is held back, so that the next owner must come to it by the records alone.
    first.store.hold(Held::Kind(dtx::store::RecordKind::Finished));
    let skip = Signal::Skip(OperationIndex(0));
    first.dtx.signal(handle.tx(), skip, "op", "paid back by hand").await.unwrap();
    eventually("the end is handed in", async || {
        let notes = first.store.notes(handle.tx());
        notes.iter().any(|note| note.kind == dtx::store::RecordKind::Finished)
    })
    .await;
    assert!(is_audited(&second, &handle, &["skip 0", "op", "paid back by hand"]).await);
    first.freeze(true);
    let tx = handle.tx();
    drop((first, handle));
    settle(&second).await;
    assert_eq!(out_of(&second).await, [Status::Finished(Outcome::Compensated)]);
    assert_eq!(world.script.effects(tx), [(1, 0), (1, 1)], "the skipped one stays as it is");
    let page = second.dtx.list(&Filter { with_exceptions: true, ..Filter::default() }).await;
    assert_eq!(page.unwrap().items.len(), 1, "the exception stays until it is cleared");
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_one_ends_and_its_exceptions_stay_until_they_are_cleared() {
    let node = Node::three().await;
    let mut handle = stuck(&node).await;
    let tries = node.script.phases(handle.tx()).len();
    node.dtx.signal(handle.tx(), Signal::Abandon, "op", "the shop is gone").await.unwrap();
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Abandoned);
    settle(&node).await;
    assert_eq!(node.script.phases(handle.tx()).len(), tries);
    assert!(is_audited(&node, &handle, &["abandon", "op", "the shop is gone"]).await);
    assert_eq!(out_of(&node).await, [Status::Finished(Outcome::Abandoned)]);

    let exceptional = Filter { with_exceptions: true, ..Filter::default() };
    assert_eq!(node.dtx.list(&exceptional).await.unwrap().items.len(), 1);
    node.dtx.signal(handle.tx(), Signal::ClearExceptions, "op", "written off").await.unwrap();
    assert_eq!(node.dtx.list(&exceptional).await.unwrap().items.len(), 0);
    assert!(is_audited(&node, &handle, &["clear-exceptions", "written off"]).await);
    assert_eq!(out_of(&node).await, [Status::Finished(Outcome::Abandoned)], "the outcome stands");
    let late = node.dtx.signal(handle.tx(), Signal::Retry, "op", "after all").await;
    assert!(matches!(late, Err(SignalError::TooLate(_))), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_no_after_the_decision_is_an_exception_and_never_goes_back() {
    for (pattern, last) in
        [(Pattern::ThreePhaseSaga, Phase::Execute), (Pattern::TwoPhaseCommit, Phase::Commit)]
    {
        let node = Node::three().await;
        node.script.rule(move |call| match call.phase {
            phase if phase == last && call.who == "b" && call.run == 1 => Say::No,
            _ => Say::Done,
        });
        let mut handle = node.submit(steps(pattern, &["a", "b", "c"]).build().unwrap()).await;
        assert_eq!(within(handle.outcome()).await.unwrap(), Outcome::Committed, "{pattern}");
        listed(&node).await;
        let phases = node.script.phases(handle.tx());
        assert!(phases.iter().all(|phase| !phase.is_backward()), "{pattern}: {phases:?}");
        node.dtx
            .signal(handle.tx(), Signal::Skip(OperationIndex(1)), "op", "done by hand")
            .await
            .unwrap();
        assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Committed, "{pattern}");
        settle(&node).await;
        let record = node.dtx.get(handle.tx()).await.unwrap().unwrap();
        assert_eq!(record.summary.exceptions.len(), 1, "it stands beside the outcome");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_up_too_often_waits_for_an_operator_each_time_anew() {
    let world = World::new();
    let hosts = world.node(quick(), &["a", "b", "c"]).await;
    within(hosts.dtx.shutdown(Duration::ZERO)).await;
    let mut settings = quick();
    settings.engine.resumes_max = 2;
    settings.engine.deadline = Duration::from_secs(3_600);
    let nobody = steps(Pattern::Saga, &["a"]).build().unwrap();
    let first = world.node(settings.clone(), &[]).await;
    let tx = first.submit(nobody).await.tx();
    let mut last = first;
    for round in 0..2 {
        for _ in 0..2 {
            within(last.dtx.shutdown(Duration::ZERO)).await;
            last = world.node(settings.clone(), &[]).await;
            pass(Duration::from_secs(1)).await;
            let record = last.dtx.get(tx).await.unwrap().unwrap();
            if record.summary.status == Status::NeedsAttention {
                break;
            }
        }
        within(last.dtx.shutdown(Duration::ZERO)).await;
        last = world.node(settings.clone(), &[]).await;
        pass(Duration::from_secs(5)).await;
        let record = last.dtx.get(tx).await.unwrap().unwrap();
        let status = record.summary.status;
        assert_eq!(status, Status::NeedsAttention, "an old retry is not made again");
        assert!(record.summary.exceptions.len() > round);
        last.dtx.signal(tx, Signal::Retry, "op", "once more").await.unwrap();
        eventually("it goes on", async || {
            last.dtx.get(tx).await.unwrap().unwrap().summary.status == Status::Open
        })
        .await;
    }
}
