//! JetStream's questions and answers, as far as they are used. All are of version 2.9 of the
//! server; of what newer ones say more is not read.

use std::time::Duration;

use bytes::Bytes;
use dtx_core::error::{ErrorKind, TransportError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    error::{error, invalid},
    link::{Link, Lost},
};

/// How long an answer is waited for once the server has complained.
const COMPLAINT_GRACE: Duration = Duration::from_millis(250);

/// What the numbers of JetStream's errors mean.
pub(crate) mod code {
    pub(crate) const CONSUMER_NOT_FOUND: u32 = 10_014;
    pub(crate) const INSUFFICIENT_RESOURCES: u32 = 10_023;
    pub(crate) const NOT_ENABLED_FOR_ACCOUNT: u32 = 10_039;
    pub(crate) const STREAM_NAME_EXIST: u32 = 10_058;
    pub(crate) const STREAM_NOT_FOUND: u32 = 10_059;
    pub(crate) const STREAM_SUBJECT_OVERLAP: u32 = 10_065;
    pub(crate) const NOT_ENABLED: u32 = 10_076;
    pub(crate) const STORE_FAILED: u32 = 10_077;
    pub(crate) const WORK_QUEUE_CONSUMER_NOT_UNIQUE: u32 = 10_100;
}

/// JetStream's no.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("JetStream says: {description} (code {code}, error {err_code})")]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

#[derive(Deserialize)]
struct Outcome {
    error: Option<Refusal>,
}

/// Why there is no answer of JetStream.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Refusal),
    Lost(Lost),
    /// It is none that we know. It is not read as a refusal either.
    Strange(serde_json::Error),
    /// The server said this instead.
    Forbidden(String),
}

impl Failure {
    /// Whether it is this error of JetStream.
    pub(crate) fn is(&self, code: u32) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.err_code == code)
    }

    /// The error of a call that was about `what`.
    pub(crate) fn of(self, operation: &'static str, what: &str) -> TransportError {
        match self {
            Self::Refused(refusal) => {
                let kind = match (refusal.code, refusal.err_code) {
                    (_, code::NOT_ENABLED | code::NOT_ENABLED_FOR_ACCOUNT) => {
                        return jetstream_is_off(operation).with_source(refusal);
                    }
                    (_, code::INSUFFICIENT_RESOURCES) | (500.., _) => ErrorKind::Unavailable,
                    (400..500, _) => ErrorKind::Invalid,
                    _ => ErrorKind::Internal,
                };
                let context = match refusal.err_code {
                    code::STREAM_SUBJECT_OVERLAP => format!(
                        "{what}: another stream has subjects of it; choose another `prefix`"
                    ),
                    code::WORK_QUEUE_CONSUMER_NOT_UNIQUE => format!(
                        "{what}: the stream has the retention `workqueue`, which serves one group"
                    ),
                    _ => what.to_owned(),
                };
                error(kind, operation).with_context(context).with_source(refusal)
            }
            Self::Lost(Lost::NoResponders) => jetstream_is_off(operation),
            Self::Lost(Lost::TooLarge) => {
                invalid(operation, format!("{what}: the server's `max_payload` is too small"))
            }
            Self::Lost(Lost::Unsent) => error(ErrorKind::Unavailable, operation)
                .with_context(format!("{what}: there is no connection")),
            Self::Lost(Lost::Late | Lost::Broken) => error(ErrorKind::Timeout, operation)
                .with_context(format!("{what}: no answer within `request_timeout`")),
            Self::Strange(source) => error(ErrorKind::Internal, operation)
                .with_context(format!("{what}: the answer is not understood"))
                .with_source(source),
            Self::Forbidden(said) => invalid(
                operation,
                format!("{what}: the server refuses; check the rights of the `user` ({said})"),
            ),
        }
    }
}

fn jetstream_is_off(operation: &'static str) -> TransportError {
    error(ErrorKind::Unsupported, operation).with_context(
        "JetStream is off, or not allowed to this account; start the server with `-js`",
    )
}

/// Reads an answer.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let outcome: Outcome = serde_json::from_slice(body).map_err(Failure::Strange)?;
    match outcome.error {
        Some(refusal) => Err(Failure::Refused(refusal)),
        None => serde_json::from_slice(body).map_err(Failure::Strange),
    }
}

/// Asks JetStream something that has to do with how it is set up.
pub(crate) async fn call<T: DeserializeOwned>(
    link: &Link,
    subject: String,
    request: &(impl Serialize + Sync),
    timeout: Duration,
) -> Result<T, Failure> {
    let body = serde_json::to_vec(request).map_err(Failure::Strange)?;
    let until = Instant::now() + timeout;
    let mut complaints = link.complaints();
    complaints.mark_unchanged();
    let answer = link.request(format!("$JS.API.{subject}"), Bytes::from(body), until);
    tokio::pin!(answer);
    // Missing rights are not answered: the server complains on the side, and about no call.
    let message = tokio::select! {
        biased;
        message = &mut answer => message,
        Ok(()) = complaints.changed() => {
            match tokio::time::timeout(COMPLAINT_GRACE, &mut answer).await {
                Ok(message) => message,
                Err(_) => {
                    let said = complaints.borrow().clone().unwrap_or_default();
                    return Err(Failure::Forbidden(said));
                }
            }
        }
    };
    read(&message.map_err(Failure::Lost)?.payload)
}

/// The answer to a message that was published to a stream.
#[derive(Debug, Deserialize)]
pub(crate) struct PublishAck {
    /// The stream that has it.
    #[serde(rename = "stream")]
    pub(crate) _stream: String,
}

/// A stream as it is, or should be.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) subjects: Vec<String>,
    pub(crate) retention: String,
    pub(crate) storage: String,
    pub(crate) discard: String,
    /// In nanoseconds; zero is for ever.
    pub(crate) max_age: u64,
    pub(crate) max_bytes: i64,
    pub(crate) max_msgs: i64,
    pub(crate) max_msgs_per_subject: i64,
    pub(crate) num_replicas: u32,
    /// In nanoseconds.
    #[serde(default)]
    pub(crate) duplicate_window: u64,
    #[serde(default)]
    pub(crate) no_ack: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
}

/// A consumer as it is, or should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConsumerConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) durable_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deliver_subject: Option<String>,
    pub(crate) deliver_policy: String,
    pub(crate) ack_policy: String,
    pub(crate) replay_policy: String,
    /// In nanoseconds.
    #[serde(default)]
    pub(crate) ack_wait: u64,
    #[serde(default)]
    pub(crate) max_deliver: i64,
    #[serde(default)]
    pub(crate) filter_subject: String,
    #[serde(default)]
    pub(crate) max_ack_pending: i64,
    /// In nanoseconds; zero is for ever.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) inactive_threshold: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Serialize)]
pub(crate) struct CreateConsumer<'a> {
    pub(crate) stream_name: &'a str,
    pub(crate) config: &'a ConsumerConfig,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ConsumerInfo {
    pub(crate) config: ConsumerConfig,
}

/// A wish for messages.
#[derive(Debug, Serialize)]
pub(crate) struct Pull {
    pub(crate) batch: usize,
    /// In nanoseconds.
    pub(crate) expires: u64,
}

/// A question without more to say.
#[derive(Debug, Serialize)]
pub(crate) struct Nothing {}

/// In nanoseconds.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_seen_by_its_number() {
        let body = br#"{"type":"t","error":{"code":404,"err_code":10059,"description":"no"}}"#;
        let refused = read::<StreamInfo>(body).expect_err("a refusal");
        assert!(refused.is(code::STREAM_NOT_FOUND) && !refused.is(code::CONSUMER_NOT_FOUND));
        assert_eq!(refused.of("connect", "x").kind(), ErrorKind::Invalid);
        let off = br#"{"error":{"code":503,"err_code":10076}}"#;
        let off = read::<StreamInfo>(off).expect_err("a refusal").of("connect", "x");
        assert_eq!(off.kind(), ErrorKind::Unsupported);
        assert!(off.to_string().contains("-js"), "{off}");
        let full = br#"{"error":{"code":503,"err_code":10077,"description":"full"}}"#;
        let full = read::<PublishAck>(full).expect_err("a refusal");
        assert_eq!(full.of("publish", "x").kind(), ErrorKind::Unavailable);
        assert!(matches!(read::<PublishAck>(b"{}"), Err(Failure::Strange(_))));
        assert!(read::<PublishAck>(br#"{"stream":"S","seq":1}"#).is_ok());
    }
}
