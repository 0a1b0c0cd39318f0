//! What cannot be delivered is put aside, with the reason, and stops nobody.

use std::time::Duration;

use async_nats::HeaderMap;
use dtx_core::{
    pattern::Pattern,
    transport::{Nack, Transport},
};

use crate::{
    harness::{command, connect, number, prefix, settings, subscribe, url},
    raw::{self, DEADLINE, header},
};

#[tokio::test]
async fn a_command_that_is_given_back_again_and_again_ends_in_the_dead_stream() {
    let (url, prefix) = (url(), prefix());
    let transport = connect(settings(&url, &prefix).deliveries_max(3)).await;
    let client = raw::client(&url).await;
    let mut dead = client.subscribe(format!("{prefix}.dead.*")).await.expect("subscribed");
    let mut workers = subscribe(&transport).await;
    let sent = [command(Pattern::Saga, 1), command(Pattern::Saga, 2)];
    assert!(transport.publish(&sent).await.iter().all(Result::is_ok));
    let mut attempts = Vec::new();
    let mut others = 0;
    while attempts.len() < 3 || others == 0 {
        for delivery in workers.receive(10, DEADLINE).await.expect("received") {
            if number(&delivery.envelope) == 2 {
                workers.ack(&[delivery.token]).await.expect("acknowledged");
                others += 1;
            } else {
                attempts.push(delivery.attempt);
                let nack = Nack { token: delivery.token, delay: Duration::from_millis(5) };
                workers.nack(&[nack]).await.expect("given back");
            }
        }
    }
    assert_eq!(attempts, [1, 2, 3]);
    let letter = raw::next(&mut dead).await;
    assert_eq!(letter.subject.as_str(), format!("{prefix}.dead.dtx_{prefix}_saga"));
    assert_eq!(letter.payload, "1");
    assert_eq!(header(&letter, "dtx-dead-deliveries"), "4");
    assert!(header(&letter, "dtx-dead-reason").contains("delivered 3 times"));
    assert_eq!(header(&letter, "dtx-dead-stream"), format!("DTX_{prefix}_SAGA"));
    assert_eq!(header(&letter, "dtx-participant"), "payment", "the message is as it was");
    // What tools that know no dtx read.
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-type", "dtx.command"),
        ("ce-id", &format!("{}.0.execute", sent[0].tx())),
        ("ce-source", "/dtx/shards/1"),
        ("ce-subject", "saga.payment.execute"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(header(&letter, name), value, "{name}");
    }
    assert!(workers.receive(10, Duration::from_millis(1_500)).await.expect("none").is_empty());
    assert_eq!(raw::messages(&client, &format!("DTX_{prefix}_DEAD")).await, 1);
    raw::settled(&client, &format!("DTX_{prefix}_SAGA")).await;
}

#[tokio::test]
async fn what_cannot_be_read_ends_in_the_dead_stream_with_the_reason() {
    let (url, prefix) = (url(), prefix());
    let transport = connect(settings(&url, &prefix)).await;
    let client = raw::client(&url).await;
    let mut dead = client.subscribe(format!("{prefix}.dead.*")).await.expect("subscribed");
    let mut workers = subscribe(&transport).await;
    let subject = || format!("{prefix}.2pc.payment.prepare");
    let mut wrong_version = HeaderMap::new();
    wrong_version.insert("dtx-version", "2");
    let mut half = HeaderMap::new();
    half.insert("dtx-version", "1");
    half.insert("dtx-body-bytes", "9");
    let bad = [
        (HeaderMap::new(), vec![0xff; 10], "version"),
        (wrong_version.clone(), Vec::new(), "version"),
        (half, vec![1, 2, 3], "dtx-body-bytes"),
        (wrong_version, vec![b'x'; 4_097], "body"),
    ];
    for (headers, body, _) in &bad {
        let request = client.request_with_headers(subject(), headers.clone(), body.clone().into());
        request.await.expect("it is stored");
    }
    assert!(transport.publish(&[command(Pattern::TwoPhaseCommit, 5)]).await[0].is_ok());
    let came = workers.receive(10, DEADLINE).await.expect("received");
    assert_eq!(came.iter().map(|d| number(&d.envelope)).collect::<Vec<_>>(), [5]);
    workers.ack(&[came[0].token]).await.expect("acknowledged");
    let mut reasons = Vec::new();
    for _ in 0..bad.len() {
        let letter = raw::next(&mut dead).await;
        assert_eq!(header(&letter, "dtx-dead-subject"), subject());
        assert_eq!(header(&letter, "dtx-dead-deliveries"), "1");
        let body = letter.payload.to_vec();
        assert!(bad.iter().any(|(_, sent, _)| *sent == body), "the body is as it was");
        reasons.push(header(&letter, "dtx-dead-reason").to_owned());
    }
    for (_, _, word) in &bad {
        assert!(reasons.iter().any(|reason| reason.contains(word)), "{word}: {reasons:?}");
    }
    assert_eq!(raw::messages(&client, &format!("DTX_{prefix}_DEAD")).await, 4);
    raw::settled(&client, &format!("DTX_{prefix}_2PC")).await;
}
