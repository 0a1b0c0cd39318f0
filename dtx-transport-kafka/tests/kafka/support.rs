//! Transports with a topic prefix of their own.

use std::{
    env,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dtx_testkit::servers::{Kafka, Service};
use dtx_transport_kafka::{KafkaSettings, TopicPrefix};

/// The address of the broker.
pub(crate) fn brokers() -> String {
    let (variable, name) = (Kafka.variable(), Kafka.name());
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec {name} -- COMMAND sets it")
    })
}

/// A prefix that no other test has.
pub(crate) fn prefix() -> TopicPrefix {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    TopicPrefix::new(format!("t{now}-{}-{count}", std::process::id())).expect("it is valid")
}

/// The settings of a test: few partitions, and a group that finds itself soon.
pub(crate) fn settings() -> KafkaSettings {
    at(&brokers())
}

pub(crate) fn at(brokers: &str) -> KafkaSettings {
    KafkaSettings::new(brokers)
        .expect("brokers")
        .topic_prefix(prefix())
        .partitions(2)
        .batch_messages_max(2_000)
        .session_timeout(Duration::from_secs(2))
}
