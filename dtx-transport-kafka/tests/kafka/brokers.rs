//! What brokers do to the transport: gone, killed, with other topics.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use dtx_core::{
    error::{Effect, ErrorKind},
    transport::Transport,
};
use dtx_testkit::servers::{Kafka, Server};
use dtx_transport_kafka::KafkaSettings;

use crate::support::*;

/// A broker of this test alone.
fn server(name: &str) -> Server {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    Server::start(&Kafka, &folder).expect("it starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_under_load_loses_nothing() {
    let mut server = server("kafka-load");
    let transport = connect(at(&server.url()).delivery_timeout(Duration::from_secs(60))).await;
    let mut payment = subscribe(&transport).await;
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let publisher = {
        let (transport, stop, sent) = (transport.clone(), Arc::clone(&stop), Arc::clone(&sent));
        tokio::spawn(async move {
            let mut confirmed = BTreeSet::new();
            while !stop.load(Ordering::SeqCst) {
                let first = sent.fetch_add(20, Ordering::SeqCst);
                let batch: Vec<_> = (first..first + 20).map(command).collect();
                let results = transport.publish(&batch).await;
                let ok = (first..).zip(&results).filter(|(_, result)| result.is_ok());
                confirmed.extend(ok.map(|(number, _)| number));
            }
            confirmed
        })
    };
    let (mut came, mut repeats) = (BTreeSet::new(), 0);
    for round in 0..2 {
        let until = came.len() + 500;
        while came.len() < until {
            take(&mut came, &mut repeats, payment.receive(100, QUIET).await, &mut *payment).await;
        }
        server.kill().expect("it is killed");
        let restarting = tokio::task::spawn_blocking(move || {
            server.restart().expect("it starts again");
            server
        });
        while !restarting.is_finished() {
            take(&mut came, &mut repeats, payment.receive(100, QUIET).await, &mut *payment).await;
        }
        server = restarting.await.expect("it is back");
        // It works on after the restart.
        let until = came.len() + 200;
        let end = Instant::now() + 2 * DEADLINE;
        while came.len() < until {
            assert!(Instant::now() < end, "round {round}: nothing comes any more");
            take(&mut came, &mut repeats, payment.receive(100, QUIET).await, &mut *payment).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let confirmed = publisher.await.expect("it ends");
    let end = Instant::now() + DEADLINE;
    while !confirmed.is_subset(&came) && Instant::now() < end {
        take(&mut came, &mut repeats, payment.receive(100, QUIET).await, &mut *payment).await;
    }
    let lost: Vec<_> = confirmed.difference(&came).collect();
    println!("{} confirmed, {} came, {repeats} repeats", confirmed.len(), came.len());
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(confirmed.len() >= 1_000, "there was load: {}", confirmed.len());
    transport.close().await.expect("closed");
}

/// Notes and acknowledges what came. Errors pass while the broker is away.
async fn take(
    came: &mut BTreeSet<u32>,
    repeats: &mut u32,
    received: Result<Vec<dtx_core::transport::Delivery>, dtx_core::error::TransportError>,
    payment: &mut dyn dtx_core::transport::Subscription,
) {
    let some = match received {
        Ok(some) => some,
        Err(error) => return assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
    };
    let acked = payment.ack(&tokens(&some)).await;
    for delivery in &some {
        *repeats += u32::from(!came.insert(tx_of(delivery)));
    }
    if let Err(error) = acked {
        // Its partitions were taken away while the broker was gone.
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error:?}");
    }
}

#[tokio::test]
async fn a_wrong_address_names_the_setting() {
    let began = Instant::now();
    for (uri, timeout) in [("kafka://127.0.0.1:1", 300), ("kafka://no.such.host.invalid:9092", 300)]
    {
        let settings = KafkaSettings::new(uri).expect("a URI");
        let settings = settings.connect_timeout(Duration::from_millis(timeout));
        let error = settings.connect().await.expect_err("nobody is there");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
        assert!(error.to_string().contains("brokers"), "{error}");
    }
    assert!(began.elapsed() < DEADLINE / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_or_different_is_an_error_that_names_the_setting() {
    let prefix = prefix();
    let base = settings().topic_prefix(prefix);
    let strict = connect(base.clone().create_topics(false)).await;
    let missing = strict.publish(&[command(1)]).await.remove(0).expect_err("it is missing");
    assert_eq!((missing.kind(), missing.effect()), (ErrorKind::Invalid, Effect::None));
    assert!(missing.to_string().contains("create_topics"), "{missing}");

    let maker = connect(base.clone()).await;
    publish(&maker, &[command(1)]).await;
    publish(&strict, &[command(2)]).await;
    for (settings, names) in
        [(base.clone().partitions(3), "partitions"), (base.replication(2), "replication")]
    {
        let other = connect(settings).await;
        let error = other.publish(&[command(3)]).await.remove(0).expect_err("it differs");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None));
        assert!(error.to_string().contains(names), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_copies_than_brokers_names_the_setting() {
    let transport = connect(settings().replication(2)).await;
    let error = transport.publish(&[command(1)]).await.remove(0).expect_err("one broker");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("replication"), "{error}");
}
