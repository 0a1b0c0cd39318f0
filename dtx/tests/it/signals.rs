//! Signals, approvals, delays and verification.

use std::time::Duration;

use dtx::{
    coordinator::{CoordinatorSettings, SignalError},
    engine::Signal,
    ids::TxId,
    modifier::VerifyWhen,
    pattern::Phase,
    prelude::*,
    store::{RecordKind, Status},
    transaction::TransactionBuilder,
};
use tokio::time::Instant;

use crate::kit::*;

/// Longer than `park_after`, so that the wait is in the store, and shorter, so that it is in
/// memory.
const WAITS: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(3)];

fn waiting(pattern: Pattern, wait: Duration) -> TransactionBuilder {
    steps(pattern, &["a", "b"]).approval(wait)
}

const GATED: [Pattern; 3] =
    [Pattern::TwoPhaseSaga, Pattern::ThreePhaseSaga, Pattern::TwoPhaseCommit];

/// Until the gate is reached: every participant did what comes before it.
async fn at_the_gate(node: &Node, tx: TxId) {
    let wanted = |phases: &[Phase]| {
        let of = |phase| phases.iter().filter(|of| **of == phase).count();
        of(Phase::Prepare) == 2 || of(Phase::Validate) == 2
    };
    eventually("the gate is reached", async || wanted(&node.script.phases(tx))).await;
    pass(Duration::from_millis(50)).await;
}

async fn status(node: &Node, tx: TxId) -> Status {
    node.dtx.get(tx).await.unwrap().unwrap().summary.status
}

#[tokio::test(start_paused = true)]
async fn an_approval_opens_the_gate_wherever_it_is_given() {
    for pattern in GATED {
        for wait in WAITS {
            for by_owner in [true, false] {
                let world = World::new();
                let node = world.node(quick(), &["a", "b"]).await;
                let other = world.node(quick(), &[]).await;
                assert_eq!(other.dtx.info().shards_owned, 0);
                let mut handle = node.submit(waiting(pattern, wait).build().unwrap()).await;
                at_the_gate(&node, handle.tx()).await;
                let is_parked = status(&node, handle.tx()).await == Status::Parked;
                assert_eq!(is_parked, wait == WAITS[0]);
                let by = if by_owner { &node } else { &other };
                let signaller = by.dtx.attach(handle.tx()).await;
                within(signaller.approve("ann", "fine")).await.unwrap();
                let outcome = within(handle.finished()).await.unwrap();
                assert_eq!(outcome, Outcome::Committed, "{pattern} {wait:?} {by_owner}");
                assert_eq!(node.script.effects(handle.tx()), [(1, 0); 2]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_and_a_cancellation_take_it_back_wherever_they_are_given() {
    for pattern in GATED {
        for wait in WAITS {
            for (by_owner, signal) in [
                (true, Signal::Reject),
                (false, Signal::Reject),
                (true, Signal::Cancel),
                (false, Signal::Cancel),
            ] {
                let world = World::new();
                let node = world.node(quick(), &["a", "b"]).await;
                let other = world.node(quick(), &[]).await;
                let mut handle = node.submit(waiting(pattern, wait).build().unwrap()).await;
                at_the_gate(&node, handle.tx()).await;
                let begun = Instant::now();
                let by = if by_owner { &node } else { &other };
                within(by.dtx.signal(handle.tx(), signal, "ann", "no")).await.unwrap();
                assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Aborted);
                assert!(begun.elapsed() < wait, "not by the time-out");
                let effects = node.script.effects(handle.tx());
                assert!(is_sound(Outcome::Aborted, &effects), "{effects:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_stays_out_takes_it_back_on_time() {
    for pattern in GATED {
        for wait in WAITS {
            let node = Node::three().await;
            let begun = Instant::now();
            let (handle, outcome) = node.run(waiting(pattern, wait).build().unwrap()).await;
            assert_eq!(outcome, Outcome::Aborted, "{pattern}");
            let took = begun.elapsed();
            assert!((wait..wait + Duration::from_secs(3)).contains(&took), "{took:?}");
            assert!(is_sound(Outcome::Aborted, &node.script.effects(handle.tx())));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_contradictory_signals_the_first_durable_one_stands() {
    let contradicts = |result: Result<(), SignalError>, first: &str| match result {
        Err(SignalError::Contradicts { stands, .. }) => assert_eq!(stands, first),
        other => panic!("{other:?}"),
    };
    // So slow that both signals are there before the gate is.
    let slow = |node: &Node| node.script.rule(|_| Say::After(Duration::from_secs(1)));
    let node = Node::three().await;
    slow(&node);
    let wait = Duration::from_secs(60);
    let one = || waiting(Pattern::TwoPhaseSaga, wait).build().unwrap();
    let mut handle = node.submit(one()).await;
    within(handle.approve("ann", "")).await.unwrap();
    within(handle.approve("ann", "again")).await.expect("the same one is no error");
    contradicts(within(handle.reject("bob", "")).await, "Approve");
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Committed);

    let mut handle = node.submit(one()).await;
    within(handle.reject("bob", "")).await.unwrap();
    let late = within(handle.approve("ann", "")).await;
    assert!(late.is_err(), "rejected or already decided: {late:?}");
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Aborted);

    // Whoever approved may still change their mind before the verdict.
    let mut handle = node.submit(one()).await;
    within(handle.approve("ann", "")).await.unwrap();
    within(handle.cancel("ann", "after all not")).await.unwrap();
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Aborted);
}

#[tokio::test(start_paused = true)]
async fn too_late_and_unknown_are_said() {
    let node = Node::three().await;
    let (handle, _) = node.run(steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap()).await;
    for result in [
        handle.cancel("ann", "").await,
        handle.approve("a", "").await,
        handle.reject("a", "").await,
    ] {
        assert!(matches!(result, Err(SignalError::TooLate(tx)) if tx == handle.tx()), "{result:?}");
    }
    let nobody = TxId::from_parts(7, [7; 10]);
    let result = node.dtx.signal(nobody, Signal::Cancel, "ann", "").await;
    assert!(matches!(result, Err(SignalError::Unknown(tx)) if tx == nobody), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_signal_is_durable_before_it_is_acknowledged() {
    let node = Node::three().await;
    let wait = Duration::from_secs(60);
    let handle = node.submit(waiting(Pattern::TwoPhaseSaga, wait).build().unwrap()).await;
    at_the_gate(&node, handle.tx()).await;
    node.store.hold(Held::Kind(RecordKind::Signal));
    let mut approving = Box::pin(handle.approve("ann", "fine"));
    let early = tokio::time::timeout(Duration::from_secs(5), &mut approving).await;
    assert!(early.is_err(), "nothing is acknowledged yet");
    assert!(!node.script.phases(handle.tx()).contains(&Phase::Execute));
    node.store.let_go();
    within(approving).await.unwrap();
    settle(&node).await;
    assert!(node.script.phases(handle.tx()).contains(&Phase::Execute));
}

#[tokio::test(start_paused = true)]
async fn at_signals_max_one_more_is_refused() {
    let mut settings = quick();
    settings.engine.signals_max = 2;
    let node = World::new().node(settings, &["a", "b"]).await;
    node.script.rule(|_| Say::After(Duration::from_secs(1)));
    let wait = Duration::from_secs(3);
    let handle = node.submit(waiting(Pattern::TwoPhaseSaga, wait).build().unwrap()).await;
    within(handle.approve("ann", "")).await.unwrap();
    within(node.dtx.signal(handle.tx(), Signal::ForceCommit, "ann", "why not")).await.unwrap();
    let more = within(node.dtx.signal(handle.tx(), Signal::Abandon, "ann", "or not")).await;
    assert!(matches!(more, Err(SignalError::Invalid(_))), "{more:?}");
    settle(&node).await;
}

#[tokio::test(start_paused = true)]
async fn a_delayed_execution_is_on_time_in_memory_and_parked() {
    for pattern in GATED {
        for wait in WAITS {
            let settings = CoordinatorSettings { in_flight_max: 1, ..quick() };
            let node = World::new().node(settings, &["a", "b", "c"]).await;
            let begun = Instant::now();
            let delayed = steps(pattern, &["a", "b"]).execute_after(wait).build().unwrap();
            let mut handle = node.submit(delayed).await;
            at_the_gate(&node, handle.tx()).await;
            // Parked is out of memory: there is room for another.
            let other = node.dtx.try_submit(steps(Pattern::Saga, &["c"]).build().unwrap()).await;
            assert_eq!(other.is_ok(), wait == WAITS[0], "{other:?}");
            assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Committed);
            let took = begun.elapsed();
            assert!((wait..wait + Duration::from_secs(3)).contains(&took), "{pattern} {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_verification_asks_when_its_condition_holds_and_a_no_goes_back() {
    for pattern in GATED {
        for (when, amount, asked) in [
            (VerifyWhen::Always, 0, true),
            (VerifyWhen::AmountOver(500), 501, true),
            (VerifyWhen::AmountOver(500), 500, false),
        ] {
            for stands in [true, false] {
                let node = Node::three().await;
                node.script.rule(move |call| match call.phase {
                    Phase::Status if call.who == "b" && !stands => Say::No,
                    _ => Say::Done,
                });
                let verified = steps(pattern, &["a", "b"]).verify(when.clone(), amount);
                let (handle, outcome) = node.run(verified.build().unwrap()).await;
                let phases = node.script.phases(handle.tx());
                assert_eq!(phases.contains(&Phase::Status), asked, "{pattern} {phases:?}");
                let goes = stands || !asked;
                let wanted = if goes { Outcome::Committed } else { Outcome::Aborted };
                assert_eq!(outcome, wanted, "{pattern}");
                assert!(is_sound(outcome, &node.script.effects(handle.tx())));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_immediate_operation_is_verified_in_any_case() {
    let node = Node::three().await;
    let draft =
        |who: &str| OperationDraft::call::<Step>(who, Ask { who: who.to_owned() }).name(who);
    let transaction = Transaction::builder(Pattern::TwoPhaseSaga)
        .operation(draft("a").consistency(Consistency::Immediate))
        .operation(draft("b"))
        .build()
        .unwrap();
    let (handle, outcome) = node.run(transaction).await;
    assert_eq!(outcome, Outcome::Committed);
    let asked: Vec<String> = node
        .script
        .runs()
        .into_iter()
        .filter(|call| call.tx == handle.tx() && call.phase == Phase::Status)
        .map(|call| call.who)
        .collect();
    assert_eq!(asked, ["a"]);
}
