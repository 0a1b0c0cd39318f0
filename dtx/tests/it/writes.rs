//! What is written and sent, how often, in which order, and how many at once.

use std::{collections::BTreeSet, time::Duration};

use dtx::{
    coordinator::CoordinatorSettings, pattern::Phase, prelude::*, store::RecordKind,
    transaction::TransactionBuilder,
};

use crate::kit::*;

/// Thirty participants, of which tests use the first ones.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("p{number}")).collect()
}

fn parallel(pattern: Pattern, names: &[String]) -> TransactionBuilder {
    steps(pattern, &names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Awaited and lazy records on the way forward, and on the way back (design section 5).
fn budget(pattern: Pattern) -> ((usize, usize), Option<(usize, usize)>) {
    match pattern {
        Pattern::FireAndForget => ((1, 1), None),
        Pattern::Saga | Pattern::TwoPhaseSaga => ((2, 0), Some((3, 0))),
        Pattern::CriticalEventual => ((2, 1), Some((3, 0))),
        Pattern::ThreePhaseSaga | Pattern::TwoPhaseCommit => ((2, 1), Some((2, 1))),
    }
}

async fn counted(node: &Node, transaction: Transaction) -> (Outcome, (usize, usize)) {
    let (handle, outcome) = node.run(transaction).await;
    settle(node).await;
    let notes = node.store.notes(handle.tx());
    let lazy = notes.iter().filter(|note| note.lazy).count();
    (outcome, (notes.len() - lazy, lazy))
}

#[tokio::test(start_paused = true)]
async fn the_write_budget_holds_whatever_the_number_of_participants() {
    let all = names(30);
    let hosts: Vec<&str> = all.iter().map(String::as_str).collect();
    let node = World::new().node(quick(), &hosts).await;
    for pattern in Pattern::ALL {
        let (forward, backward) = budget(pattern);
        for count in [1, 3, 30] {
            node.script.rule(|_| Say::Done);
            let (outcome, found) =
                counted(&node, parallel(pattern, &all[..count]).build().unwrap()).await;
            assert!(matches!(outcome, Outcome::Committed | Outcome::Dispatched));
            assert_eq!(found, forward, "{pattern} forward with {count}");
            let Some(backward) = backward else { continue };
            let last = all[count - 1].clone();
            node.script.rule(move |call| match call.phase {
                Phase::Execute | Phase::Prepare | Phase::Reserve | Phase::Commit
                    if call.who == last =>
                {
                    Say::No
                }
                _ => Say::Done,
            });
            let (outcome, found) =
                counted(&node, parallel(pattern, &all[..count]).build().unwrap()).await;
            assert!(matches!(outcome, Outcome::Aborted | Outcome::Compensated), "{pattern}");
            assert_eq!(found, backward, "{pattern} back with {count}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pivot_and_a_verification_cost_one_record_each() {
    let node = Node::three().await;
    let step = |who: &str, step| {
        let ask = Ask { who: who.to_owned() };
        OperationDraft::call::<Step>(who, ask).name(who).step(step)
    };
    let pivot = Transaction::builder(Pattern::Saga)
        .operation(step("a", StepKind::Compensatable))
        .operation(step("b", StepKind::Pivot))
        .operation(step("c", StepKind::Retriable))
        .in_sequence();
    assert_eq!(counted(&node, pivot.build().unwrap()).await, (Outcome::Committed, (3, 0)));
    for (pattern, lazy) in
        [(Pattern::TwoPhaseSaga, 0), (Pattern::ThreePhaseSaga, 1), (Pattern::TwoPhaseCommit, 1)]
    {
        let verified = steps(pattern, &["a", "b", "c"])
            .verify(dtx::modifier::VerifyWhen::Always, 0)
            .build()
            .unwrap();
        assert_eq!(counted(&node, verified).await, (Outcome::Committed, (3, lazy)), "{pattern}");
    }
}

#[tokio::test(start_paused = true)]
async fn three_participants_cost_two_messages_for_each_phase() {
    for (pattern, messages) in Pattern::ALL.into_iter().zip([6, 6, 6, 12, 18, 12]) {
        let node = Node::three().await;
        node.run(steps(pattern, &["a", "b", "c"]).build().unwrap()).await;
        settle(&node).await;
        let (commands, replies) = node.wire.counts();
        assert_eq!((commands + replies, commands), (messages, replies * 2 - replies), "{pattern}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_commit_is_in_flight_and_holds_what_came_meanwhile() {
    for lanes in [1, 4] {
        let world = World::with(lanes, 16, InMemoryTransport::new());
        let node = world.node(quick(), &["a", "b"]).await;
        node.store.slow_down(Duration::from_millis(20));
        let one = || steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap();
        let submits: Vec<_> = (0..400)
            .map(|_| {
                let (dtx, transaction) = (node.dtx.clone(), one());
                tokio::spawn(async move { dtx.submit(transaction).await.unwrap().finished().await })
            })
            .collect();
        for submit in submits {
            assert_eq!(within(submit).await.unwrap().unwrap(), Outcome::Committed);
        }
        settle(&node).await;
        assert_eq!(node.store.most_side_by_side(), lanes);
        let batches = node.store.batches();
        let largest = batches.iter().map(Vec::len).max().unwrap();
        assert!(largest >= 400 / lanes / 4, "{lanes} lanes: the largest had {largest}");
        assert!(batches.len() <= 12 * lanes, "{} commits in {lanes} lanes", batches.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_and_a_publish_hold_no_more_than_their_bounds() {
    let settings = CoordinatorSettings { batch_writes_max: 7, batch_commands_max: 5, ..quick() };
    let node = World::new().node(settings, &["a"]).await;
    node.store.hold(Held::All);
    let submits: Vec<_> = (0..30)
        .map(|_| {
            let dtx = node.dtx.clone();
            let one = steps(Pattern::Saga, &["a"]).build().unwrap();
            tokio::spawn(async move { dtx.submit(one).await.unwrap().finished().await })
        })
        .collect();
    // All of them wait behind the first commit.
    eventually("the first commit is there", async || !node.store.batches().is_empty()).await;
    node.store.let_go();
    for submit in submits {
        within(submit).await.unwrap().unwrap();
    }
    let largest = node.store.batches().iter().map(Vec::len).max();
    assert_eq!(largest, Some(7), "a full commit, and none beyond the bound");
    assert_eq!(node.wire.largest_batch(), 5);
}

#[tokio::test(start_paused = true)]
async fn lazy_records_do_not_starve_behind_awaited_ones() {
    let settings = CoordinatorSettings { batch_writes_max: 2, ..quick() };
    let node = World::new().node(settings, &["a", "b"]).await;
    node.store.slow_down(Duration::from_millis(10));
    // More awaited records than a commit holds, all the time.
    let work = tokio::spawn({
        let dtx = node.dtx.clone();
        async move {
            loop {
                let one = steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap();
                let dtx = dtx.clone();
                tokio::spawn(async move { dtx.submit(one).await });
                pass(Duration::from_millis(5)).await;
            }
        }
    });
    let ends = || node.store.batches().into_iter().flatten().filter(|note| note.lazy).count();
    // Until there is always more than a commit holds.
    pass(Duration::from_secs(5)).await;
    let before = ends();
    pass(Duration::from_secs(5)).await;
    let meanwhile = ends() - before;
    assert!(meanwhile >= 50, "{meanwhile} in five seconds");
    work.abort();
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_before_the_record_that_it_depends_on() {
    for pattern in Pattern::ALL {
        let node = Node::three().await;
        node.store.hold(Held::All);
        let one = steps(pattern, &["a", "b", "c"]).build().unwrap();
        let submit = tokio::spawn({
            let dtx = node.dtx.clone();
            async move { dtx.submit(one).await.unwrap().finished().await }
        });
        eventually("the accept is handed in", async || !node.store.batches().is_empty()).await;
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(node.wire.counts(), (0, 0), "{pattern}: before the accept is durable");
        node.store.let_go();
        within(submit).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_phase_waits_for_the_verdict_where_the_pattern_says_so() {
    for (pattern, last) in
        [(Pattern::ThreePhaseSaga, Phase::Execute), (Pattern::TwoPhaseCommit, Phase::Commit)]
    {
        let node = Node::three().await;
        let handle = held_at_the_verdict(&node, pattern).await;
        let sent: BTreeSet<Phase> = node.wire.sent(handle.tx()).iter().map(|s| s.phase).collect();
        assert!(!sent.contains(&last), "{pattern}: {sent:?}");
        finish(&node, handle, Outcome::Committed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_back_before_the_verdict_is_durable() {
    for pattern in Pattern::ALL.into_iter().skip(1) {
        let node = Node::three().await;
        node.script.rule(|call| match call.phase {
            Phase::Execute | Phase::Prepare | Phase::Reserve if call.who == "b" => Say::No,
            _ => Say::Done,
        });
        let handle = held_at_the_verdict(&node, pattern).await;
        let sent = node.wire.sent(handle.tx());
        assert!(sent.iter().all(|sent| !sent.phase.is_backward()), "{pattern}: {sent:?}");
        node.store.let_go();
        settle(&node).await;
        let went_back = node.wire.sent(handle.tx()).iter().any(|sent| sent.phase.is_backward());
        assert!(went_back, "{pattern}");
    }
}

/// Submits, and holds the store when the verdict is handed in.
async fn held_at_the_verdict(node: &Node, pattern: Pattern) -> Handle {
    node.store.hold(Held::Kind(RecordKind::Verdict));
    let handle = node.submit(steps(pattern, &["a", "b", "c"]).build().unwrap()).await;
    let tx = handle.tx();
    eventually("the verdict is handed in", async || {
        node.store.notes(tx).iter().any(|note| note.kind == RecordKind::Verdict)
    })
    .await;
    tokio::time::advance(Duration::from_secs(2)).await;
    handle
}

async fn finish(node: &Node, mut handle: Handle, wanted: Outcome) {
    node.store.let_go();
    assert_eq!(within(handle.finished()).await.unwrap(), wanted);
}
