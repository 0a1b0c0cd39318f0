//! The server is killed and comes back.

use std::{collections::BTreeSet, time::Duration};

use dtx_core::{
    error::{Effect, ErrorKind},
    pattern::Pattern,
    transport::Transport,
};
use dtx_testkit::servers::Nats;
use tokio::time::Instant;

use crate::{
    harness::{NatsHarness, command, connect, number, prefix, server, settings, subscribe},
    raw::DEADLINE,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_works_on_after_a_restart() {
    let harness = NatsHarness::on(server(&Nats, "suite", &[]));
    dtx_testkit::transport::run("works_on_after_a_restart", &harness).await;
}

/// Four publishers do not stop while the server is killed twice. All that was said to be
/// published comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_nothing_that_was_published_is_lost() {
    const PUBLISHERS: u32 = 4;
    const KILLS: u32 = 2;
    let mut server = server(&Nats, "load", &[]);
    let settings = settings(&server.url(), &prefix());
    let transport = connect(settings).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut publishers = Vec::new();
    for publisher in 0..PUBLISHERS {
        let (transport, stopped) = (transport.clone(), stopped.clone());
        publishers.push(tokio::spawn(async move {
            let mut published = Vec::new();
            for batch in 0.. {
                if *stopped.borrow() {
                    break;
                }
                let first = publisher * 1_000_000 + batch * 20;
                let messages: Vec<_> =
                    (first..first + 20).map(|n| command(Pattern::Saga, n)).collect();
                let results = transport.publish(&messages).await;
                let ok = results.iter().zip(first..).filter(|(result, _)| result.is_ok());
                published.extend(ok.map(|(_, number)| number));
            }
            published
        }));
    }
    let mut came = BTreeSet::new();
    let mut workers = subscribe(&transport).await;
    let mut kills = 0;
    while kills < KILLS {
        let some = workers.receive(256, Duration::from_millis(100)).await.expect("received");
        came.extend(some.iter().map(|delivery| number(&delivery.envelope)));
        // One that fails is delivered again, as is one that was on its way when the server died.
        drop(workers.ack(&some.iter().map(|d| d.token).collect::<Vec<_>>()).await);
        if came.len() > 500 * (kills as usize + 1) {
            server.kill().expect("it is killed");
            server.restart().expect("it starts again");
            kills += 1;
        }
    }
    stop.send(true).expect("they listen");
    let mut missing = BTreeSet::new();
    for publisher in publishers {
        missing.extend(publisher.await.expect("no panic"));
    }
    let published = missing.len();
    missing.retain(|number| !came.contains(number));
    let end = Instant::now() + DEADLINE;
    while !missing.is_empty() {
        assert!(Instant::now() < end, "{} of {published} are lost", missing.len());
        let some = workers.receive(256, Duration::from_millis(100)).await.expect("received");
        for delivery in &some {
            missing.remove(&number(&delivery.envelope));
        }
        drop(workers.ack(&some.iter().map(|d| d.token).collect::<Vec<_>>()).await);
    }
    assert!(published > 500, "only {published} were published");
}

#[tokio::test]
async fn without_a_server_a_publish_fails_in_time_and_says_what_is_known() {
    let mut server = server(&Nats, "away", &[]);
    let settings = settings(&server.url(), &prefix());
    let transport = connect(settings.publish_timeout(Duration::from_millis(300))).await;
    server.kill().expect("it is killed");
    let began = Instant::now();
    // The first one may be sent before the end of the connection is seen.
    for _ in 0..2 {
        let results = transport.publish(&[command(Pattern::Saga, 1)]).await;
        let error = results[0].as_ref().expect_err("nobody is there");
        assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
    }
    let results = transport.publish(&[command(Pattern::Saga, 1)]).await;
    let error = results[0].as_ref().expect_err("nobody is there");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    server.restart().expect("it starts again");
    let end = Instant::now() + DEADLINE;
    while transport.publish(&[command(Pattern::Saga, 1)]).await[0].is_err() {
        assert!(Instant::now() < end, "it does not come back");
    }
}
