//! Errors that a broker would give only in a bad hour, by the client's own mock of one.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use dtx_core::{
    error::{Effect, ErrorKind, Retry, TransportError},
    pattern::Pattern,
    transport::Transport,
};
use dtx_transport_kafka::{KafkaSettings, KafkaTransport};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    mocking::MockCluster,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use crate::support::{DEADLINE, QUIET, command, prefix, publish, receive, subscribe, tokens};

use RDKafkaRespErr::*;

/// A transport to a mock, which has no topics but that of the commands.
async fn connect<C: rdkafka::ClientContext>(
    mock: &MockCluster<'_, C>,
    delivery_timeout: Duration,
) -> (KafkaTransport, String) {
    let prefix = prefix();
    let topic = format!("{prefix}.saga.payment");
    mock.create_topic(&topic, 2, 1).expect("a topic");
    let settings = KafkaSettings::new(&mock.bootstrap_servers()).expect("brokers");
    let settings = settings.topic_prefix(prefix).partitions(2).create_topics(false);
    let settings = settings.patterns([Pattern::Saga]).delivery_timeout(delivery_timeout);
    (settings.connect().await.expect("it connects"), topic)
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_a_broker_say_what_to_do() {
    let mock = MockCluster::new(1).expect("a mock");
    let (transport, _) = connect(&mock, Duration::from_secs(3)).await;
    let publish = async || transport.publish(&[command(1)]).await.remove(0);
    publish().await.expect("published");

    let cases = [
        (RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ErrorKind::Invalid, Effect::None, "user"),
        (
            RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            ErrorKind::Invalid,
            Effect::None,
            "message_bytes_max",
        ),
    ];
    for (code, kind, effect, names) in cases {
        mock.request_errors(RDKafkaApiKey::Produce, &[code]);
        let error = publish().await.expect_err(names);
        assert_eq!((error.kind(), error.effect()), (kind, effect), "{error:?}");
        assert!(error.to_string().contains(names), "{error}");
        let end = Instant::now() + DEADLINE;
        while let Err(error) = publish().await {
            assert!(Instant::now() < end, "it does not work any more: {error:?}");
        }
    }
    // What passes is tried again by the client, and is no error.
    mock.request_errors(
        RDKafkaApiKey::Produce,
        &[RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT],
    );
    publish().await.expect("published at last");
    // What does not pass in time may have happened.
    mock.request_errors(
        RDKafkaApiKey::Produce,
        &[RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND; 64],
    );
    let error = publish().await.expect_err("it takes too long");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error:?}");
}

/// Publishes until it works again.
async fn works_again(transport: &KafkaTransport, first: u32) -> (u32, Vec<TransportError>) {
    let end = Instant::now() + DEADLINE;
    let mut errors = Vec::new();
    for number in first.. {
        match transport.publish(&[command(number)]).await.remove(0) {
            Ok(()) => return (number, errors),
            Err(error) => errors.push(error),
        }
        assert!(Instant::now() < end, "it does not work any more: {:?}", errors.last());
    }
    unreachable!("numbers do not end before the deadline")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_has_ended_is_replaced_and_what_may_be_there_is_told_so() {
    const BATCHES: u32 = 40;
    const BATCH: u32 = 25;
    let mock = MockCluster::new(1).expect("a mock");
    let (transport, topic) = connect(&mock, Duration::from_secs(20)).await;
    let (mut confirmed, mut refused) = (BTreeSet::new(), BTreeSet::new());
    let mut next = works_again(&transport, 0).await.0 + 1;
    for round in 0..3 {
        // Requests are on their way when the broker loses count.
        mock.broker_round_trip_time(1, Duration::from_millis(20)).expect("slower");
        let mut batches = tokio::task::JoinSet::new();
        for _ in 0..BATCHES {
            let (transport, numbers) = (transport.clone(), next..next + BATCH);
            next += BATCH;
            batches.spawn(async move {
                let messages: Vec<_> = numbers.clone().map(command).collect();
                numbers.zip(transport.publish(&messages).await).collect::<Vec<_>>()
            });
        }
        mock.request_errors(
            RDKafkaApiKey::Produce,
            &[RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
        );
        let mut unknown = 0;
        for (number, result) in batches.join_all().await.into_iter().flatten() {
            match result {
                Ok(()) => drop(confirmed.insert(number)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                    assert_ne!(error.retry(), Retry::Never, "{error:?}");
                    match error.effect() {
                        Effect::None => drop(refused.insert(number)),
                        _ => unknown += 1,
                    }
                }
            }
        }
        assert!(unknown > 0, "round {round}: the fate of what was on its way is known to nobody");
        mock.broker_round_trip_time(1, Duration::ZERO).expect("faster");
        let (again, errors) = works_again(&transport, next).await;
        confirmed.insert(again);
        let is_passing = |error: &TransportError| error.kind() == ErrorKind::Unavailable;
        assert!(errors.iter().all(is_passing), "{errors:?}");
        next = again + 1;
    }
    let came = read_until(&mock.bootstrap_servers(), &topic, &confirmed);
    let wrong: Vec<_> = came.intersection(&refused).collect();
    assert!(wrong.is_empty(), "they are there, and were said not to be: {wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_producer_that_has_ended_holds_for_a_silent_broker_is_given_up_at_once() {
    /// Far beyond the deadline of the test.
    const DELIVERY: Duration = Duration::from_secs(600);
    const MESSAGES: u32 = 64;
    let mock = MockCluster::new(2).expect("a mock");
    let (transport, topic) = connect(&mock, DELIVERY).await;
    for (partition, broker) in [(0, 1), (1, 2)] {
        mock.partition_leader(&topic, partition, Some(broker)).expect("a leader");
    }
    let first: Vec<_> = (1..=MESSAGES).map(command).collect();
    assert!(transport.publish(&first).await.iter().all(Result::is_ok), "both are there");
    // What goes to the second broker stays on its way, and the first one loses count.
    mock.broker_round_trip_time(2, DELIVERY).expect("silent");
    let sent: Vec<_> = (MESSAGES + 1..=2 * MESSAGES).map(command).collect();
    mock.broker_round_trip_time(1, Duration::from_millis(200)).expect("slower");
    let errors = [RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER; 8];
    mock.request_errors(RDKafkaApiKey::Produce, &errors);
    let publishes = tokio::spawn(async move { transport.publish(&sent).await });
    let told = tokio::time::timeout(DEADLINE, publishes).await.expect("it is told in time");
    let results = told.expect("it ran");
    let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(errors.iter().any(|error| error.effect() == Effect::Unknown), "{errors:?}");
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Unavailable), "{errors:?}");
    assert!(errors.iter().all(|error| error.retry() != Retry::Never), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_although_no_broker_takes_its_last_commit() {
    let mock = MockCluster::new(1).expect("a mock");
    let (transport, topic) = connect(&mock, Duration::from_secs(20)).await;
    let prefix = topic.strip_suffix(".saga.payment").expect("it ends so");
    for other in ["dead-letters", "retries.workers.payment"] {
        mock.create_topic(&format!("{prefix}.{other}"), 2, 1).expect("a topic");
    }
    let next = works_again(&transport, 0).await.0 + 1;
    let mut payment = subscribe(&transport).await;
    publish(&transport, &[command(next)]).await;
    let held = receive(&mut *payment, 2).await;
    mock.broker_down(1).expect("down");
    payment.ack(&tokens(&held)).await.expect("it is still assigned");
    let (end, mut down) = (Instant::now() + DEADLINE, Instant::now());
    while payment.receive(1, QUIET).await.is_ok() {
        assert!(Instant::now() < end, "nobody says that no broker is there");
        // The client counts what is down, and may miss the moment at which that is all.
        if down.elapsed() > DEADLINE / 4 {
            mock.broker_up(1).expect("up");
            let is_told = payment.receive(1, DEADLINE / 10).await.is_err();
            mock.broker_down(1).expect("down");
            down = Instant::now();
            if is_told {
                break;
            }
        }
    }
    // The client itself would wait for the commit for as long as there is no broker, and to leave
    // the group for a session of 15 s.
    let closes = tokio::time::timeout(Duration::from_secs(12), payment.close());
    closes.await.expect("it ends").expect("closed");
}

/// The numbers of the messages in a topic, once these are there.
fn read_until(brokers: &str, topic: &str, numbers: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "reader");
    let client: BaseConsumer = config.create().expect("a client");
    let mut list = TopicPartitionList::new();
    for partition in 0..2 {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    client.assign(&list).expect("assigned");
    let end = Instant::now() + DEADLINE;
    let mut came = BTreeSet::new();
    while !numbers.is_subset(&came) {
        assert!(Instant::now() < end, "lost: {:?}", numbers.difference(&came));
        let Some(Ok(message)) = client.poll(Duration::from_millis(100)) else { continue };
        let body = std::str::from_utf8(message.payload().expect("a body")).expect("text");
        let number = body.strip_prefix("payload ").and_then(|number| number.parse().ok());
        came.insert(number.expect("a number"));
    }
    came
}
