//! Every public future is dropped after every number of polls: nothing is half-done.
// The futures are handed over before they are polled.
#![allow(clippy::async_yields_async)]

use std::{future::Future, time::Duration};

use dtx::{
    engine::Signal,
    pattern::Phase,
    prelude::*,
    store::{Filter, Status},
};
use dtx_testkit::cancel::{at_every_poll, drop_after_polls};

use crate::kit::*;

/// More polls than any of the futures needs.
const POLLS_MAX: usize = 200;

fn shop() -> World {
    let world = World::with(2, 8, InMemoryTransport::new());
    world.script.rule(|call| match call.phase {
        Phase::Execute | Phase::Commit | Phase::Deliver => Say::After(Duration::from_millis(20)),
        _ => Say::Done,
    });
    world
}

fn order(pattern: Pattern) -> Transaction {
    chain(pattern, &["a", "b"]).key("order").build().unwrap()
}

/// Everything that was accepted ends soundly, the coordinator still works and stops in order, and
/// all shards are free at once.
async fn is_whole(world: &World, node: &Node) {
    settle(node).await;
    let (_, outcome) = node.run(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
    assert_eq!(outcome, Outcome::Committed, "it still works");
    let report = within(node.dtx.shutdown(LONG)).await;
    assert_eq!((report.drained, report.handed_over), (true, 0));
    is_sound_and_free(world).await;
}

async fn is_sound_and_free(world: &World) {
    let next = world.node(quick(), &["a", "b"]).await;
    assert_eq!(next.dtx.info().shards_owned, 8, "the shards are free at once");
    settle(&next).await;
    for record in next.dtx.list(&Filter::default()).await.unwrap().items {
        let Status::Finished(outcome) = record.summary.status else {
            panic!("{} is {:?}", record.tx, record.summary.status)
        };
        let effects = world.script.effects(record.tx);
        assert!(is_sound(outcome, &effects), "{outcome} {effects:?}");
    }
    within(next.dtx.shutdown(LONG)).await;
}

/// Drops what `act` makes of a fresh node after every number of polls.
async fn dropped_everywhere<F: Future>(act: impl AsyncFn(Node) -> F) -> usize {
    at_every_poll(POLLS_MAX, |polls| {
        let act = &act;
        async move {
            let world = shop();
            let node = world.node(quick(), &["a", "b"]).await;
            let future = act(node.clone()).await;
            let is_ready = within(drop_after_polls(future, polls)).await.is_some();
            is_whole(&world, &node).await;
            is_ready
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn submit() {
    for pattern in Pattern::ALL {
        let polls = dropped_everywhere(async |node| async move {
            let handle = node.dtx.submit(order(pattern)).await.unwrap();
            // The key makes it the same transaction, whatever became of an earlier submit.
            drop(handle);
            node.dtx.submit(order(pattern)).await.unwrap().finished().await.unwrap()
        })
        .await;
        assert!(polls >= 3, "{pattern}: {polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn try_submit() {
    dropped_everywhere(async |node| async move {
        node.dtx.try_submit(order(Pattern::TwoPhaseSaga)).await.map(drop).unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_submit_that_waits_for_room() {
    let polls = at_every_poll(POLLS_MAX, |polls| async move {
        let world = shop();
        let mut settings = quick();
        settings.in_flight_max = 1;
        let node = world.node(settings, &["a", "b"]).await;
        let _first = node.submit(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
        let submit = node.dtx.submit(order(Pattern::Saga));
        let is_ready = within(drop_after_polls(submit, polls)).await.is_some();
        // The room that it waited for is not lost.
        is_whole(&world, &node).await;
        is_ready
    })
    .await;
    assert!(polls >= 2, "{polls}");
}

#[tokio::test(start_paused = true)]
async fn outcome_finished_and_events() {
    for pattern in Pattern::ALL {
        dropped_everywhere(async |node| {
            let mut handle = node.submit(order(pattern)).await;
            async move {
                handle.outcome().await.unwrap();
                handle.finished().await.unwrap();
            }
        })
        .await;
        dropped_everywhere(async |node| {
            let handle = node.submit(order(pattern)).await;
            async move {
                let mut events = handle.events().await;
                while events.recv().await.is_some() {}
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_can_be_awaited_again() {
    at_every_poll(POLLS_MAX, |polls| async move {
        let node = Node::three().await;
        node.script.rule(|_| Say::After(Duration::from_millis(20)));
        let mut handle = node.submit(order(Pattern::TwoPhaseCommit)).await;
        let outcome = drop_after_polls(handle.outcome(), polls).await;
        let finished = drop_after_polls(handle.finished(), polls).await;
        assert_eq!(within(handle.outcome()).await.unwrap(), Outcome::Committed);
        assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Committed);
        outcome.is_some() && finished.is_some()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn signals() {
    for signal in [Signal::Approve, Signal::Reject, Signal::Cancel] {
        for wait in [Duration::from_secs(3), Duration::from_secs(20)] {
            dropped_everywhere(async |node| {
                let one = steps(Pattern::TwoPhaseSaga, &["a", "b"]).approval(wait);
                let handle = node.submit(one.build().unwrap()).await;
                pass(Duration::from_millis(200)).await;
                let signal = signal.clone();
                async move {
                    match signal {
                        Signal::Approve => handle.approve("ann", "").await,
                        Signal::Reject => handle.reject("ann", "").await,
                        _ => handle.cancel("ann", "").await,
                    }
                    .unwrap();
                    node.dtx.signal(handle.tx(), signal, "ann", "").await
                }
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn questions() {
    dropped_everywhere(async |node| {
        let tx = node.submit(order(Pattern::Saga)).await.tx();
        async move {
            node.dtx.list(&Filter::default()).await.unwrap();
            node.dtx.get(tx).await.unwrap();
            node.dtx.history(tx).await.unwrap();
            node.dtx.attach(tx).await;
            node.dtx.host_stats().await;
            node.dtx.drain().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn shutdown() {
    for grace in [Duration::ZERO, LONG] {
        let polls = at_every_poll(POLLS_MAX, |polls| async move {
            let world = shop();
            let node = world.node(quick(), &["a", "b"]).await;
            for pattern in Pattern::ALL {
                node.submit(steps(pattern, &["a", "b"]).build().unwrap()).await;
            }
            let ended = within(drop_after_polls(node.dtx.shutdown(grace), polls)).await;
            let report = within(node.dtx.shutdown(grace)).await;
            if let Some(ended) = ended {
                assert_eq!(ended, report, "there is one end");
            }
            is_sound_and_free(&world).await;
            ended.is_some()
        })
        .await;
        assert!(polls >= 1, "{polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn start() {
    at_every_poll(POLLS_MAX, |polls| async move {
        let world = shop();
        let start = world.node(quick(), &["a", "b"]);
        let started = within(drop_after_polls(start, polls)).await;
        let is_ready = started.is_some();
        drop(started);
        // What was begun ends by itself, and soon.
        pass(Duration::from_millis(100)).await;
        is_sound_and_free(&world).await;
        is_ready
    })
    .await;
}
