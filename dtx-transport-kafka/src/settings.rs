//! Where the brokers are and how they are used.

use std::{fmt, time::Duration};

use dtx_core::{
    error::TransportError,
    pattern::Pattern,
    transport::{TransportCapabilities, TransportInfo, TransportLimits, WireLimits},
};

use crate::{
    error::{NAME, invalid},
    layout::{Layout, TopicPrefix},
    progress::SPAN_MAX,
    secret::Secret,
    transport::KafkaTransport,
    uri,
};

/// The default of how many partitions a topic of commands, and that of inquiries, has.
pub const PARTITIONS_DEFAULT: u16 = 8;
/// The default of how many partitions the topic of replies has: one for each shard of a store
/// with the default number of shards.
pub const REPLY_PARTITIONS_DEFAULT: u16 = 64;
/// The default of the most messages in one `publish`.
pub const BATCH_MESSAGES_MAX_DEFAULT: usize = 8_192;
/// The default of the largest body, in bytes.
pub const BODY_BYTES_MAX_DEFAULT: usize = 768 << 10;
/// The default of the largest message with its headers, in bytes: what a broker takes unless it
/// is told otherwise.
pub const MESSAGE_BYTES_MAX_DEFAULT: usize = 1_048_576;
/// The default of the most offsets of one partition from the first unacknowledged message on.
pub const UNACKED_SPAN_MAX_DEFAULT: usize = SPAN_MAX;
/// The default of how often a message is delivered before it goes to the dead letters. A host
/// gives up earlier by itself, after 10.
pub const ATTEMPTS_MAX_DEFAULT: u32 = 20;
/// The default of the longest delay of a nack that is waited for in the process.
pub const LOCAL_DELAY_MAX_DEFAULT: Duration = Duration::from_secs(1);
/// The default of how long a connection, or an answer about topics and groups, may take.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The default of how long the brokers may take to accept a message.
pub const DELIVERY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// The default of how long a batch is filled before it is sent.
pub const LINGER_DEFAULT: Duration = Duration::from_millis(1);
/// The default of how often acknowledgements are committed.
pub const COMMIT_INTERVAL_DEFAULT: Duration = Duration::from_millis(200);
/// The default of how long a consumer may be silent before its partitions go to others.
pub const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);
/// The default of how long a partition that is to be given up waits for what is being handled.
pub const REVOKE_WAIT_DEFAULT: Duration = Duration::from_secs(5);

/// The largest prefetch of a subscription.
pub(crate) const PREFETCH_MAX: usize = 1 << 20;

/// How a client proves who it is.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) mechanism: SaslMechanism,
    pub(crate) user: String,
    pub(crate) password: Secret,
}

/// How a password is shown to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// As it is. Use it with TLS only.
    Plain,
    /// Never shown, SHA-256.
    ScramSha256,
    /// Never shown, SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// Its name in Kafka.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// The settings of a [`KafkaTransport`]. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    pub(crate) brokers: Brokers,
    pub(crate) prefix: TopicPrefix,
    pub(crate) layout: Layout,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) partitions: u16,
    pub(crate) reply_partitions: u16,
    pub(crate) replication: Option<u16>,
    pub(crate) create_topics: bool,
    pub(crate) batch_messages_max: usize,
    pub(crate) body_bytes_max: usize,
    pub(crate) message_bytes_max: usize,
    pub(crate) unacked_span_max: usize,
    pub(crate) attempts_max: u32,
    pub(crate) local_delay_max: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) commit_interval: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) revoke_wait: Duration,
    pub(crate) tls: bool,
    pub(crate) root_certificate: Option<String>,
    pub(crate) credentials: Option<Credentials>,
}

/// The brokers that are asked first.
#[derive(Clone)]
pub(crate) struct Brokers(pub(crate) Vec<String>);

impl Brokers {
    pub(crate) fn list(&self) -> String {
        self.0.join(",")
    }
}

impl fmt::Debug for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl KafkaSettings {
    /// The defaults, for the brokers of this URI:
    /// `kafka://[user:password@]host:port[,host:port..][?name=value&..]`, or `kafkas://` for TLS
    /// (feature `ssl`). One broker of the cluster is enough. The names are `prefix`, `layout`
    /// (`participant`, `pattern`, `subject`), `patterns` (`2ps,3ps`), `partitions`,
    /// `reply_partitions`, `replication`, `create_topics` (`true`, `false`), `ca` (a file) and `sasl` (`PLAIN`, `SCRAM-SHA-256`,
    /// `SCRAM-SHA-512`). A text without `://` is a list of brokers.
    ///
    /// # Errors
    /// `Invalid` for a text that is no such URI. The text is not repeated: it may have a password.
    pub fn new(uri: &str) -> Result<Self, TransportError> {
        uri::read(uri)
    }

    pub(crate) fn at(brokers: Vec<String>) -> Self {
        Self {
            brokers: Brokers(brokers),
            prefix: TopicPrefix::default(),
            layout: Layout::default(),
            patterns: Pattern::ALL.into(),
            partitions: PARTITIONS_DEFAULT,
            reply_partitions: REPLY_PARTITIONS_DEFAULT,
            replication: None,
            create_topics: true,
            batch_messages_max: BATCH_MESSAGES_MAX_DEFAULT,
            body_bytes_max: BODY_BYTES_MAX_DEFAULT,
            message_bytes_max: MESSAGE_BYTES_MAX_DEFAULT,
            unacked_span_max: UNACKED_SPAN_MAX_DEFAULT,
            attempts_max: ATTEMPTS_MAX_DEFAULT,
            local_delay_max: LOCAL_DELAY_MAX_DEFAULT,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            delivery_timeout: DELIVERY_TIMEOUT_DEFAULT,
            linger: LINGER_DEFAULT,
            commit_interval: COMMIT_INTERVAL_DEFAULT,
            session_timeout: SESSION_TIMEOUT_DEFAULT,
            revoke_wait: REVOKE_WAIT_DEFAULT,
            tls: false,
            root_certificate: None,
            credentials: None,
        }
    }

    /// What the names of all topics and groups begin with. Default `dtx`.
    #[must_use]
    pub fn topic_prefix(mut self, prefix: TopicPrefix) -> Self {
        self.prefix = prefix;
        self
    }

    /// Which topics there are for commands. The same for all that talk to each other. Default
    /// [`Layout::PerParticipant`].
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// The patterns that transactions are of. The topics of others are neither made nor read, which
    /// spares the brokers most of their work where one pattern is used; a command of another is
    /// refused. The same for all that talk to each other. Default all.
    #[must_use]
    pub fn patterns(mut self, patterns: impl IntoIterator<Item = Pattern>) -> Self {
        self.patterns = patterns.into_iter().collect();
        self
    }

    /// How many partitions a topic of commands, and those of inquiries, retries and dead letters,
    /// have, at least 1: the most members of a group that share its work. Default 8.
    #[must_use]
    pub fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    /// How many partitions the topic of replies has: at least as many as the store has shards.
    /// Default 64.
    #[must_use]
    pub fn reply_partitions(mut self, partitions: u16) -> Self {
        self.reply_partitions = partitions;
        self
    }

    /// On how many brokers each partition is kept. Default: as the brokers say
    /// (`default.replication.factor`), and nothing is checked.
    #[must_use]
    pub fn replication(mut self, brokers: u16) -> Self {
        self.replication = Some(brokers);
        self
    }

    /// Whether a topic that is missing is made. Default yes; needs the right to create topics.
    #[must_use]
    pub fn create_topics(mut self, create: bool) -> Self {
        self.create_topics = create;
        self
    }

    /// The most messages in one `publish`, at least 1. Default 8,192.
    #[must_use]
    pub fn batch_messages_max(mut self, messages: usize) -> Self {
        self.batch_messages_max = messages;
        self
    }

    /// The largest body, in bytes. Default 768 KiB.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// The largest message with its headers, in bytes: what the brokers take
    /// (`message.max.bytes`), and what topics are made with. Default 1 MiB.
    #[must_use]
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    /// The most offsets of one partition from the first message that is not acknowledged on, 1 to
    /// [`SPAN_MAX`](crate::SPAN_MAX). Where they are reached the partition pauses until that
    /// message is acknowledged. Default 4,096.
    #[must_use]
    pub fn unacked_span_max(mut self, offsets: usize) -> Self {
        self.unacked_span_max = offsets;
        self
    }

    /// How often a command is delivered before it goes to the dead letters instead, at least 1.
    /// Keep it above the number after which hosts give up by themselves. Default 20.
    #[must_use]
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts;
        self
    }

    /// The longest delay of a nack that is waited for in the process, with the message still
    /// unacknowledged. For a longer one the message is written to the topic of retries first, so
    /// that it does not hold up its partition. Default 1 s.
    #[must_use]
    pub fn local_delay_max(mut self, delay: Duration) -> Self {
        self.local_delay_max = delay;
        self
    }

    /// How long a connection, or an answer about topics and groups, may take. Default 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the brokers may take to accept a message, repeats included; after that the effect
    /// of the publish is unknown. Default 30 s.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// How long a batch is filled before it is sent. Default 1 ms.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How often acknowledgements are committed; what was acknowledged since comes again after a
    /// crash. Default 200 ms.
    #[must_use]
    pub fn commit_interval(mut self, interval: Duration) -> Self {
        self.commit_interval = interval;
        self
    }

    /// How long a consumer may be silent before its partitions go to others of its group, 1 s or
    /// more, and within what the brokers allow (`group.min.session.timeout.ms`). Default 15 s.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// How long a partition that is to go to another member of the group waits for what is being
    /// handled, so that it is not handled twice. Default 5 s.
    #[must_use]
    pub fn revoke_wait(mut self, wait: Duration) -> Self {
        self.revoke_wait = wait;
        self
    }

    /// Talks by TLS (feature `ssl`). The certificate of a broker must be of a known authority and
    /// of its host. Default no, but for `kafkas://`.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Trusts only these authorities (PEM) instead of those of the system, and talks by TLS.
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<String>) -> Self {
        self.root_certificate = Some(pem.into());
        self.tls = true;
        self
    }

    /// Proves who it is by a password (SASL; feature `ssl`).
    #[must_use]
    pub fn user(
        mut self,
        mechanism: SaslMechanism,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        let password = Secret::new(password);
        self.credentials = Some(Credentials { mechanism, user: user.into(), password });
        self
    }

    /// Connects; see [`KafkaTransport::connect`].
    ///
    /// # Errors
    /// Those of [`KafkaTransport::connect`].
    pub async fn connect(self) -> Result<KafkaTransport, TransportError> {
        KafkaTransport::connect(self).await
    }

    /// Refuses what cannot work, by the name of the setting.
    pub(crate) fn check(&self) -> Result<(), TransportError> {
        let at_least_one = [
            ("partitions", u64::from(self.partitions)),
            ("reply_partitions", u64::from(self.reply_partitions)),
            ("replication", self.replication.map_or(1, u64::from)),
            ("batch_messages_max", self.batch_messages_max as u64),
            ("body_bytes_max", self.body_bytes_max as u64),
            ("unacked_span_max", self.unacked_span_max as u64),
            ("attempts_max", u64::from(self.attempts_max)),
            ("connect_timeout", millis(self.connect_timeout)),
            ("delivery_timeout", millis(self.delivery_timeout)),
            ("commit_interval", millis(self.commit_interval)),
        ];
        if let Some((name, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(invalid("connect", format!("the setting {name} is 0; give at least 1")));
        }
        let wrong = |context: String| Err(invalid("connect", context));
        if self.patterns.is_empty() {
            return wrong("the setting patterns is empty; give at least one".to_owned());
        }
        if self.unacked_span_max > SPAN_MAX {
            return wrong(format!("the setting unacked_span_max is over {SPAN_MAX}"));
        }
        if self.session_timeout < Duration::from_secs(1) {
            return wrong("the setting session_timeout is under 1 s".to_owned());
        }
        if !(1_000..=1_000_000_000).contains(&self.message_bytes_max) {
            return wrong("the setting message_bytes_max is not from 1,000 to 10^9".to_owned());
        }
        if self.body_bytes_max >= self.message_bytes_max {
            return wrong("the setting body_bytes_max is not below message_bytes_max".to_owned());
        }
        if !cfg!(feature = "ssl") && (self.tls || self.credentials.is_some()) {
            return wrong("TLS and users need the feature `ssl` of dtx-transport-kafka".to_owned());
        }
        Ok(())
    }

    pub(crate) fn info(&self) -> TransportInfo {
        TransportInfo {
            name: NAME,
            capabilities: TransportCapabilities {
                durable: true,
                ordered_by_transaction: self.layout != Layout::PerSubject,
            },
            limits: TransportLimits {
                batch_messages_max: self.batch_messages_max,
                body_bytes_max: self.body_bytes_max,
                ack_wait: None,
            },
        }
    }

    pub(crate) fn wire_limits(&self) -> WireLimits {
        WireLimits {
            headers_bytes_max: self.message_bytes_max,
            body_bytes_max: self.body_bytes_max,
        }
    }
}

/// Milliseconds, as Kafka takes times; at most what fits there.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(i32::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> KafkaSettings {
        KafkaSettings::at(vec!["h:1".to_owned()])
    }

    #[test]
    fn each_bound_holds_at_the_limit_and_names_itself_one_past_it() {
        type Change = fn(KafkaSettings) -> KafkaSettings;
        let cases: [(&str, Change, Change); 13] = [
            ("patterns", |s| s.patterns([Pattern::Saga]), |s| s.patterns([])),
            ("partitions", |s| s.partitions(1), |s| s.partitions(0)),
            ("reply_partitions", |s| s.reply_partitions(1), |s| s.reply_partitions(0)),
            ("replication", |s| s.replication(1), |s| s.replication(0)),
            ("batch_messages_max", |s| s.batch_messages_max(1), |s| s.batch_messages_max(0)),
            ("unacked_span_max", |s| s.unacked_span_max(1), |s| s.unacked_span_max(0)),
            (
                "unacked_span_max",
                |s| s.unacked_span_max(SPAN_MAX),
                |s| s.unacked_span_max(SPAN_MAX + 1),
            ),
            ("attempts_max", |s| s.attempts_max(1), |s| s.attempts_max(0)),
            (
                "session_timeout",
                |s| s.session_timeout(Duration::from_secs(1)),
                |s| s.session_timeout(Duration::from_millis(999)),
            ),
            (
                "message_bytes_max",
                |s| s.message_bytes_max(1_000).body_bytes_max(999),
                |s| s.message_bytes_max(999).body_bytes_max(1),
            ),
            (
                "body_bytes_max",
                |s| s.body_bytes_max(MESSAGE_BYTES_MAX_DEFAULT - 1),
                |s| s.body_bytes_max(MESSAGE_BYTES_MAX_DEFAULT),
            ),
            (
                "commit_interval",
                |s| s.commit_interval(Duration::from_millis(1)),
                |s| s.commit_interval(Duration::from_micros(999)),
            ),
            (
                "delivery_timeout",
                |s| s.delivery_timeout(Duration::from_millis(1)),
                |s| s.delivery_timeout(Duration::ZERO),
            ),
        ];
        for (name, at, past) in cases {
            assert!(at(settings()).check().is_ok(), "{name}");
            let error = past(settings()).check().expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let settings = settings().user(SaslMechanism::Plain, "app", "hunter2");
        let shown = format!("{settings:?}");
        assert!(shown.contains("app") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(settings.check().is_ok(), cfg!(feature = "ssl"));
    }
}
