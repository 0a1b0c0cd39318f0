//! Errors that a broker would give only in a bad hour, by the client's own mock of one.

use std::time::{Duration, Instant};

use dtx_core::{
    error::{Effect, ErrorKind},
    transport::Transport,
};
use dtx_transport_kafka::KafkaSettings;
use rdkafka::{
    mocking::MockCluster,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use crate::support::{DEADLINE, command, prefix};

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_a_broker_say_what_to_do() {
    let mock = MockCluster::new(1).expect("a mock");
    let prefix = prefix();
    mock.create_topic(&format!("{prefix}.saga.payment"), 2, 1).expect("a topic");
    let settings = KafkaSettings::new(&mock.bootstrap_servers()).expect("brokers");
    let settings = settings.topic_prefix(prefix).partitions(2).create_topics(false);
    let settings = settings.delivery_timeout(Duration::from_millis(500));
    let transport = settings.connect().await.expect("it connects");
    let publish = async || transport.publish(&[command(1)]).await.remove(0);
    publish().await.expect("published");

    use RDKafkaRespErr::*;
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
