//! What producers and consumers share: their configuration, their log, and their end.

use std::sync::{Mutex, PoisonError};

use rdkafka::{
    config::{ClientConfig, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::settings::{KafkaSettings, millis};

/// How often the client counts, in milliseconds.
const STATISTICS_MS: &str = "1000";

/// The last thing that a client complained about on its own: a call that waits for a broker ends
/// by its time-out alone, and this says why.
#[derive(Debug, Default)]
pub(crate) struct LastError(Mutex<Option<RDKafkaErrorCode>>);

impl LastError {
    pub(crate) fn note(&self, error: &KafkaError) {
        let Some(code) = error.rdkafka_error_code() else { return };
        tracing::debug!(?code, "the Kafka client complains");
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // That nobody is left says less than why.
        let says_why = |code: &RDKafkaErrorCode| {
            matches!(
                code,
                RDKafkaErrorCode::SSL
                    | RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::Resolve
            )
        };
        if !last.as_ref().is_some_and(says_why) {
            *last = Some(code);
        }
    }

    pub(crate) fn take(&self) -> Option<RDKafkaErrorCode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The client's log is ours.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(facility, "{text}"),
        _ => tracing::debug!(facility, "{text}"),
    }
}

/// Drops a client on a thread of its own: that waits for the client's own threads.
pub(crate) fn drop_apart<T: Send + 'static>(name: &str, client: Option<T>) {
    if let Some(client) = client {
        apart(name, move || drop(client));
    }
}

/// Does what may block on a thread of its own.
pub(crate) fn apart(name: &str, blocks: impl FnOnce() + Send + 'static) {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(blocks);
    if let Err(error) = started {
        tracing::warn!(%error, name, "a thread could not be started");
    }
}

impl KafkaSettings {
    /// What every client is told.
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        let timeout = millis(self.connect_timeout).max(1_000).to_string();
        config
            .set("bootstrap.servers", self.brokers.list())
            .set("client.id", self.prefix.as_str())
            .set("socket.connection.setup.timeout.ms", timeout)
            .set("socket.nagle.disable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.fast.interval.ms", "50")
            .set("log.connection.close", "false");
        let protocol = match (self.tls, self.credentials.is_some()) {
            (false, false) => "plaintext",
            (false, true) => "sasl_plaintext",
            (true, false) => "ssl",
            (true, true) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if self.tls {
            config.set("enable.ssl.certificate.verification", "true");
            config.set("ssl.endpoint.identification.algorithm", "https");
            if let Some(pem) = &self.root_certificate {
                config.set("ssl.ca.pem", pem);
            }
        }
        if let Some(credentials) = &self.credentials {
            config
                .set("sasl.mechanism", credentials.mechanism.name())
                .set("sasl.username", &credentials.user)
                .set("sasl.password", credentials.password.reveal());
        }
        config
    }

    /// Every message once, in order, and confirmed by all replicas that are in sync.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("delivery.timeout.ms", millis(self.delivery_timeout).max(1).to_string())
            .set("linger.ms", self.linger.as_secs_f64().mul_add(1_000.0, 0.0).to_string())
            .set("message.max.bytes", self.message_bytes_max.to_string())
            .set("statistics.interval.ms", STATISTICS_MS);
        config
    }

    /// Asks about topics and makes them, but never by asking for one.
    pub(crate) fn admin(&self) -> ClientConfig {
        let mut config = self.client();
        config.set("allow.auto.create.topics", "false");
        config
    }

    /// A consumer of this group that says itself what is handled.
    pub(crate) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.client();
        let session = millis(self.session_timeout);
        config
            .set("group.id", group)
            .set("allow.auto.create.topics", "false")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            // Not cooperative: there a commit that meets a change of the group costs the member all
            // its partitions (librdkafka issue 4059, mended in 2.8.0). Here nothing is assigned
            // while the group changes, and so nothing is committed.
            .set("partition.assignment.strategy", "roundrobin")
            .set("session.timeout.ms", session.to_string())
            .set("heartbeat.interval.ms", (session / 20).clamp(50, 1_000).to_string())
            .set("max.poll.interval.ms", session.max(300_000).to_string())
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "50")
            .set("fetch.message.max.bytes", self.message_bytes_max.max(1 << 20).to_string());
        config
    }
}
