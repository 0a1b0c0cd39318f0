//! Where the servers are and how they are used.

use std::{fmt, time::Duration};

use dtx_core::error::TransportError;

use crate::{error::invalid, names::Names, uri::Address};

/// The default of how long a connection may take to be made.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// The default of how long one answer of a server may take.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// The default of how long a `publish` goes on trying.
pub const PUBLISH_TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
/// The default of after how long an unacknowledged delivery comes again.
pub const ACK_WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// The default of how many times a command is delivered.
pub const DELIVERIES_MAX_DEFAULT: u32 = 100;
/// The default of the most messages in one `publish`.
pub const BATCH_MESSAGES_MAX_DEFAULT: usize = 4_096;
/// The default of the largest body, in bytes.
pub const BODY_BYTES_MAX_DEFAULT: usize = 512 << 10;
/// The default of how long messages stay that coordinators send again.
pub const MESSAGE_AGE_MAX_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// The default of how long messages of 0.5PS stay.
pub const DISPATCH_AGE_MAX_DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The default of how many messages of one queue may be unacknowledged in a whole group.
pub const UNACKNOWLEDGED_MAX_DEFAULT: u32 = 65_536;

/// The least [`NatsSettings::ack_wait`]: what an acknowledgement needs to get there.
const ACK_WAIT_LEAST: Duration = Duration::from_millis(100);
/// The most [`NatsSettings::ack_wait`].
const ACK_WAIT_MOST: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest timeout. Of `publish`: the server forgets ids after two minutes.
const TIMEOUT_MOST: Duration = Duration::from_secs(100);
/// The least age that a server takes.
const AGE_LEAST: Duration = Duration::from_secs(1);

/// The settings of a [`NatsTransport`](crate::NatsTransport). `Debug` shows no secret.
#[derive(Clone)]
pub struct NatsSettings {
    pub(crate) servers: Vec<Address>,
    pub(crate) user: Option<(String, String)>,
    pub(crate) token: Option<String>,
    pub(crate) root_certificate: Option<Vec<u8>>,
    pub(crate) client_certificate: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) names: Names,
    pub(crate) replicas: u32,
    pub(crate) message_age_max: Duration,
    pub(crate) dispatch_age_max: Duration,
    pub(crate) stream_bytes_max: Option<u64>,
    pub(crate) ack_wait: Duration,
    pub(crate) deliveries_max: u32,
    pub(crate) unacknowledged_max: u32,
    pub(crate) batch_messages_max: usize,
    pub(crate) body_bytes_max: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) publish_timeout: Duration,
    pub(crate) best_effort_dispatch: bool,
}

impl fmt::Debug for NatsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(|a| a.server.as_url_str()).collect();
        f.debug_struct("NatsSettings")
            .field("servers", &servers)
            .field("user", &self.user.as_ref().map(|(user, _)| user))
            .field("has_token", &self.token.is_some())
            .field("own_root_certificate", &self.root_certificate.is_some())
            .field("client_certificate", &self.client_certificate.is_some())
            .field("prefix", &self.names.prefix())
            .field("replicas", &self.replicas)
            .field("message_age_max", &self.message_age_max)
            .field("dispatch_age_max", &self.dispatch_age_max)
            .field("stream_bytes_max", &self.stream_bytes_max)
            .field("ack_wait", &self.ack_wait)
            .field("deliveries_max", &self.deliveries_max)
            .field("unacknowledged_max", &self.unacknowledged_max)
            .field("batch_messages_max", &self.batch_messages_max)
            .field("body_bytes_max", &self.body_bytes_max)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("publish_timeout", &self.publish_timeout)
            .field("best_effort_dispatch", &self.best_effort_dispatch)
            .finish()
    }
}

impl NatsSettings {
    /// The defaults, for the server or the cluster at this address:
    /// `nats://[user:password@]host[:port]`, or `tls://` for TLS, whose certificate must be of a
    /// known authority and of this host. `?prefix=NAME` is [`prefix`](Self::prefix).
    ///
    /// # Errors
    /// `Invalid` for a text that is no such address. The text is not repeated: it may have a
    /// password.
    pub fn new(address: &str) -> Result<Self, TransportError> {
        let address: Address = address.parse()?;
        let (user, prefix) = (address.login.clone(), address.prefix.clone());
        let settings = Self {
            servers: vec![address],
            user,
            token: None,
            root_certificate: None,
            client_certificate: None,
            names: Names::default(),
            replicas: 1,
            message_age_max: MESSAGE_AGE_MAX_DEFAULT,
            dispatch_age_max: DISPATCH_AGE_MAX_DEFAULT,
            stream_bytes_max: None,
            ack_wait: ACK_WAIT_DEFAULT,
            deliveries_max: DELIVERIES_MAX_DEFAULT,
            unacknowledged_max: UNACKNOWLEDGED_MAX_DEFAULT,
            batch_messages_max: BATCH_MESSAGES_MAX_DEFAULT,
            body_bytes_max: BODY_BYTES_MAX_DEFAULT,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            request_timeout: REQUEST_TIMEOUT_DEFAULT,
            publish_timeout: PUBLISH_TIMEOUT_DEFAULT,
            best_effort_dispatch: false,
        };
        match prefix {
            Some(prefix) => settings.prefix(&prefix),
            None => Ok(settings),
        }
    }

    /// One more server of the same cluster. User and password are those of the first address.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn server(mut self, address: &str) -> Result<Self, TransportError> {
        self.servers.push(address.parse()?);
        Ok(self)
    }

    /// Who we are, instead of what the address says.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some((user.into(), password.into()));
        self
    }

    /// A token instead of a user.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Trusts only these authorities (PEM) under `tls://`, instead of those of the system.
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }

    /// Shows the server this certificate with its key, both PEM, under `tls://`.
    #[must_use]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.client_certificate = Some((certificate.into(), key.into()));
        self
    }

    /// Keeps several deployments of one account apart: streams are `DTX_{prefix}_..`, subjects
    /// begin with `{prefix}.`. Default: none.
    ///
    /// # Errors
    /// `Invalid` unless it is 1 to 64 bytes of `a-z`, `0-9`, `-`, `_` that begin with a letter or
    /// a digit, and no word with which subjects begin already.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, TransportError> {
        self.names = Names::within(prefix).ok_or_else(|| {
            invalid(
                "connect",
                "`prefix` is 1 to 64 bytes of a-z, 0-9, '-', '_', and no pattern, `response`, \
                 `inquiry` or `dead`",
            )
        })?;
        Ok(self)
    }

    /// On how many servers of a cluster each message is kept, 1 to 5, in streams that are made
    /// here. Default 1.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// How long messages stay that coordinators send again: commands of all patterns but 0.5PS,
    /// replies, inquiries. At least 1 s; in streams that are made here. A participant's inbox must
    /// remember for longer. Default 1 hour.
    #[must_use]
    pub fn message_age_max(mut self, age: Duration) -> Self {
        self.message_age_max = age;
        self
    }

    /// How long messages of 0.5PS stay, which is how long a participant of them may be away. At
    /// least 1 s; in streams that are made here. Default 7 days.
    #[must_use]
    pub fn dispatch_age_max(mut self, age: Duration) -> Self {
        self.dispatch_age_max = age;
        self
    }

    /// How many bytes each stream that is made here may have. At the bound `publish` waits, and
    /// fails after [`publish_timeout`](Self::publish_timeout). Default: the server's limits.
    #[must_use]
    pub fn stream_bytes_max(mut self, bytes: u64) -> Self {
        self.stream_bytes_max = Some(bytes);
        self
    }

    /// After how long a delivery comes again that is neither acknowledged nor extended; from 100 ms
    /// to a day. The same in all members of a group. Default 30 s.
    #[must_use]
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.ack_wait = wait;
        self
    }

    /// How many times a command is delivered before it goes to the stream `DTX_DEAD`, at least 1.
    /// More than a host's own limit, which is 10 by default. Default 100.
    #[must_use]
    pub fn deliveries_max(mut self, deliveries: u32) -> Self {
        self.deliveries_max = deliveries;
        self
    }

    /// How many messages of one pattern a whole group may have received and not yet acknowledged,
    /// those that wait for their delay included; at least 1. The same in all members of a group.
    /// Default 65,536.
    #[must_use]
    pub fn unacknowledged_max(mut self, messages: u32) -> Self {
        self.unacknowledged_max = messages;
        self
    }

    /// The most messages in one `publish`, at least 1. Default 4,096.
    #[must_use]
    pub fn batch_messages_max(mut self, messages: usize) -> Self {
        self.batch_messages_max = messages;
        self
    }

    /// The largest body, in bytes, at least 1. The server's `max_payload` must have room for four
    /// thirds of it and 64 KiB of headers. Default 512 KiB, which fits a server's default.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// How long a connection may take to be made; at most 100 s. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one answer of the server may take; at most 100 s. Default 5 s.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long a `publish` goes on sending again, under the same ids, what the server has not
    /// acknowledged; at most 100 s, for a server forgets ids after two minutes. Default 20 s.
    #[must_use]
    pub fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.publish_timeout = timeout;
        self
    }

    /// Sends the commands of 0.5PS without a stream: faster, and lost when nobody listens or a
    /// server ends. The transport then says that it is not durable, and coordinators ask for
    /// confirmations of them. The same in all members of a deployment. Default `false`.
    #[must_use]
    pub fn best_effort_dispatch(mut self, is_so: bool) -> Self {
        self.best_effort_dispatch = is_so;
        self
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        self.servers.iter().any(|address| address.is_tls)
    }

    /// Says what cannot work.
    pub(crate) fn check(&self) -> Result<(), TransportError> {
        let wrong = [
            ("`replicas` is not from 1 to 5", !(1..=5).contains(&self.replicas)),
            ("`message_age_max` is less than 1 s", self.message_age_max < AGE_LEAST),
            ("`dispatch_age_max` is less than 1 s", self.dispatch_age_max < AGE_LEAST),
            ("`stream_bytes_max` is zero", self.stream_bytes_max == Some(0)),
            ("`ack_wait` is less than 100 ms", self.ack_wait < ACK_WAIT_LEAST),
            ("`ack_wait` is more than a day", self.ack_wait > ACK_WAIT_MOST),
            ("`deliveries_max` is zero", self.deliveries_max == 0),
            ("`unacknowledged_max` is zero", self.unacknowledged_max == 0),
            ("`batch_messages_max` is zero", self.batch_messages_max == 0),
            ("`body_bytes_max` is zero", self.body_bytes_max == 0),
            ("`connect_timeout` is zero", self.connect_timeout.is_zero()),
            ("`request_timeout` is zero", self.request_timeout.is_zero()),
            ("`publish_timeout` is zero", self.publish_timeout.is_zero()),
            ("`connect_timeout` is more than 100 s", self.connect_timeout > TIMEOUT_MOST),
            ("`request_timeout` is more than 100 s", self.request_timeout > TIMEOUT_MOST),
            ("`publish_timeout` is more than 100 s", self.publish_timeout > TIMEOUT_MOST),
            ("`user` and `token` are both given", self.user.is_some() && self.token.is_some()),
        ];
        match wrong.iter().find(|(_, is_wrong)| *is_wrong) {
            Some((what, _)) => Err(invalid("connect", *what)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let settings = NatsSettings::new("tls://me:hunter2@example.org:7000").expect("good");
        let settings = settings.user("me", "hunter3").client_certificate("hunter4", "hunter5");
        let shown = format!("{:?}", settings.token("hunter6").root_certificate("hunter7"));
        assert!(shown.contains("example.org:7000") && shown.contains("\"me\""), "{shown}");
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn a_setting_past_its_limit_is_refused_by_name_and_the_limit_is_taken() {
        let least = NatsSettings::new("nats://h")
            .expect("good")
            .message_age_max(AGE_LEAST)
            .dispatch_age_max(AGE_LEAST)
            .stream_bytes_max(1)
            .ack_wait(ACK_WAIT_LEAST)
            .deliveries_max(1)
            .unacknowledged_max(1)
            .batch_messages_max(1)
            .body_bytes_max(1)
            .connect_timeout(TIMEOUT_MOST)
            .request_timeout(TIMEOUT_MOST)
            .publish_timeout(TIMEOUT_MOST);
        least.clone().ack_wait(ACK_WAIT_MOST).check().expect("it is not too much");
        let past = TIMEOUT_MOST + Duration::from_nanos(1);
        for replicas in [1, 5] {
            least.clone().replicas(replicas).check().expect("it is enough");
        }
        let short = Duration::from_millis(99);
        let bad = [
            (least.clone().replicas(0), "replicas"),
            (least.clone().replicas(6), "replicas"),
            (least.clone().message_age_max(short), "message_age_max"),
            (least.clone().dispatch_age_max(short), "dispatch_age_max"),
            (least.clone().stream_bytes_max(0), "stream_bytes_max"),
            (least.clone().ack_wait(short), "ack_wait"),
            (least.clone().deliveries_max(0), "deliveries_max"),
            (least.clone().unacknowledged_max(0), "unacknowledged_max"),
            (least.clone().batch_messages_max(0), "batch_messages_max"),
            (least.clone().body_bytes_max(0), "body_bytes_max"),
            (least.clone().connect_timeout(Duration::ZERO), "connect_timeout"),
            (least.clone().request_timeout(Duration::ZERO), "request_timeout"),
            (least.clone().publish_timeout(Duration::ZERO), "publish_timeout"),
            (least.clone().connect_timeout(past), "connect_timeout"),
            (least.clone().request_timeout(past), "request_timeout"),
            (least.clone().publish_timeout(past), "publish_timeout"),
            (least.clone().ack_wait(ACK_WAIT_MOST + Duration::from_nanos(1)), "ack_wait"),
            (least.clone().user("a", "b").token("c"), "token"),
        ];
        for (settings, name) in bad {
            let error = settings.check().expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn an_address_may_name_the_prefix() {
        let settings = NatsSettings::new("nats://h?prefix=shop").expect("good");
        assert_eq!(settings.names.prefix(), Some("shop"));
        assert!(NatsSettings::new("nats://h?prefix=3ps").is_err());
    }
}
