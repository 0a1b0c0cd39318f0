//! What cannot work is refused, by an error that names the setting.

use std::time::Duration;

use dtx_core::{
    error::{ErrorKind, TransportError},
    transport::{Interest, Subscribe, Transport},
};
use dtx_testkit::servers::{Nats, NatsCore};
use dtx_transport_nats::{NatsSettings, NatsTransport};

use crate::{
    harness::{connect, payment, prefix, server, settings, url},
    raw,
};

async fn refused(settings: NatsSettings) -> TransportError {
    NatsTransport::connect(settings).await.expect_err("it must be refused")
}

fn assert_says(error: &TransportError, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

#[tokio::test]
async fn an_address_at_which_nobody_is() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("nats://{}", nobody.local_addr().expect("an address"));
    drop(nobody);
    let error = refused(NatsSettings::new(&address).expect("an address")).await;
    assert_says(&error, ErrorKind::Unavailable, &["check the addresses"]);
    // One that takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("nats://{}", silent.local_addr().expect("an address"));
    let settings = NatsSettings::new(&address).expect("an address");
    let error = refused(settings.connect_timeout(Duration::from_millis(200))).await;
    assert_says(&error, ErrorKind::Unavailable, &["connect_timeout"]);
}

#[tokio::test]
async fn a_server_without_jetstream() {
    let server = server(&NatsCore, "core", &[]);
    let error = refused(settings(&server.url(), &prefix())).await;
    assert_says(&error, ErrorKind::Unsupported, &["JetStream is off", "-js"]);
}

#[tokio::test]
async fn a_wrong_login_or_missing_rights() {
    let users = "authorization { users = [ {user: all, password: hunter2},
        {user: few, password: hunter2, permissions: {publish: [\"nothing\"], subscribe: [\"_INBOX.>\"]}} ] }";
    let server = server(&Nats, "users", &[("more.conf", users)]);
    let of = |login: &str| {
        let url = server.url().replace("nats://", &format!("nats://{login}@"));
        settings(&url, &prefix())
    };
    connect(of("all:hunter2")).await;
    for wrong in ["all:hunter3", "nobody:hunter2"] {
        let error = refused(of(wrong)).await;
        assert_says(&error, ErrorKind::Invalid, &["`user`"]);
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    }
    let error = refused(settings(&server.url(), &prefix())).await;
    assert_says(&error, ErrorKind::Invalid, &["`user`"]);
    let error = refused(of("few:hunter2")).await;
    assert_says(&error, ErrorKind::Invalid, &["rights of the `user`", "stream DTX_"]);
}

#[tokio::test]
async fn a_server_that_takes_less_than_the_largest_body() {
    let server = server(&Nats, "small", &[("more.conf", "max_payload: 100KB")]);
    let small = |bytes| settings(&server.url(), &prefix()).body_bytes_max(bytes);
    let error = refused(small(512 << 10)).await;
    assert_says(&error, ErrorKind::Invalid, &["max_payload", "body_bytes_max"]);
    connect(small(20 << 10)).await;
}

#[tokio::test]
async fn streams_and_consumers_that_are_there_and_differ() {
    let (url, prefix) = (url(), prefix());
    let client = raw::client(&url).await;
    let stream = format!("DTX_{prefix}_SAGA");
    let subject = format!("{prefix}.saga.*.*");
    let config = |retention: &str| {
        serde_json::json!({ "name": stream, "subjects": [subject], "retention": retention,
            "storage": "memory" })
    };
    raw::ask(&client, &format!("STREAM.CREATE.{stream}"), config("interest")).await;
    let error = refused(settings(&url, &prefix)).await;
    assert_says(&error, ErrorKind::Invalid, &[&stream, "`interest`", "`limits`"]);
    raw::ask(&client, &format!("STREAM.DELETE.{stream}"), serde_json::json!({})).await;
    raw::ask(&client, &format!("STREAM.CREATE.{stream}"), config("workqueue")).await;
    let transport = connect(settings(&url, &prefix)).await;
    assert!(!transport.info().capabilities.durable, "one stream is in memory");
    assert!(transport.durability_reasons().iter().any(|reason| reason.contains(&stream)));

    let wish = |group: &str| {
        let interest = Interest::Participant(payment());
        Subscribe { interest, group: group.to_owned(), prefetch: 1 }
    };
    drop(transport.subscribe(&wish("workers")).await.expect("subscribed"));
    let second = transport.subscribe(&wish("auditors")).await.expect_err("it serves one group");
    assert_says(&second, ErrorKind::Invalid, &["workqueue", "one group"]);
    let other = connect(settings(&url, &prefix).ack_wait(Duration::from_secs(7))).await;
    let error = other.subscribe(&wish("workers")).await.expect_err("it differs");
    assert_says(&error, ErrorKind::Invalid, &["workers@payment", "`ack_wait`", "1000 ms", "7000"]);
}

#[tokio::test]
async fn a_wish_that_makes_no_sense() {
    let transport = connect(settings(&url(), &prefix())).await;
    let wish =
        |interest, group: &str, prefetch| Subscribe { interest, group: group.to_owned(), prefetch };
    let bad = [
        (wish(Interest::Inquiries, "g", 0), "prefetch"),
        (wish(Interest::Inquiries, "a.b", 1), "group"),
        (wish(Interest::Inquiries, "", 1), "group"),
        (wish(Interest::Replies(Vec::new()), "g", 1), "shard"),
    ];
    for (wish, word) in bad {
        let error = transport.subscribe(&wish).await.expect_err(word);
        assert_says(&error, ErrorKind::Invalid, &[word]);
    }
}

#[tokio::test]
async fn a_stream_that_is_full() {
    let settings = settings(&url(), &prefix()).stream_bytes_max(4_096);
    let transport = connect(settings.publish_timeout(Duration::from_secs(1))).await;
    let saga = |n| crate::harness::command(dtx_core::pattern::Pattern::Saga, n);
    let results = transport.publish(&(0..40).map(saga).collect::<Vec<_>>()).await;
    assert!(results[0].is_ok());
    let error = results[39].as_ref().expect_err("it does not fit");
    assert_says(error, ErrorKind::Unavailable, &["stream_bytes_max"]);
    assert_eq!(error.effect(), dtx_core::error::Effect::None);
}
