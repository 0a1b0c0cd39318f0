//! Time bounds, their strategies, and the levels of consistency.

use std::{sync::Arc, time::Duration};

use dtx::{
    coordinator::SignalError,
    engine::Signal,
    ids::TxId,
    modifier::{Expiration, ExpiryStrategy, OnExpiry, PhaseFacts, TimeBounds},
    name::ActionName,
    pattern::Phase,
    prelude::*,
    store::Status,
    transaction::RetryPolicy,
};
use tokio::time::Instant;

use crate::kit::*;

const SECOND: Duration = Duration::from_secs(1);

fn first_phase(pattern: Pattern) -> Phase {
    match pattern {
        Pattern::ThreePhaseSaga => Phase::Reserve,
        Pattern::Saga | Pattern::CriticalEventual => Phase::Execute,
        _ => Phase::Prepare,
    }
}

/// One second for the first phase, and what happens then.
fn bounded(pattern: Pattern, on_expiry: OnExpiry) -> Transaction {
    let bounds = TimeBounds {
        base: [(first_phase(pattern), SECOND)].into(),
        on_expiry: Some(on_expiry),
        ..TimeBounds::default()
    };
    steps(pattern, &["a", "b"]).time_bounds(bounds).build().unwrap()
}

/// The first phase of `b` takes for ever in its first runs.
fn stall(node: &Node, pattern: Pattern, runs: usize) {
    node.script.rule(move |call| {
        let stalls = call.phase == first_phase(pattern) && call.who == "b" && call.run <= runs;
        if stalls { Say::After(LONG) } else { Say::Done }
    });
}

async fn needs_attention(node: &Node, tx: TxId) {
    eventually("it waits for an operator", async || {
        let record = node.dtx.get(tx).await.unwrap().unwrap();
        record.summary.status == Status::NeedsAttention
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn abort_cancel_and_release_go_back_when_the_time_is_over() {
    for (pattern, on_expiry) in [
        (Pattern::TwoPhaseCommit, OnExpiry::Abort),
        (Pattern::TwoPhaseSaga, OnExpiry::Cancel),
        (Pattern::ThreePhaseSaga, OnExpiry::Release),
    ] {
        let node = Node::three().await;
        stall(&node, pattern, usize::MAX);
        let begun = Instant::now();
        let mut handle = node.submit(bounded(pattern, on_expiry)).await;
        assert_eq!(within(handle.outcome()).await.unwrap(), Outcome::Aborted, "{pattern}");
        let took = begun.elapsed();
        assert!((SECOND..3 * SECOND).contains(&took), "{pattern}: {took:?}");
        settle(&node).await;
        assert!(is_sound(Outcome::Aborted, &node.script.effects(handle.tx())));
    }
}

#[tokio::test(start_paused = true)]
async fn ask_and_retry_send_again_and_give_up_after_the_extensions() {
    for on_expiry in [OnExpiry::Ask, OnExpiry::Retry] {
        for (stalled, wanted) in [(2, Outcome::Committed), (usize::MAX, Outcome::Aborted)] {
            let node = Node::three().await;
            stall(&node, Pattern::TwoPhaseSaga, stalled);
            let begun = Instant::now();
            let mut handle = node.submit(bounded(Pattern::TwoPhaseSaga, on_expiry)).await;
            assert_eq!(within(handle.outcome()).await.unwrap(), wanted, "{on_expiry:?}");
            // The time, and three extensions of it.
            let took = begun.elapsed();
            assert!(took > SECOND && took < 6 * SECOND, "{on_expiry:?}: {took:?}");
            settle(&node).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn attention_waits_for_an_operator_who_tries_again() {
    let node = Node::three().await;
    stall(&node, Pattern::TwoPhaseSaga, 1);
    let mut handle = node.submit(bounded(Pattern::TwoPhaseSaga, OnExpiry::Attention)).await;
    needs_attention(&node, handle.tx()).await;
    within(node.dtx.signal(handle.tx(), Signal::Retry, "op", "it is back")).await.unwrap();
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Committed);
}

#[tokio::test(start_paused = true)]
async fn what_was_stuck_on_the_way_forward_is_not_sent_after_the_turn() {
    let node = Node::three().await;
    node.script.rule(|call| match call.phase {
        Phase::Prepare if call.who == "b" && call.run == 1 => Say::After(LONG),
        Phase::Cancel => Say::After(Duration::from_secs(5)),
        _ => Say::Done,
    });
    let mut handle = node.submit(bounded(Pattern::TwoPhaseSaga, OnExpiry::Attention)).await;
    needs_attention(&node, handle.tx()).await;
    // Nobody comes; the deadline takes it back, and only then somebody comes.
    let tx = handle.tx();
    eventually("it goes back", async || node.script.phases(tx).contains(&Phase::Cancel)).await;
    let late = within(node.dtx.signal(tx, Signal::Retry, "op", "late")).await;
    assert!(matches!(late, Err(SignalError::Invalid(_))), "{late:?}");
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Aborted);
    let sent: Vec<Phase> = node.wire.sent(handle.tx()).iter().map(|sent| sent.phase).collect();
    let turn = sent.iter().position(|phase| phase.is_backward()).unwrap();
    assert!(sent[turn..].iter().all(|phase| phase.is_backward()), "{sent:?}");
}

/// Half a second whatever the base, and an operator.
#[derive(Debug)]
struct Mine;

impl Expiration for Mine {
    fn time_to_live(&self, _: &PhaseFacts) -> Duration {
        SECOND / 2
    }
    fn on_expiry(&self, _: &PhaseFacts) -> OnExpiry {
        OnExpiry::Attention
    }
}

#[tokio::test(start_paused = true)]
async fn a_strategy_of_the_users_own_decides() {
    let name = ActionName::new("mine").unwrap();
    let mut settings = quick();
    settings.engine.strategies.insert(name.clone(), Arc::new(Mine));
    let node = World::new().node(settings, &["a", "b"]).await;
    stall(&node, Pattern::TwoPhaseSaga, 1);
    let custom = || {
        let strategy = ExpiryStrategy::Custom(name.clone());
        let bounds = TimeBounds { strategy, ..TimeBounds::default() };
        steps(Pattern::TwoPhaseSaga, &["a", "b"]).time_bounds(bounds).build().unwrap()
    };
    let begun = Instant::now();
    let handle = node.submit(custom()).await;
    needs_attention(&node, handle.tx()).await;
    assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
    let unknown = Node::three().await.dtx.submit(custom()).await.unwrap_err();
    assert!(unknown.to_string().contains("mine"), "{unknown}");
}

#[tokio::test(start_paused = true)]
async fn a_passed_deadline_takes_back_what_is_undecided() {
    for pattern in
        [Pattern::Saga, Pattern::CriticalEventual, Pattern::TwoPhaseSaga, Pattern::ThreePhaseSaga]
    {
        let node = Node::three().await;
        stall(&node, pattern, usize::MAX);
        let one = steps(pattern, &["a", "b"]).deadline(2 * SECOND).build().unwrap();
        let begun = Instant::now();
        let (handle, outcome) = node.run(one).await;
        assert!(matches!(outcome, Outcome::Aborted | Outcome::Compensated), "{pattern}");
        assert!(begun.elapsed() < 10 * SECOND, "{pattern} {:?}", begun.elapsed());
        let effects = node.script.effects(handle.tx());
        assert!(effects.iter().all(|(done, undone)| undone >= done), "{pattern} {effects:?}");
    }
}

fn leveled(levels: &[(&str, Consistency)]) -> Transaction {
    let retry = RetryPolicy { attempts_max: 6, backoff_ms: 200, backoff_ms_max: 400 };
    let operation = |builder: dtx::transaction::TransactionBuilder, of: &(&str, Consistency)| {
        let ask = Ask { who: of.0.to_owned() };
        let draft = OperationDraft::call::<Step>(of.0, ask).name(of.0);
        let draft = draft.consistency(of.1);
        let is_retried = of.1 != Consistency::BestEffort;
        builder.operation(if is_retried { draft.retry(retry.clone()) } else { draft })
    };
    levels.iter().fold(Transaction::builder(Pattern::CriticalEventual), operation).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_eventual_operation_is_retried_after_the_outcome_was_told() {
    let node = Node::three().await;
    node.script.rule(|call| match call.phase {
        Phase::Deliver if call.run <= 3 => Say::Unknown,
        _ => Say::Done,
    });
    let transaction = leveled(&[("a", Consistency::Strong), ("b", Consistency::Eventual)]);
    let mut handle = node.submit(transaction).await;
    assert_eq!(within(handle.outcome()).await.unwrap(), Outcome::Committed);
    assert_eq!(node.script.effects(handle.tx()), [(1, 0)], "told before the delivery");
    within(handle.finished()).await.unwrap();
    assert_eq!(node.script.effects(handle.tx()), [(1, 0), (1, 0)]);
    assert_eq!(node.dtx.stats().dead_letters, 0);
}

#[tokio::test(start_paused = true)]
async fn an_eventual_operation_past_its_budget_is_a_dead_letter() {
    let node = Node::three().await;
    node.script.rule(|call| match call.phase {
        Phase::Deliver => Say::Unknown,
        _ => Say::Done,
    });
    let transaction = leveled(&[("a", Consistency::Strong), ("b", Consistency::Eventual)]);
    let (handle, outcome) = node.run(transaction).await;
    settle(&node).await;
    assert_eq!(outcome, Outcome::Committed);
    let runs = node.script.phases(handle.tx());
    assert_eq!(runs.iter().filter(|phase| **phase == Phase::Deliver).count(), 6);
    assert_eq!(node.dtx.stats().dead_letters, 1);
    let record = node.dtx.get(handle.tx()).await.unwrap().unwrap();
    assert_eq!(record.summary.dead_letters, 1);
}

#[tokio::test(start_paused = true)]
async fn an_eventual_operation_survives_its_coordinator() {
    let world = World::new();
    let first = world.node(quick(), &[]).await;
    let second = world.node(quick(), &["a", "b"]).await;
    world.script.rule(|call| match call.phase {
        Phase::Deliver if call.run == 1 => Say::Unknown,
        _ => Say::Done,
    });
    let transaction = leveled(&[("a", Consistency::Strong), ("b", Consistency::Eventual)]);
    let mut handle = first.submit(transaction).await;
    assert_eq!(within(handle.outcome()).await.unwrap(), Outcome::Committed);
    first.freeze(true);
    settle(&second).await;
    assert_eq!(world.script.effects(handle.tx()), [(1, 0), (1, 0)]);
}

#[tokio::test(start_paused = true)]
async fn best_effort_is_tried_once_and_a_loss_is_counted() {
    let node = Node::three().await;
    node.script.rule(|call| match call.phase {
        Phase::Deliver => Say::Unknown,
        _ => Say::Done,
    });
    let transaction = leveled(&[("a", Consistency::Strong), ("b", Consistency::BestEffort)]);
    let (handle, outcome) = node.run(transaction).await;
    assert_eq!(outcome, Outcome::Committed);
    let runs = node.script.phases(handle.tx());
    assert_eq!(runs.iter().filter(|phase| **phase == Phase::Deliver).count(), 1);
    assert_eq!(node.dtx.stats().dead_letters, 1);
}
