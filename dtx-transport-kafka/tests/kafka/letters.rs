//! Retries and dead letters.

use std::time::{Duration, Instant};

use dtx_core::transport::{Nack, Transport, WireMessage};
use dtx_transport_kafka::TopicPrefix;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::{foreign, support::*};

const LONG: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread")]
async fn a_long_delay_is_waited_for_in_the_topic_of_retries() {
    let prefix = prefix();
    let settings = settings().topic_prefix(prefix.clone()).local_delay_max(LONG / 7);
    let transport = connect(settings.clone()).await;
    let mut payment = subscribe(&transport).await;
    publish(&transport, &of_one(0..3)).await;
    let all = receive(&mut *payment, 3).await;
    let began = Instant::now();
    payment.nack(&[Nack { token: all[0].token, delay: LONG }]).await.expect("given back");
    payment.ack(&tokens(&all[1..])).await.expect("acknowledged");
    payment.ack(&tokens(&all[..1])).await.expect("too late is no error");
    // It does not hold up its partition, and whoever comes next has it.
    payment.close().await.expect("closed");
    let commits = committed(&prefix, &format!("{prefix}.saga.payment"));
    assert!(commits.iter().any(|(offset, _)| *offset == 3), "{commits:?}");
    let mut next = subscribe(&transport).await;
    let again = receive(&mut *next, 1).await;
    assert!(began.elapsed() >= LONG, "it came after {:?}", began.elapsed());
    assert_eq!((again[0].attempt, &again[0].envelope), (2, &all[0].envelope));
    next.ack(&tokens(&again)).await.expect("acknowledged");
    assert_quiet(&mut *next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_delay_is_waited_for_in_the_process() {
    let prefix = prefix();
    let settings = settings().topic_prefix(prefix.clone()).local_delay_max(LONG);
    let transport = connect(settings).await;
    let mut payment = subscribe(&transport).await;
    publish(&transport, &of_one(0..1)).await;
    let all = receive(&mut *payment, 1).await;
    // At the limit it stays here: its partition is not passed.
    payment.nack(&[Nack { token: all[0].token, delay: LONG }]).await.expect("given back");
    payment.close().await.expect("closed");
    let commits = committed(&prefix, &format!("{prefix}.saga.payment"));
    assert!(commits.iter().any(|(offset, _)| *offset == 0), "{commits:?}");
    let mut next = subscribe(&transport).await;
    assert_eq!(receive(&mut *next, 1).await[0].attempt, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_attempt_it_is_a_dead_letter_with_its_count() {
    let prefix = prefix();
    let settings =
        settings().topic_prefix(prefix.clone()).attempts_max(3).local_delay_max(LONG / 7);
    let transport = connect(settings).await;
    let mut payment = subscribe(&transport).await;
    publish(&transport, &of_one(0..1)).await;
    // Two ways of coming again are counted as one.
    for (attempt, delay) in [(1, Duration::ZERO), (2, LONG / 3), (3, Duration::ZERO)] {
        let one = receive(&mut *payment, 1).await;
        assert_eq!(one[0].attempt, attempt);
        payment.nack(&[Nack { token: one[0].token, delay }]).await.expect("given back");
    }
    assert_quiet(&mut *payment).await;
    let letters = read_all(&format!("{prefix}.dead-letters"), 1);
    let (headers, body) = &letters[0];
    assert_eq!(header(headers, "dtx-dead-attempts"), "3");
    assert_eq!(header(headers, "dtx-tx"), command(1).tx().to_string());
    assert!(header(headers, "dtx-dead-reason").contains("3 times"));
    assert_eq!(body, b"payload 1");
    // What tools that know no dtx read.
    let tx = command(1).tx();
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_type", "dtx.command"),
        ("ce_id", &format!("{tx}.2.execute")),
        ("ce_source", "/dtx/shards/5"),
        ("ce_subject", "saga.payment.execute"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(header(headers, name), value, "{name}");
    }
    payment.close().await.expect("closed");
    assert_quiet(&mut *subscribe(&transport).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_nobody_lives_through_is_a_dead_letter_too() {
    let prefix = prefix();
    let settings = settings().topic_prefix(prefix.clone()).attempts_max(2);
    let transport = connect(settings).await;
    publish(&transport, &of_one(0..2)).await;
    for attempt in 1..=2 {
        let mut payment = subscribe(&transport).await;
        let all = receive(&mut *payment, 2).await;
        assert!(all.iter().all(|delivery| delivery.attempt == attempt));
        payment.close().await.expect("closed");
    }
    assert_quiet(&mut *subscribe(&transport).await).await;
    assert_eq!(read_all(&format!("{prefix}.dead-letters"), 2).len(), 2);
}

/// Writes to the topic of the tests what dtx would not write.
fn write(prefix: &TopicPrefix, headers: &[(&str, &str)], body: &[u8]) {
    let producer: BaseProducer = raw("none").create().expect("a client");
    let topic = format!("{prefix}.saga.payment");
    let mut all = OwnedHeaders::new();
    for (key, value) in headers {
        all = all.insert(Header { key, value: Some(*value) });
    }
    let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(0).headers(all).payload(body);
    assert!(producer.send(record).is_ok());
    producer.flush(DEADLINE).expect("it is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_parked_and_never_stops_its_partition() {
    let prefix = prefix();
    let settings = settings().topic_prefix(prefix.clone()).body_bytes_max(1_000);
    let transport = connect(settings).await;
    let mut payment = subscribe(&transport).await;
    let good = WireMessage::encode(&command(1));
    let of = |name: &str, value: Option<&'static str>| {
        let mut headers: Vec<_> = good.headers.iter().filter(|(other, _)| *other != name).collect();
        headers.extend(value.map(|value| ("dtx-version", value)));
        headers
    };
    let other = command_of(dtx_core::pattern::Pattern::Saga, 1, 1);
    let other = dtx_core::transport::Envelope::new(dtx_core::transport::Body::Command(
        dtx_core::transport::Command {
            participant: dtx_core::name::ParticipantName::new("inventory").expect("a name"),
            ..other
        }
        .into(),
    ));
    let other = WireMessage::encode(&other);
    let other: Vec<_> = other.headers.iter().collect();
    write(&prefix, &[], b"{}");
    write(&prefix, &of("dtx-version", Some("9")), b"x");
    write(&prefix, &of("dtx-tx", None), b"x");
    write(&prefix, &of("", None), &[b'x'; 1_001]);
    write(&prefix, &other, b"x");
    write(&prefix, &of("", None), &[b'x'; 1_000]);
    let came = receive(&mut *payment, 1).await;
    assert_eq!(came[0].envelope.body_bytes(), 1_000, "the good one at the limit");
    payment.ack(&tokens(&came)).await.expect("acknowledged");

    let letters = read_all(&format!("{prefix}.dead-letters"), 5);
    let mut reasons: Vec<_> = letters.iter().map(|(h, _)| header(h, "dtx-dead-reason")).collect();
    reasons.sort_unstable();
    for (reason, says) in reasons.iter().zip([
        "1001 bytes of body",
        "not for those",
        "no header dtx-tx",
        "of version",
        "of version",
    ]) {
        assert!(reason.contains(says), "{reason} is not about: {says}");
    }
    assert!(letters.iter().any(|(_, body)| body.len() == 1_001), "the body is whole");
    assert!(letters.iter().all(|(h, _)| header(h, "dtx-dead-from").contains("saga.payment 0 ")));
    // All of it is passed.
    payment.close().await.expect("closed");
    let commits = committed(&prefix, &format!("{prefix}.saga.payment"));
    assert_eq!(commits[0].0, 6, "{commits:?}");
    transport.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_whose_name_is_no_text_is_passed_over() {
    let prefix = prefix();
    let transport = connect(settings().topic_prefix(prefix.clone())).await;
    let mut payment = subscribe(&transport).await;
    let topic = format!("{prefix}.saga.payment");
    let good = WireMessage::encode(&command(1));
    let bad: foreign::RawHeader<'_> = (b"\xFF\xFE", b"x");
    let all = good.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let all: Vec<_> = [bad].into_iter().chain(all).collect();
    // The first is parked without that header, and the second is read without it.
    foreign::produce(&topic, &[bad, (b"other", b"y")], b"unreadable");
    foreign::produce(&topic, &all, &good.body);
    let came = receive(&mut *payment, 1).await;
    assert_eq!(came[0].envelope, command(1));
    payment.ack(&tokens(&came)).await.expect("acknowledged");
    let letters = read_all(&format!("{prefix}.dead-letters"), 1);
    let (headers, body) = &letters[0];
    assert_eq!(body, b"unreadable");
    assert_eq!(header(headers, "other"), "y");
    payment.close().await.expect("closed");
    assert_eq!(committed(&prefix, &topic)[0].0, 2, "both are passed");
}
