//! From the client's errors to the transport's: by code, never by text.

use dtx_core::error::{Effect, ErrorKind, TransportError};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

pub(crate) const NAME: &str = "kafka";

/// What to do about an error, and which setting it is about.
struct Class {
    kind: ErrorKind,
    /// What a message may have done for which this came instead of a confirmation.
    effect: Effect,
    hint: &'static str,
}

const fn class(kind: ErrorKind, effect: Effect, hint: &'static str) -> Class {
    Class { kind, effect, hint }
}

/// What a code says. First what a setting or a right is about.
fn classify(code: Code) -> Class {
    use Effect::{None, Unknown};
    use ErrorKind::{Invalid, Unavailable};
    match code {
        Code::Resolve => class(Unavailable, None, "the setting brokers: a host has no address"),
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::BrokerNotAvailable => {
            class(Unavailable, Unknown, "the setting brokers: nobody can be reached there")
        }
        Code::SSL => class(
            Invalid,
            None,
            "the settings tls and root_certificate (and brokers: the host must be that of the certificate)",
        ),
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => class(
            Invalid,
            None,
            "the setting user: it is not let in with this password and mechanism",
        ),
        Code::TopicAuthorizationFailed => {
            class(Invalid, None, "the setting user: it has no right to this topic")
        }
        Code::GroupAuthorizationFailed => {
            class(Invalid, None, "the setting user: it has no right to this group")
        }
        Code::ClusterAuthorizationFailed => class(
            Invalid,
            None,
            "the setting user: it has no right to this, or set create_topics to false",
        ),
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => class(
            Invalid,
            None,
            "the topic is missing, or has too few partitions: see the settings create_topics, topic_prefix, layout and reply_partitions",
        ),
        Code::InvalidTopic => {
            class(Invalid, None, "the setting topic_prefix: the brokers refuse the name")
        }
        Code::InvalidReplicationFactor => {
            class(Invalid, None, "the setting replication: there are not that many brokers")
        }
        Code::InvalidPartitions => {
            class(Invalid, None, "the settings partitions and reply_partitions")
        }
        Code::PolicyViolation => class(Invalid, None, "a policy of the brokers forbids it"),
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => class(
            Invalid,
            None,
            "the message is too large: see the settings body_bytes_max and message_bytes_max, and message.max.bytes of the brokers",
        ),
        Code::InvalidSessionTimeout => {
            class(Invalid, None, "the setting session_timeout is not within what the brokers allow")
        }
        Code::InconsistentGroupProtocol => class(
            Invalid,
            None,
            "the group is one of other consumers: see the setting topic_prefix",
        ),
        Code::UnsupportedVersion | Code::UnsupportedFeature => {
            class(ErrorKind::Unsupported, None, "the brokers are too old")
        }
        _ => classify_passing(code),
    }
}

/// What may pass.
fn classify_passing(code: Code) -> Class {
    use Effect::{None, Unknown};
    use ErrorKind::{Closed, Internal, Timeout, Unavailable};
    match code {
        Code::MessageTimedOut | Code::RequestTimedOut | Code::OperationTimedOut => class(
            Timeout,
            Unknown,
            "see the settings delivery_timeout, connect_timeout and brokers",
        ),
        Code::QueueFull => class(Unavailable, None, "more messages wait than a producer holds"),
        Code::NotEnoughReplicas => {
            class(Unavailable, None, "too few replicas are in sync (min.insync.replicas)")
        }
        Code::NotEnoughReplicasAfterAppend => {
            class(Unavailable, Unknown, "too few replicas are in sync (min.insync.replicas)")
        }
        Code::BrokerDestroy => {
            class(Closed, Unknown, "it was closed before the message was confirmed")
        }
        // Whoever waits for a message keeps its client, unless it ends by itself. What waited in
        // the client then may have been sent before, and waited for its next try.
        Code::Fatal
        | Code::PurgeQueue
        | Code::PurgeInflight
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerEpoch
        | Code::InvalidProducerIdMapping => class(
            Unavailable,
            Unknown,
            "the producer and a broker do not agree about what was sent; the producer is replaced",
        ),
        Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::KafkaStorageError
        | Code::ThrottlingQuotaExceeded
        | Code::TimedOutQueue => {
            class(Unavailable, Unknown, "the brokers are busy with themselves")
        }
        _ => class(Internal, Unknown, ""),
    }
}

/// The error of a message that was not confirmed.
pub(crate) fn of_message(error: &KafkaError) -> TransportError {
    of(error, "publish")
}

/// A broker says so of a topic that is not there, and of one that was made a moment ago.
pub(crate) fn is_unknown_topic(met: &KafkaError) -> bool {
    let unknown = [Code::UnknownTopic, Code::UnknownTopicOrPartition, Code::UnknownPartition];
    met.rdkafka_error_code().is_some_and(|code| unknown.contains(&code))
}

/// The error of a call that changes nothing that anybody waits for.
pub(crate) fn of_call(error: &KafkaError, operation: &'static str) -> TransportError {
    of(error, operation).with_effect(Effect::None)
}

/// The error of what the brokers said about one topic or group.
pub(crate) fn of_code(code: Code, operation: &'static str, about: &str) -> TransportError {
    let class = classify(code);
    TransportError::new(class.kind, NAME, operation)
        .with_effect(Effect::None)
        .with_context(format!("{about}: {}", said(class.hint, code)))
}

fn of(error: &KafkaError, operation: &'static str) -> TransportError {
    let Some(code) = error.rdkafka_error_code() else {
        // It would not even begin: a setting is wrong, or the machine has no room. The value of
        // the setting may be a secret, so the error itself is not kept.
        let context = match error {
            KafkaError::ClientConfig(_, _, name, _) => format!("the client refuses {name}"),
            _ => "the client could not be made, see the settings root_certificate and user"
                .to_owned(),
        };
        return invalid(operation, context);
    };
    let class = classify(code);
    TransportError::new(class.kind, NAME, operation)
        .with_effect(class.effect)
        .with_context(said(class.hint, code))
        .with_source(error.clone())
}

fn said(hint: &str, code: Code) -> String {
    match hint.is_empty() {
        true => format!("{code:?}"),
        false => format!("{hint} ({code:?})"),
    }
}

pub(crate) fn error(kind: ErrorKind, operation: &'static str) -> TransportError {
    TransportError::new(kind, NAME, operation)
}

pub(crate) fn invalid(operation: &'static str, context: impl Into<String>) -> TransportError {
    error(ErrorKind::Invalid, operation).with_context(context)
}

#[cfg(test)]
mod tests {
    use dtx_core::error::Retry;

    use super::*;

    #[test]
    fn the_code_says_whether_to_try_again_whether_it_happened_and_what_to_mend() {
        for (code, kind, effect, names) in [
            (Code::Resolve, ErrorKind::Unavailable, Effect::None, "brokers"),
            (Code::BrokerTransportFailure, ErrorKind::Unavailable, Effect::Unknown, "brokers"),
            (Code::SSL, ErrorKind::Invalid, Effect::None, "root_certificate"),
            (Code::Authentication, ErrorKind::Invalid, Effect::None, "user"),
            (Code::TopicAuthorizationFailed, ErrorKind::Invalid, Effect::None, "user"),
            (Code::UnknownTopicOrPartition, ErrorKind::Invalid, Effect::None, "create_topics"),
            (Code::MessageSizeTooLarge, ErrorKind::Invalid, Effect::None, "message_bytes_max"),
            (Code::MessageTimedOut, ErrorKind::Timeout, Effect::Unknown, "delivery_timeout"),
            (Code::NotEnoughReplicas, ErrorKind::Unavailable, Effect::None, "min.insync"),
            (Code::NotEnoughReplicasAfterAppend, ErrorKind::Unavailable, Effect::Unknown, ""),
            (Code::BrokerDestroy, ErrorKind::Closed, Effect::Unknown, ""),
            (Code::PurgeQueue, ErrorKind::Unavailable, Effect::Unknown, "replaced"),
            (Code::PurgeInflight, ErrorKind::Unavailable, Effect::Unknown, "replaced"),
            (Code::OutOfOrderSequenceNumber, ErrorKind::Unavailable, Effect::Unknown, "replaced"),
            (Code::InvalidMessage, ErrorKind::Internal, Effect::Unknown, ""),
        ] {
            let error = of_message(&KafkaError::MessageProduction(code));
            assert_eq!((error.kind(), error.effect()), (kind, effect), "{code:?}");
            assert!(error.to_string().contains(names), "{error}");
            assert_eq!(
                error.retry() == Retry::Never,
                matches!(kind, ErrorKind::Invalid | ErrorKind::Closed)
            );
        }
    }
}
