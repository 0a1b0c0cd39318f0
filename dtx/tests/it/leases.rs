//! Coordinators that come and go: leases, recovery, shutdown, inquiries.

use std::time::Duration;

use dtx::{
    coordinator::{CoordinatorSettings, SubmitError},
    engine::Signal,
    ids::{HolderId, TxId, WriteId},
    pattern::Phase,
    prelude::*,
    store::{
        Catalog, CommitResult, Expect, Filter, RecordKind, StateStore, Status, Summary, TxWrite,
        Verdict,
    },
};
use tokio::time::Instant;

use crate::kit::*;

fn slow(node: &Node) {
    node.script.rule(|_| Say::After(Duration::from_secs(1)));
}

/// All transactions of the store end soundly.
async fn all_sound(node: &Node, count: usize) {
    settle(node).await;
    assert!(is_written_ahead(&node.log));
    let page = node.dtx.list(&Filter { limit: 10_000, ..Filter::default() }).await.unwrap();
    assert_eq!(page.items.len(), count);
    for record in page.items {
        let Status::Finished(outcome) = record.summary.status else {
            panic!("{} is {:?}", record.tx, record.summary.status)
        };
        let effects = node.script.effects(record.tx);
        assert!(is_sound(outcome, &effects), "{} {outcome} {effects:?}", record.summary.pattern);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_the_next_one_takes_over_when_the_lease_has_ended() {
    for pattern in Pattern::ALL {
        for refused in [false, true] {
            let world = World::with(2, 8, InMemoryTransport::new());
            let first = world.node(quick(), &[]).await;
            let second = world.node(quick(), &["a", "b", "c"]).await;
            assert_eq!(second.dtx.info().shards_owned, 0);
            world.script.rule(move |call| match call.phase {
                Phase::Execute | Phase::Commit | Phase::Prepare | Phase::Validate
                    if refused && call.who == "c" && call.tx.salt() % 2 == 0 =>
                {
                    Say::No
                }
                _ => Say::After(Duration::from_millis(700)),
            });
            for number in 0..24 {
                let one = chain(pattern, &["a", "b", "c"]);
                first.submit(one.build().unwrap()).await;
                pass(Duration::from_millis(number * 5)).await;
            }
            first.freeze(true);
            let crashed = Instant::now();
            drop(first);
            eventually("the shards are taken over", async || second.dtx.info().shards_owned == 8)
                .await;
            let took = crashed.elapsed();
            assert!(took >= Duration::from_secs(1), "not before the lease has ended: {took:?}");
            all_sound(&second, 24).await;
        }
    }
}

/// Design rule 14: participants forget what is below the watermark, so nothing below it may be
/// asked for any more.
#[tokio::test(start_paused = true)]
async fn what_moves_to_the_front_while_a_shard_is_read_holds_the_watermark_down() {
    let world = World::with(1, 1, InMemoryTransport::new());
    let first = world.node(quick(), &[]).await;
    let scan_interval = Duration::from_secs(20);
    let settings = CoordinatorSettings { scan_records_max: 1, scan_interval, ..quick() };
    let second = world.node(settings, &["a"]).await;
    let one = || steps(Pattern::TwoPhaseSaga, &["a"]).build().unwrap();
    first.wire.rule(|_| Fate::IsLost);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(first.submit(one()).await.tx());
    }
    first.freeze(true);
    second.store.hold_pages(true);
    eventually("the second page is asked for", async || {
        second.store.calls().get("open").is_some_and(|calls| *calls >= 2)
    })
    .await;
    let last = open.iter().max().copied().unwrap();
    let operator = Operator::on(world.memory.clone());
    operator.signal(last, Signal::Cancel, "ann", "").await.unwrap();
    second.store.hold_pages(false);
    for tx in open.into_iter().filter(|tx| *tx != last) {
        eventually("it ends", async || {
            let record = second.dtx.get(tx).await.unwrap().unwrap();
            matches!(record.summary.status, Status::Finished(_))
        })
        .await;
    }
    second.run(one()).await;
    settle(&second).await;

    let log = world.log.lock().unwrap();
    let sent = |seen: &Seen| match seen {
        Seen::Sent(sent) => Some(sent.clone()),
        Seen::Durable(_) => None,
    };
    let sent: Vec<_> = log.iter().filter_map(sent).collect();
    assert!(sent.iter().any(|sent| sent.tx == last && sent.phase == Phase::Cancel), "{sent:?}");
    for (at, one) in sent.iter().enumerate() {
        let late = sent[at..].iter().find(|later| later.sequence < one.watermark);
        assert!(late.is_none(), "{late:?} after {one:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_stood_still_is_fenced_and_its_handles_learn_from_the_store() {
    for pattern in Pattern::ALL.into_iter().skip(1) {
        let world = World::new();
        let first = world.node(quick(), &[]).await;
        let second = world.node(quick(), &["a", "b", "c"]).await;
        slow(&second);
        let mut handles = Vec::new();
        for _ in 0..5 {
            handles.push(first.submit(chain(pattern, &["a", "b", "c"]).build().unwrap()).await);
        }
        first.freeze(true);
        eventually("the shards are taken over", async || second.dtx.info().shards_owned == 8).await;
        first.freeze(false);
        for handle in &mut handles {
            let outcome = within(handle.finished()).await.unwrap();
            assert!(is_sound(outcome, &world.script.effects(handle.tx())), "{pattern} {outcome}");
        }
        eventually("it knows that it owns nothing", async || first.dtx.info().shards_owned == 0)
            .await;
        all_sound(&second, 5).await;
        // It is a coordinator like any other afterwards.
        within(second.dtx.shutdown(LONG)).await;
        eventually("it takes what is free", async || first.dtx.info().shards_owned == 8).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_graceful_shutdown_hands_over_at_once() {
    let world = World::new();
    let hosts = world.node(quick(), &[]).await;
    within(hosts.dtx.shutdown(LONG)).await;
    let settings = CoordinatorSettings { lease_ttl: Duration::from_secs(60), ..quick() };
    let first = world.node(settings, &[]).await;
    slow(&first);
    let mut handles = Vec::new();
    for _ in 0..7 {
        handles.push(first.submit(chain(Pattern::Saga, &["a", "b"]).build().unwrap()).await);
    }
    let (one, two) =
        tokio::join!(within(first.dtx.shutdown(Duration::ZERO)), within(first.dtx.shutdown(LONG)),);
    assert_eq!(one, two, "there is one end, and all are told the same");
    assert_eq!((one.drained, one.handed_over), (false, 7));
    let told = within(handles[0].outcome()).await;
    assert!(told.is_err(), "it goes on elsewhere: {told:?}");
    let second = world.node(quick(), &["a", "b"]).await;
    assert_eq!(second.dtx.info().shards_owned, 8, "at once, and not when the lease has ended");
    all_sound(&second, 7).await;
    assert_eq!(second.dtx.stats().recovered, 7);
}

#[tokio::test(start_paused = true)]
async fn what_ends_within_the_grace_is_not_handed_over() {
    let mut settings = quick();
    settings.lazy_flush = Duration::from_secs(60);
    let node = World::new().node(settings, &["a", "b"]).await;
    slow(&node);
    for _ in 0..7 {
        node.submit(steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap()).await;
    }
    // All but their last lazy records is done then.
    let report = within(node.dtx.shutdown(Duration::from_secs(5))).await;
    assert_eq!(report.handed_over, 0, "{report:?}");
    let open = node.store.list(&Filter::default()).await.unwrap();
    assert!(open.items.iter().all(|record| record.due.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_although_the_store_never_answers_again() {
    let node = Node::three().await;
    node.store.hold(Held::Kind(RecordKind::Verdict));
    let tx = node.submit(steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap()).await.tx();
    eventually("a commit is on its way", async || {
        node.store.notes(tx).iter().any(|note| note.kind == RecordKind::Verdict)
    })
    .await;
    node.freeze(true);
    let begun = Instant::now();
    let report = within(node.dtx.shutdown(Duration::from_secs(1))).await;
    assert_eq!((report.drained, report.handed_over), (false, 1));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn many_open_ones_are_recovered_page_by_page() {
    for pattern in [Pattern::Saga, Pattern::TwoPhaseCommit] {
        let world = World::with(2, 4, InMemoryTransport::new());
        let first = world.node(quick(), &[]).await;
        for _ in 0..500 {
            first.submit(steps(pattern, &["a", "b"]).build().unwrap()).await;
        }
        first.freeze(true);
        let settings = CoordinatorSettings { scan_records_max: 7, ..quick() };
        let second = world.node(settings, &["a", "b"]).await;
        all_sound(&second, 500).await;
        assert_eq!(second.dtx.stats().recovered, 500);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_stands_still_does_not_swallow_the_replies_of_the_next() {
    let world = World::new();
    let first = world.node(quick(), &[]).await;
    // Its store is gone, but it still receives, and still believes that it has the shards.
    first.store.freeze(true);
    let second = world.node(quick(), &["a", "b"]).await;
    eventually("the shards are taken over", async || second.dtx.info().shards_owned == 8).await;
    let begun = Instant::now();
    for _ in 0..20 {
        let one = steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap();
        assert_eq!(second.run(one).await.1, Outcome::Committed);
    }
    // Each shard may lose the replies that reach the frozen one before it gives the shard up, and
    // those are asked for again; without that it would go on swallowing them.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_set_aside_and_stops_no_other() {
    let world = World::new();
    let first = world.node(quick(), &[]).await;
    for _ in 0..10 {
        first.submit(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
    }
    let good = first.store.list(&Filter::default()).await.unwrap().items.remove(0);
    let mut broken = Vec::new();
    for (number, (definition, state)) in [
        (b"nonsense".as_slice(), good.state.as_ref()),
        (good.definition.as_ref(), b"nonsense".as_slice()),
        (b"".as_slice(), b"".as_slice()),
    ]
    .into_iter()
    .enumerate()
    {
        let tx = TxId::from_parts(1, [number as u8; 10]);
        broken.push(tx);
        let write = TxWrite {
            id: WriteId { writer: HolderId(9), number: number as u64 },
            tx,
            kind: RecordKind::Accepted,
            expect: Expect::Absent,
            fence: None,
            key: None,
            definition: Some(definition.to_vec().into()),
            verdict: None,
            state: state.to_vec().into(),
            due: Some(good.accepted_at),
            summary: Summary { status: Status::Open, ..good.summary.clone() },
            journal: [].into(),
            lazy: false,
        };
        let written = world.memory.commit(&[write]).await.pop().unwrap();
        assert!(matches!(written, CommitResult::Committed(_)), "{written:?}");
    }
    first.freeze(true);
    let second = world.node(quick(), &["a"]).await;
    eventually("all others end", async || {
        let page = second.dtx.list(&Filter::default()).await.unwrap();
        page.items.iter().filter(|record| record.due.is_none()).count() == 10
    })
    .await;
    assert!(second.dtx.stats().quarantined >= 3);
    for tx in broken {
        let record = second.dtx.get(tx).await.unwrap().unwrap();
        assert_eq!((record.version.0, record.summary.status), (1, Status::Open), "left as it is");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pinned_claim_past_its_deadline_asks_and_the_abort_is_written_first() {
    for (pattern, held, dropped) in [
        (Pattern::TwoPhaseCommit, Phase::Prepare, Phase::Abort),
        (Pattern::ThreePhaseSaga, Phase::Validate, Phase::Release),
    ] {
        let world = World::new();
        // It owns all shards for an hour, so nobody can take them over.
        let settings = CoordinatorSettings { lease_ttl: Duration::from_secs(3_600), ..quick() };
        let gone = world.node(settings, &[]).await;
        let other = world.node(quick(), &["a", "b"]).await;
        gone.store.hold(Held::Kind(RecordKind::Verdict));
        let one = steps(pattern, &["a", "b"]).deadline(Duration::from_secs(5));
        let bounds = dtx::modifier::TimeBounds {
            base: [(held, Duration::from_secs(3))].into(),
            ..Default::default()
        };
        let tx = gone.submit(one.time_bounds(bounds).build().unwrap()).await.tx();
        eventually("both are pinned", async || {
            world.script.phases(tx).iter().filter(|phase| **phase == held).count() == 2
        })
        .await;
        gone.freeze(true);
        // Of the first two tries nobody knows whether they were written, and they were not.
        other.store.fail_next(RecordKind::Verdict, Fault::NotLanded);
        other.store.fail_next(RecordKind::Verdict, Fault::NotLanded);
        let frozen = Instant::now();
        eventually("both are released", async || {
            world.script.phases(tx).iter().filter(|phase| **phase == dropped).count() == 2
        })
        .await;
        assert!(frozen.elapsed() >= Duration::from_secs(4), "not before the deadline");
        assert_eq!(other.dtx.info().shards_owned, 0, "nobody took the shard over");
        let record = other.dtx.get(tx).await.unwrap().unwrap();
        assert_eq!(record.verdict, Some(Verdict::Abort), "{pattern}");
        // The one that was away meets the verdict and adopts it.
        gone.freeze(false);
        gone.store.let_go();
        let mut handle = gone.dtx.attach(tx).await;
        assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Aborted);
        assert!(is_sound(Outcome::Aborted, &world.script.effects(tx)));
    }
}

#[tokio::test(start_paused = true)]
async fn no_task_belongs_to_a_transaction() {
    let world = World::new();
    let node = world.node(quick(), &["a"]).await;
    node.run(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut handles = Vec::new();
    for pattern in Pattern::ALL.into_iter().cycle().take(1_000) {
        // Nobody serves these, so that they stay open.
        let open = steps(pattern, &["nobody", "none"]).deadline(LONG * 2).build().unwrap();
        handles.push(node.submit(open).await);
    }
    assert!(tasks() <= before, "{} with {} open, {before} before", tasks(), handles.len());
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_over_takes_room_and_goes_on_also_past_in_flight_max() {
    for (room, left) in [(4, 1), (3, 0), (2, 0)] {
        let world = World::new();
        let first = world.node(quick(), &[]).await;
        let one = || steps(Pattern::Saga, &["a"]).build().unwrap();
        for _ in 0..3 {
            first.submit(one()).await;
        }
        first.freeze(true);
        let settings = CoordinatorSettings { in_flight_max: room, ..quick() };
        let second = world.node(settings, &[]).await;
        eventually("they are taken over", async || second.dtx.stats().recovered == 3).await;
        // Nobody serves them yet.
        for _ in 0..left {
            within(second.dtx.try_submit(one())).await.expect("there is room up to the bound");
        }
        let error = within(second.dtx.try_submit(one())).await.unwrap_err();
        assert!(matches!(error, SubmitError::Overloaded), "{room}: {error:?}");
        let third = world.node(quick(), &["a"]).await;
        all_sound(&third, 3 + left).await;
        for _ in 0..room {
            within(second.dtx.try_submit(one())).await.expect("all the room is back");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_fenced_stops_at_once_although_it_cannot_renew() {
    let world = World::new();
    let first = world.node(quick(), &["b"]).await;
    // Nobody serves it, so that no reply of a newer epoch tells what has happened.
    let mut open = first.submit(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
    // It cannot renew, and is not told that it has lost anything; its commits still arrive.
    first.store.hold_leases(true);
    let second = world.node(quick(), &[]).await;
    eventually("the shards are taken over", async || second.dtx.info().shards_owned == 8).await;
    assert_eq!(first.dtx.info().shards_owned, 8, "it still believes that it has them");
    // Each accept meets the fence, in the end one in the shard of the open transaction. Each is
    // told, none waits for ever, and nothing of it leaves.
    while first.dtx.info().shards_owned > 0 {
        let submit = first.dtx.submit(steps(Pattern::Saga, &["b"]).build().unwrap());
        let refused = within(submit).await.expect_err("the store refuses its writes");
        assert!(matches!(refused, SubmitError::Lost(_) | SubmitError::NoShard), "{refused:?}");
        // The book follows the lane.
        pass(Duration::from_millis(1)).await;
    }
    assert!(first.script.runs().is_empty(), "{:?}", first.script.runs());
    // Its memory of the shard is gone: nothing more is sent from it.
    let sent = first.wire.counts().0;
    pass(Duration::from_secs(60)).await;
    assert_eq!(first.wire.counts().0, sent);
    let host = world.node(quick(), &["a"]).await;
    let outcome = within(open.finished()).await.unwrap();
    assert!(is_sound(outcome, &world.script.effects(open.tx())), "{outcome}");
    // It stood by for the same shards.
    within(host.dtx.shutdown(LONG)).await;
    first.store.hold_leases(false);
    within(second.dtx.shutdown(LONG)).await;
    eventually("it takes what is free", async || first.dtx.info().shards_owned == 8).await;
}
