//! Submitting: by awaiting and by handle, with a key, under back-pressure; events.

use std::time::Duration;

use dtx::{
    coordinator::{CoordinatorSettings, OutcomeError, SubmitError},
    error::{Effect, Retry},
    ids::TxId,
    pattern::Phase,
    prelude::*,
    store::{Answered, JournalEvent},
};

use crate::kit::*;

#[tokio::test(start_paused = true)]
async fn submit_and_await_and_submit_with_a_handle_tell_the_same() {
    let node = Node::three().await;
    let (handle, outcome) = node.run(steps(Pattern::Saga, &["a", "b"]).build().unwrap()).await;
    assert!(handle.is_new());
    assert_eq!(outcome, Outcome::Committed);

    let mut first = node.submit(steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap()).await;
    let mut second = node.dtx.attach(first.tx()).await;
    assert!(!second.is_new());
    let both = tokio::join!(within(first.outcome()), within(second.finished()));
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (Outcome::Committed, Outcome::Committed));
    // Long after it has left the memory, the store tells.
    settle(&node).await;
    assert_eq!(
        within(node.dtx.attach(first.tx()).await.outcome()).await.unwrap(),
        Outcome::Committed
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_a_handle_never_cancels() {
    let node = Node::three().await;
    node.script.rule(|_| Say::After(Duration::from_millis(500)));
    let tx = node.submit(chain(Pattern::Saga, &["a", "b", "c"]).build().unwrap()).await.tx();
    settle(&node).await;
    assert_eq!(node.script.effects(tx), [(1, 0); 3]);
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_comes_between_outcome_and_end_learns_both() {
    let node = Node::three().await;
    node.script.rule(|call| match call.phase {
        Phase::Commit => Say::After(Duration::from_secs(5)),
        _ => Say::Done,
    });
    let mut first = node.submit(steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap()).await;
    assert_eq!(within(first.outcome()).await.unwrap(), Outcome::Committed);
    let mut late = node.dtx.attach(first.tx()).await;
    let told = tokio::time::timeout(Duration::from_secs(1), late.outcome()).await;
    assert_eq!(told.expect("it is told already").unwrap(), Outcome::Committed);
    assert_eq!(within(late.finished()).await.unwrap(), Outcome::Committed);
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_comes_before_the_last_lazy_write_is_not_forgotten() {
    let mut settings = quick();
    settings.lazy_flush = Duration::from_secs(5);
    let node = World::new().node(settings, &["a", "b"]).await;
    let begun = tokio::time::Instant::now();
    let (first, _) = node.run(steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap()).await;
    let mut late = node.dtx.attach(first.tx()).await;
    assert_eq!(within(late.finished()).await.unwrap(), Outcome::Committed);
    assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits for the lazy record");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_transaction_is_said_to_be_unknown() {
    let node = Node::three().await;
    let mut handle = node.dtx.attach(TxId::from_parts(7, [7; 10])).await;
    assert!(matches!(within(handle.outcome()).await, Err(OutcomeError::Unknown(_))));
}

#[tokio::test(start_paused = true)]
async fn events_name_participant_phase_and_answer() {
    let node = Node::three().await;
    node.script.rule(|call| match (call.who.as_str(), call.phase) {
        (_, Phase::Prepare) => Say::After(Duration::from_millis(50)),
        ("b", Phase::Execute) => Say::No,
        _ => Say::Done,
    });
    let mut handle = node.submit(steps(Pattern::TwoPhaseSaga, &["a", "b"]).build().unwrap()).await;
    let mut events = handle.events().await;
    let mut seen = Vec::new();
    while let Some(event) = within(events.recv()).await {
        seen.push((event.participant.as_str().to_owned(), event.phase, event.answer.is_ok()));
    }
    assert_eq!(within(handle.outcome()).await.unwrap(), Outcome::Compensated);
    for wanted in [
        ("a", Phase::Prepare, true),
        ("b", Phase::Prepare, true),
        ("a", Phase::Execute, true),
        ("b", Phase::Execute, false),
        ("a", Phase::Compensate, true),
    ] {
        let wanted = (wanted.0.to_owned(), wanted.1, wanted.2);
        assert!(seen.contains(&wanted), "{wanted:?} is not in {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_history_says_which_attempt_each_answer_belongs_to() {
    let node = Node::three().await;
    // The first attempt is answered, and late: after the second was sent.
    node.script.rule(|call| match call.who.as_str() {
        "a" => Say::After(Duration::from_millis(300)),
        "b" if call.run == 1 => Say::Unknown,
        _ => Say::Done,
    });
    let (handle, _) = node.run(steps(Pattern::Saga, &["a", "b"]).build().unwrap()).await;
    let mut seen = [Vec::new(), Vec::new()];
    for entry in node.dtx.history(handle.tx()).await.unwrap() {
        if let JournalEvent::Answered { operation, attempt, answer, .. } = entry.event {
            let word = match answer {
                Answered::Done => "done",
                Answered::Unknown(_) => "unknown",
                Answered::TimedOut => "timed out",
                other => panic!("{other:?}"),
            };
            seen[operation.get()].push((attempt, word));
        }
    }
    let [first, repeats @ .., last] = &seen[0][..] else { panic!("{seen:?}") };
    assert_eq!((*first, *last), ((1, "timed out"), (1, "done")));
    let busy: Vec<_> = (2..).zip(repeats).map(|(attempt, _)| (attempt, "unknown")).collect();
    assert!(!busy.is_empty() && repeats == busy, "{seen:?}");
    assert_eq!(seen[1], [(1, "unknown"), (2, "done")]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_events_at_its_bound_misses_none_and_one_past_it_is_counted() {
    for (room, missed) in [(4, 0), (3, 1)] {
        let settings = CoordinatorSettings { events_max: room, ..quick() };
        let node = World::new().node(settings, &["a", "b"]).await;
        node.script.rule(|_| Say::After(Duration::from_millis(50)));
        let transaction = steps(Pattern::TwoPhaseCommit, &["a", "b"]).build().unwrap();
        let mut handle = node.submit(transaction).await;
        let mut events = handle.events().await;
        within(handle.finished()).await.unwrap();
        let mut seen = 0;
        while within(events.recv()).await.is_some() {
            seen += 1;
        }
        assert_eq!((seen, node.dtx.stats().events_missed), (room.min(4), missed));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_key_is_the_same_transaction_also_after_its_end() {
    let node = Node::three().await;
    let order = || steps(Pattern::Saga, &["a", "b"]).key("order-1").build().unwrap();
    node.script.rule(|_| Say::After(Duration::from_millis(100)));
    let first = node.submit(order()).await;
    let mut again = node.submit(order()).await;
    assert_eq!((first.is_new(), again.is_new()), (true, false));
    assert_eq!(first.tx(), again.tx());
    assert_eq!(within(again.finished()).await.unwrap(), Outcome::Committed);
    settle(&node).await;
    let mut late = node.submit(order()).await;
    assert_eq!((late.tx(), late.is_new()), (first.tx(), false));
    assert_eq!(within(late.outcome()).await.unwrap(), Outcome::Committed);
    assert_eq!(node.script.effects(first.tx()), [(1, 0); 2]);

    let other = steps(Pattern::Saga, &["a"]).key("order-1").build().unwrap();
    let error = within(node.dtx.submit(other)).await.unwrap_err();
    assert!(matches!(&error, SubmitError::KeyConflict(tx) if *tx == first.tx()), "{error:?}");
    assert_eq!((error.retry(), error.effect()), (Retry::Never, Effect::None));
    let elsewhere = steps(Pattern::Saga, &["a"]).key_in("returns", "order-1").build().unwrap();
    assert!(node.submit(elsewhere).await.is_new(), "a key is of its namespace");
}

#[tokio::test(start_paused = true)]
async fn two_submits_of_one_key_at_once_make_one_transaction() {
    let node = World::with(4, 16, InMemoryTransport::new()).node(quick(), &["a"]).await;
    let order = || steps(Pattern::Saga, &["a"]).key("order-1").build().unwrap();
    let handles = tokio::join!(
        within(node.dtx.submit(order())),
        within(node.dtx.submit(order())),
        within(node.dtx.submit(order())),
    );
    let handles = [handles.0.unwrap(), handles.1.unwrap(), handles.2.unwrap()];
    assert_eq!(handles.iter().filter(|handle| handle.is_new()).count(), 1);
    assert!(handles.iter().all(|handle| handle.tx() == handles[0].tx()));
    settle(&node).await;
    assert_eq!(out_of(&node).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn at_in_flight_max_there_is_room_and_one_past_it_waits_or_is_refused() {
    let settings = CoordinatorSettings { in_flight_max: 3, ..quick() };
    let node = World::new().node(settings, &["a"]).await;
    node.script.rule(|_| Say::After(Duration::from_secs(1)));
    let one = || steps(Pattern::Saga, &["a"]).build().unwrap();
    for _ in 0..3 {
        within(node.dtx.try_submit(one())).await.expect("there is room up to the bound");
    }
    let error = within(node.dtx.try_submit(one())).await.unwrap_err();
    assert!(matches!(error, SubmitError::Overloaded), "{error:?}");
    assert!(matches!(error.retry(), Retry::After(_)));
    assert_eq!(error.effect(), Effect::None);

    let mut waiting = Box::pin(node.dtx.submit(one()));
    let early = tokio::time::timeout(Duration::from_millis(500), &mut waiting).await;
    assert!(early.is_err(), "it waits for room");
    let mut handle = within(waiting).await.unwrap();
    assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Committed);
    settle(&node).await;
    assert_eq!(out_of(&node).await.len(), 4, "what was refused left nothing");
    for _ in 0..3 {
        within(node.dtx.try_submit(one())).await.expect("all the room is back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_volatile_store_takes_nothing_but_fire_and_forget_unless_allowed() {
    let world = World::new();
    let dtx = Dtx::builder()
        .store(world.memory.clone())
        .transport(world.transport.clone())
        .participant(world.script.participant("a"))
        .start()
        .await
        .unwrap();
    let error = dtx.submit(steps(Pattern::Saga, &["a"]).build().unwrap()).await.unwrap_err();
    assert!(matches!(error, SubmitError::Volatile { .. }), "{error:?}");
    let fire = steps(Pattern::FireAndForget, &["a"]).build().unwrap();
    let mut handle = within(dtx.submit(fire)).await.unwrap();
    assert_eq!(within(handle.outcome()).await.unwrap(), Outcome::Dispatched);
}

#[tokio::test(start_paused = true)]
async fn what_a_participant_does_not_offer_is_found_at_once() {
    let node = Node::three().await;
    let other = Transaction::builder(Pattern::Saga)
        .operation(OperationDraft::new("a", "another-action"))
        .build()
        .unwrap();
    let error = within(node.dtx.submit(other)).await.unwrap_err();
    assert!(matches!(error, SubmitError::Unsupported { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn after_the_shutdown_nothing_is_accepted_and_who_waited_is_told() {
    let settings = CoordinatorSettings { in_flight_max: 1, ..quick() };
    let node = World::new().node(settings, &["a"]).await;
    node.script.rule(|_| Say::After(Duration::from_secs(1)));
    let one = || steps(Pattern::Saga, &["a"]).build().unwrap();
    let _first = node.submit(one()).await;
    let waits = node.dtx.submit(one());
    let (waited, report) = tokio::join!(within(waits), within(node.dtx.shutdown(LONG)));
    assert!(matches!(waited, Err(SubmitError::Closed)), "{waited:?}");
    assert!(report.drained);
    assert!(matches!(within(node.dtx.submit(one())).await, Err(SubmitError::Closed)));
    assert!(matches!(within(node.dtx.try_submit(one())).await, Err(SubmitError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_long_asks_the_store_seldom() {
    let node = Node::three().await;
    let wait = Duration::from_secs(300);
    let one = steps(Pattern::TwoPhaseSaga, &["a"]).approval(wait).build().unwrap();
    let mut handle = node.submit(one).await;
    assert_eq!(within(handle.outcome()).await.unwrap(), Outcome::Aborted);
    let loads = node.store.loads();
    assert!((250..350).contains(&loads), "{loads} in 300 seconds");
}
