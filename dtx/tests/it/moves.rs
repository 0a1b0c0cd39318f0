//! The moves that take a transaction forward or back by force, edits of inputs, and who may make
//! them where.

use std::time::Duration;

use dtx::{
    coordinator::SignalError,
    engine::{Signal, Verb},
    ids::{OperationIndex, TxId},
    modifier::{OnExpiry, TimeBounds},
    operator::Operator,
    pattern::Phase,
    prelude::*,
    store::{Filter, Status, Verdict},
    transaction::RetryPolicy,
};

use crate::kit::*;

const SECOND: Duration = Duration::from_secs(1);

async fn status(node: &Node, tx: TxId) -> Status {
    node.dtx.get(tx).await.unwrap().unwrap().summary.status
}

async fn needs_attention(node: &Node, tx: TxId) {
    eventually("it needs attention", async || status(node, tx).await == Status::NeedsAttention)
        .await;
}

async fn verbs(node: &Node, tx: TxId) -> Vec<&'static str> {
    node.dtx.moves(tx).await.unwrap().iter().map(|legal| legal.verb.name()).collect()
}

/// A Saga of `a`, `b` and `c` that turns, because `c` says no; `who` cannot be compensated.
async fn stuck_going_back(node: &Node, who: &'static str) -> Handle {
    node.script.rule(move |call| match (call.who.as_str(), call.phase) {
        ("c", Phase::Execute) => Say::No,
        (name, Phase::Compensate) if name == who => Say::Unknown,
        _ => Say::Done,
    });
    let retry = RetryPolicy { attempts_max: 2, backoff_ms: 10, backoff_ms_max: 20 };
    let builder =
        ["a", "b", "c"].into_iter().fold(Transaction::builder(Pattern::Saga), |all, who| {
            let draft = OperationDraft::call::<Step>(who, Ask { who: who.to_owned() }).name(who);
            all.operation(draft.retry(retry.clone()))
        });
    let handle = node.submit(builder.in_sequence().build().unwrap()).await;
    needs_attention(node, handle.tx()).await;
    handle
}

#[tokio::test(start_paused = true)]
async fn an_operator_passes_the_gate_wherever_the_move_is_made() {
    for pattern in [Pattern::TwoPhaseSaga, Pattern::ThreePhaseSaga, Pattern::TwoPhaseCommit] {
        for wait in [Duration::from_secs(300), Duration::from_secs(4)] {
            for by_owner in [true, false] {
                let world = World::new();
                let node = world.node(quick(), &["a", "b"]).await;
                let gated = steps(pattern, &["a", "b"]).approval(wait).deadline(2 * wait);
                let mut handle = node.submit(gated.build().unwrap()).await;
                let tx = handle.tx();
                pass(SECOND).await;
                assert!(verbs(&node, tx).await.contains(&"force-commit"));
                let (force, why) = (Signal::ForceCommit, "the approver is ill");
                if by_owner {
                    node.dtx.signal(tx, force, "op", why).await.unwrap();
                } else {
                    let elsewhere = Operator::on(world.memory.clone());
                    elsewhere.signal(tx, force, "op", why).await.unwrap();
                }
                let outcome = within(handle.finished()).await.unwrap();
                assert_eq!(outcome, Outcome::Committed, "{pattern} {wait:?} {by_owner}");
                assert_eq!(node.script.effects(tx), [(1, 0); 2]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_force_never_goes_against_a_verdict() {
    let node = Node::three().await;
    let handle = stuck_going_back(&node, "a").await;
    let tx = handle.tx();
    let record = node.dtx.get(tx).await.unwrap().unwrap();
    assert_eq!(record.verdict, Some(Verdict::Turned));
    assert!(!verbs(&node, tx).await.contains(&"force-commit"));
    let forced = node.dtx.signal(tx, Signal::ForceCommit, "op", "I want it").await;
    assert!(matches!(forced, Err(SignalError::TooLate(_))), "{forced:?}");

    let node = Node::three().await;
    node.script.rule(|call| match call.phase {
        Phase::Commit if call.who == "b" => Say::No,
        _ => Say::Done,
    });
    let mut handle =
        node.submit(steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap()).await;
    let tx = handle.tx();
    needs_attention(&node, tx).await;
    assert_eq!(
        verbs(&node, tx).await,
        ["retry", "skip", "force-commit", "abandon", "clear-exceptions"]
    );
    let forced = node.dtx.signal(tx, Signal::ForceAbort, "op", "I want it").await;
    assert!(matches!(forced, Err(SignalError::TooLate(_))), "{forced:?}");
    node.dtx.signal(tx, Signal::ForceCommit, "op", "done by hand").await.unwrap();
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Committed);
    settle(&node).await;
    let record = node.dtx.get(tx).await.unwrap().unwrap();
    assert_eq!(record.verdict, Some(Verdict::Commit));
    assert_eq!(record.summary.exceptions.len(), 1, "the exception stands beside the outcome");
}

#[tokio::test(start_paused = true)]
async fn a_forced_way_back_ends_the_chain_and_keeps_its_exceptions() {
    let node = Node::three().await;
    let mut handle = stuck_going_back(&node, "b").await;
    let tx = handle.tx();
    let record = node.dtx.get(tx).await.unwrap().unwrap();
    let exception = record.summary.exceptions[0].as_str();
    assert!(exception.contains("b could not compensate in 2 attempts"), "{exception}");
    assert!(exception.contains("the script does not know"), "the last failure: {exception}");
    assert!(!node.script.runs().iter().any(|c| c.who == "a" && c.phase == Phase::Compensate));
    node.dtx.signal(tx, Signal::ForceAbort, "op", "written off").await.unwrap();
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Compensated);
    assert_eq!(node.script.effects(tx), [(1, 1), (1, 0)], "the chain went on after it");
    settle(&node).await;
    assert_eq!(node.dtx.get(tx).await.unwrap().unwrap().summary.exceptions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_up_too_often_can_be_taken_back_by_force() {
    let world = World::new();
    let mut settings = quick();
    settings.engine.resumes_max = 1;
    settings.engine.deadline = Duration::from_secs(3_600);
    let hosts = world.node(settings.clone(), &["a", "b", "c"]).await;
    hosts.script.rule(|call| match call.phase {
        Phase::Execute if call.who == "b" => Say::After(LONG),
        _ => Say::Done,
    });
    let tx = hosts.submit(chain(Pattern::Saga, &["a", "b"]).build().unwrap()).await.tx();
    let mut last = hosts;
    for _ in 0..2 {
        within(last.dtx.shutdown(Duration::ZERO)).await;
        last = world.node(settings.clone(), &["a", "b", "c"]).await;
        pass(SECOND).await;
    }
    needs_attention(&last, tx).await;
    assert_eq!(
        verbs(&last, tx).await,
        ["approve", "reject", "cancel", "retry", "force-abort", "abandon", "clear-exceptions"]
    );
    last.script.rule(|_| Say::Done);
    last.dtx.signal(tx, Signal::ForceAbort, "op", "it kills the coordinators").await.unwrap();
    settle(&last).await;
    let record = last.dtx.get(tx).await.unwrap().unwrap();
    assert_eq!(record.verdict, Some(Verdict::Turned));
    // What became of `b` nobody knows, and so it is asked to take it back in any case.
    assert_eq!(last.script.effects(tx)[0], (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_edited_input_is_what_the_participant_gets_from_then_on() {
    for by_owner in [true, false] {
        let world = World::new();
        let node = world.node(quick(), &["a", "b", "c"]).await;
        let mut handle = stuck_going_back(&node, "a").await;
        let tx = handle.tx();
        let payload = serde_json::to_vec(&Ask { who: "a-by-hand".to_owned() }).unwrap();
        let edit = |operation| Signal::EditInput { operation, payload: payload.clone().into() };
        let wrong = node.dtx.signal(tx, edit(OperationIndex(1)), "op", "the wrong one").await;
        assert!(matches!(wrong, Err(SignalError::Invalid(_))), "{wrong:?}");
        let edit = edit(OperationIndex(0));
        let why = "the account was closed";
        if by_owner {
            node.dtx.signal(tx, edit, "op", why).await.unwrap();
        } else {
            Operator::on(world.memory.clone()).signal(tx, edit, "op", why).await.unwrap();
        }
        assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Compensated);
        let last = node.script.runs().pop().unwrap();
        assert_eq!((last.who.as_str(), last.phase), ("a-by-hand", Phase::Compensate));
        let history = node.dtx.history(tx).await.unwrap();
        let told = format!("{history:?}");
        assert!(told.contains("edit-input 0") && !told.contains("by-hand"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_edited_bytes_max_one_byte_more_is_refused() {
    let mut settings = quick();
    settings.engine.edited_bytes_max = 64;
    let node = World::new().node(settings, &["a", "b", "c"]).await;
    let handle = stuck_going_back(&node, "a").await;
    let edit = |bytes: usize| Signal::EditInput {
        operation: OperationIndex(0),
        payload: vec![b' '; bytes].into(),
    };
    let large = node.dtx.signal(handle.tx(), edit(65), "op", "too large").await;
    assert!(matches!(large, Err(SignalError::Invalid(_))), "{large:?}");
    node.dtx.signal(handle.tx(), edit(64), "op", "it fits").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn moves_that_were_made_without_an_owner_are_carried_out_by_the_next() {
    for signal in [Signal::Skip(OperationIndex(0)), Signal::ForceAbort] {
        let world = World::new();
        let first = world.node(quick(), &["a", "b", "c"]).await;
        let tx = stuck_going_back(&first, "a").await.tx();
        within(first.dtx.shutdown(Duration::ZERO)).await;
        let operator = Operator::on(world.memory.clone());
        operator.signal(tx, signal.clone(), "op", "paid back by hand").await.unwrap();
        let before = world.script.runs().len();
        let second = world.node(quick(), &["a", "b", "c"]).await;
        settle(&second).await;
        assert_eq!(out_of(&second).await, [Status::Finished(Outcome::Compensated)]);
        let asked = world.script.runs()[before..].iter().filter(|call| call.who == "a").count();
        assert_eq!(asked, 0, "{signal}: it counts as done and is not asked again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_promise_cannot_be_counted_as_given_in_place_of_its_participant() {
    let node = Node::three().await;
    node.script.rule(|call| match call.phase {
        Phase::Prepare if call.who == "b" => Say::After(LONG),
        _ => Say::Done,
    });
    let bounds = TimeBounds {
        base: [(Phase::Prepare, SECOND)].into(),
        on_expiry: Some(OnExpiry::Attention),
        ..TimeBounds::default()
    };
    let transaction = steps(Pattern::TwoPhaseCommit, &["a", "b"]).time_bounds(bounds);
    let tx = node.submit(transaction.build().unwrap()).await.tx();
    needs_attention(&node, tx).await;
    let offered = verbs(&node, tx).await;
    assert!(offered.contains(&"force-abort") && offered.contains(&"retry"), "{offered:?}");
    assert!(!offered.contains(&"skip") && !offered.contains(&"force-commit"), "{offered:?}");
    let skip = Signal::Skip(OperationIndex(1));
    let skipped = node.dtx.signal(tx, skip, "op", "it is prepared, I know").await;
    assert!(matches!(skipped, Err(SignalError::Invalid(_))), "{skipped:?}");
    node.dtx.signal(tx, Signal::ForceAbort, "op", "let it go").await.unwrap();
    eventually("it is aborted", async || {
        node.dtx.get(tx).await.unwrap().unwrap().verdict == Some(Verdict::Abort)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_offered_is_refused_and_what_is_offered_is_taken() {
    let node = Node::three().await;
    let tx = stuck_going_back(&node, "a").await.tx();
    let offered = node.dtx.moves(tx).await.unwrap();
    assert!(offered.iter().all(|legal| !legal.effect.is_empty()));
    for verb in Verb::ALL {
        let operation = OperationIndex(0);
        let signal = match verb {
            Verb::Approve => Signal::Approve,
            Verb::Reject => Signal::Reject,
            Verb::Cancel => Signal::Cancel,
            Verb::Retry => Signal::Retry,
            Verb::Skip => Signal::Skip(operation),
            Verb::EditInput => Signal::EditInput { operation, payload: Default::default() },
            Verb::ForceCommit => Signal::ForceCommit,
            Verb::ForceAbort => Signal::ForceAbort,
            Verb::Abandon => Signal::Abandon,
            Verb::ClearExceptions => Signal::ClearExceptions,
        };
        let is_offered = offered.iter().any(|legal| legal.verb == verb);
        // A world of its own, so that the moves do not meet.
        let node = Node::three().await;
        let tx = stuck_going_back(&node, "a").await.tx();
        let taken = node.dtx.signal(tx, signal, "op", "a reason").await;
        assert_eq!(taken.is_ok(), is_offered, "{verb}: {taken:?}");
        assert_eq!(verb.name().parse(), Ok(verb));
    }
    let page = node.dtx.list(&Filter::default()).await.unwrap();
    assert_eq!(page.items.len(), 1);
}
