//! A store and a transport that fail, and queues that are full.

use std::{sync::Arc, time::Duration};

use dtx::{
    coordinator::CoordinatorSettings,
    name::ParticipantName,
    participant::HostSettings,
    pattern::Phase,
    prelude::*,
    store::RecordKind,
    transport::{Body, Envelope, Interest, Subscribe, Transport},
};
use tokio::time::Instant;

use crate::kit::*;

const FAULTS: [Fault; 2] = [Fault::Landed, Fault::NotLanded];

#[tokio::test(start_paused = true)]
async fn a_write_of_which_nobody_knows_whether_it_landed_is_settled_by_itself() {
    for pattern in Pattern::ALL {
        for kind in [
            RecordKind::Accepted,
            RecordKind::Verdict,
            RecordKind::Delegated,
            RecordKind::PivotSent,
            RecordKind::Finished,
        ] {
            for fault in FAULTS {
                let alone = kind == RecordKind::Delegated;
                let who: &[&str] = if alone { &["a"] } else { &["a", "b", "c"] };
                for refused in [false, true] {
                    let node = Node::three().await;
                    node.script.rule(move |call| match call.phase.is_backward() {
                        false if refused && call.who == "b" => Say::No,
                        _ => Say::Done,
                    });
                    if refused && pattern == Pattern::FireAndForget {
                        continue;
                    }
                    node.store.fail_next(kind, fault);
                    node.store.fail_next(kind, fault);
                    let (handle, outcome) = node.run(steps(pattern, who).build().unwrap()).await;
                    settle(&node).await;
                    let effects = node.script.effects(handle.tx());
                    let what = format!("{pattern} {kind:?} {fault:?} {outcome} {effects:?}");
                    assert!(is_sound(outcome, &effects), "{what}");
                    let goes = !refused || alone;
                    let forward = matches!(outcome, Outcome::Committed | Outcome::Dispatched);
                    assert_eq!(forward, goes, "{what}");
                    assert!(is_written_ahead(&node.log), "{what}");
                    if kind == RecordKind::Accepted {
                        assert_eq!(node.store.faults_left(), 0, "{what}");
                    }
                    let notes = node.store.notes(handle.tx());
                    let mut ids: Vec<_> = notes.iter().filter(|n| n.kind == kind).collect();
                    ids.dedup_by_key(|note| note.id);
                    assert!(ids.len() <= 1, "the same write again (rule 9): {what}");
                    let history = node.dtx.history(handle.tx()).await.unwrap();
                    let mut entries: Vec<_> =
                        history.iter().map(|entry| format!("{entry:?}")).collect();
                    let all = entries.len();
                    entries.dedup();
                    assert_eq!(entries.len(), all, "nothing is written twice: {what}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_while_and_slow_ends_nothing() {
    for pattern in Pattern::ALL {
        let node = Node::three().await;
        node.script.rule(|_| Say::After(Duration::from_millis(30)));
        let mut handles = Vec::new();
        for _ in 0..10 {
            handles.push(node.submit(steps(pattern, &["a", "b", "c"]).build().unwrap()).await);
        }
        node.store.take_down(true);
        pass(Duration::from_secs(2)).await;
        node.store.slow_down(Duration::from_millis(300));
        node.store.take_down(false);
        for mut handle in handles {
            let outcome = within(handle.finished()).await.unwrap();
            let forward = matches!(outcome, Outcome::Committed | Outcome::Dispatched);
            assert!(forward, "{pattern}: {outcome}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_waited_for_while_the_store_is_away() {
    let world = World::new();
    let node = world.node(quick(), &["a"]).await;
    let other = world.node(quick(), &[]).await;
    node.script.rule(|_| Say::After(Duration::from_secs(3)));
    let tx = node.submit(steps(Pattern::Saga, &["a"]).build().unwrap()).await.tx();
    let mut handle = other.dtx.attach(tx).await;
    other.store.take_down(true);
    let waiting = tokio::spawn(async move { handle.outcome().await });
    pass(Duration::from_secs(5)).await;
    assert!(!waiting.is_finished());
    other.store.take_down(false);
    assert_eq!(within(waiting).await.unwrap().unwrap(), Outcome::Committed);
}

/// Whether it is the first attempt of a command, or its reply.
fn is_first(message: &Envelope) -> bool {
    match &message.body {
        Body::Command(command) => command.attempt == 1,
        Body::Reply(reply) => reply.attempt == 1,
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_or_refused_on_the_way_is_sent_again_and_done_once() {
    for pattern in Pattern::ALL {
        for (commands, fate) in [(true, Fate::Fails), (true, Fate::IsLost), (false, Fate::IsLost)] {
            let node = Node::three().await;
            node.wire.rule(move |message| {
                let is_command = matches!(message.body, Body::Command(_));
                if is_command == commands && is_first(message) { fate } else { Fate::Arrives }
            });
            let (handle, outcome) =
                node.run(steps(pattern, &["a", "b", "c"]).build().unwrap()).await;
            assert!(matches!(outcome, Outcome::Committed | Outcome::Dispatched), "{pattern}");
            assert_eq!(node.script.effects(handle.tx()), [(1, 0); 3], "{pattern} {fate:?}");
            let unsent = node.dtx.stats().commands_unsent;
            assert_eq!(unsent > 0, fate == Fate::Fails, "{pattern}: {unsent}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_participant_that_stops_answering_is_left_alone_until_it_is_back() {
    let mut settings = quick();
    settings.engine.breaker_failures = 4;
    settings.engine.breaker_pause = Duration::from_secs(1);
    settings.engine.deadline = LONG;
    let node = World::new().node(settings, &["a", "b"]).await;
    node.wire.rule(|message| match &message.body {
        Body::Command(command) if command.participant.as_str() == "a" => Fate::IsLost,
        _ => Fate::Arrives,
    });
    let one = |who| steps(Pattern::Saga, &[who]).build().unwrap();
    let mut handles = Vec::new();
    for _ in 0..50 {
        handles.push(node.submit(one("a")).await);
    }
    pass(Duration::from_secs(2)).await;
    let before = node.wire.counts().0;
    pass(Duration::from_secs(20)).await;
    let sent = node.wire.counts().0 - before;
    assert!((15..=25).contains(&sent), "one a second, and not {sent} in 20 seconds");
    let (_, other) = node.run(one("b")).await;
    assert_eq!(other, Outcome::Committed, "the breaker is of one participant");

    node.wire.rule(|_| Fate::Arrives);
    let back = Instant::now();
    for mut handle in handles {
        assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Committed);
    }
    assert!(back.elapsed() < Duration::from_secs(15), "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn full_queues_everywhere_never_wait_for_each_other() {
    for pattern in Pattern::ALL {
        let transport = InMemoryTransport::builder().queue_messages_max(2).build().unwrap();
        let world = World::with(2, 8, transport);
        let settings = CoordinatorSettings {
            lane_inputs_max: 1,
            commands_max: 4,
            batch_commands_max: 2,
            batch_writes_max: 2,
            ..quick()
        };
        let hosting = HostSettings {
            prefetch: 1,
            concurrency: 1,
            batch_commands_max: 1,
            ..Default::default()
        };
        let node = world
            .node_with(settings, &["a", "b", "c"], |builder| builder.host_settings(hosting))
            .await;
        let submits: Vec<_> = (0..100)
            .map(|_| {
                let dtx = node.dtx.clone();
                let one = steps(pattern, &["a", "b", "c"]).deadline(LONG).build();
                tokio::spawn(
                    async move { dtx.submit(one.unwrap()).await.unwrap().finished().await },
                )
            })
            .collect();
        for submit in submits {
            let outcome = within(submit).await.unwrap().unwrap();
            assert!(matches!(outcome, Outcome::Committed | Outcome::Dispatched), "{pattern}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_participant_that_does_not_read_does_not_hold_up_the_others() {
    let transport = InMemoryTransport::builder().queue_messages_max(2).build().unwrap();
    let world = World::with(1, 8, transport);
    let wish = Subscribe {
        interest: Interest::Participant(ParticipantName::new("deaf").unwrap()),
        group: "deaf".to_owned(),
        prefetch: 1,
    };
    let _unread = world.transport.subscribe(&wish).await.unwrap();
    let settings = CoordinatorSettings { publish_timeout: Duration::from_millis(200), ..quick() };
    let node = world.node(settings, &["a"]).await;
    for _ in 0..20 {
        node.submit(steps(Pattern::Saga, &["deaf"]).build().unwrap()).await;
    }
    let begun = Instant::now();
    for _ in 0..5 {
        let (_, outcome) = node.run(steps(Pattern::Saga, &["a"]).build().unwrap()).await;
        assert_eq!(outcome, Outcome::Committed);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(node.dtx.stats().commands_unsent > 0);
}

#[tokio::test(start_paused = true)]
async fn at_commands_max_repeats_wait_too_and_past_it_they_are_left_out() {
    // One of thirty commands is on its way, and after 200 ms all thirty are repeated.
    for (most, unsent) in [(29 + 30, 0), (29 + 29, 1), (1, 30)] {
        let settings = CoordinatorSettings { commands_max: most, batch_commands_max: 1, ..quick() };
        let all: Vec<String> = (0..30).map(|number| format!("p{number}")).collect();
        let hosts: Vec<&str> = all.iter().map(String::as_str).collect();
        let node = World::new().node(settings, &hosts).await;
        node.wire.freeze(true);
        let mut handle = node.submit(steps(Pattern::Saga, &hosts).build().unwrap()).await;
        pass(Duration::from_millis(300)).await;
        assert_eq!(node.dtx.stats().commands_unsent, unsent, "with {most}");
        node.wire.freeze(false);
        assert_eq!(within(handle.finished()).await.unwrap(), Outcome::Committed);
        assert_eq!(node.script.effects(handle.tx()), [(1, 0); 30]);
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_are_named_before_anything_starts() {
    let world = World::new();
    type Change = fn(&mut CoordinatorSettings);
    let changes: [(&str, Change); 8] = [
        ("in_flight_max", |s| s.in_flight_max = 0),
        ("batch_writes_max", |s| s.batch_writes_max = 0),
        ("batch_commands_max", |s| s.batch_commands_max = 0),
        ("commands_max", |s| s.commands_max = 0),
        ("lane_inputs_max", |s| s.lane_inputs_max = 0),
        ("publish_timeout", |s| s.publish_timeout = Duration::ZERO),
        ("lease_ttl", |s| s.lease_ttl = Duration::ZERO),
        ("resumes_max", |s| s.engine.resumes_max = 0),
    ];
    for (field, change) in changes {
        let mut settings = quick();
        change(&mut settings);
        let started = Dtx::builder()
            .store(world.memory.clone())
            .shared_transport(Arc::new(world.transport.clone()))
            .settings(settings)
            .start()
            .await;
        let error = started.expect_err(field).to_string();
        assert!(error.contains(field), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_slower_than_the_transport_waits_runs_once_and_is_asked_seldom() {
    for pattern in Pattern::ALL {
        let transport = InMemoryTransport::builder().ack_wait(Duration::from_secs(1));
        let world = World::with(1, 8, transport.build().unwrap());
        let node = world.node(quick(), &["a", "b"]).await;
        node.script.rule(|call| match call.phase {
            Phase::Execute | Phase::Commit | Phase::Deliver => Say::After(Duration::from_secs(40)),
            _ => Say::Done,
        });
        let one = steps(pattern, &["a", "b"]).deadline(Duration::from_secs(200));
        let (handle, outcome) = node.run(one.build().unwrap()).await;
        assert!(is_sound(outcome, &node.script.effects(handle.tx())), "{pattern} {outcome}");
        let wanted = [Outcome::Committed, Outcome::Dispatched];
        assert!(wanted.contains(&outcome), "{pattern} {outcome}");
        let runs = node.script.runs();
        assert!(runs.iter().all(|call| call.run == 1), "{pattern} {runs:?}");
        // What the coordinator sent is all that arrived: the transport repeats nothing.
        let sent = node.wire.sent(handle.tx()).len() as u64;
        let arrived = node.dtx.host_stats().await;
        let arrived: u64 = arrived.iter().map(|(_, stats)| stats.commands).sum();
        assert_eq!(arrived, sent, "{pattern}");
        assert!(sent <= 2 * 20, "{pattern}: {sent}");
    }
}
