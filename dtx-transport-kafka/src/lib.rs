//! The Kafka transport of dtx.
//!
//! Commands go to topics by pattern and participant, replies to one topic with a partition per
//! shard; the key is the transaction, everything but the user's bytes stands in headers. A group
//! of subscriptions is a consumer group, whose members share the partitions.
//!
//! Kafka remembers one offset per partition. It is moved only over messages that are settled
//! without a gap, so a message that is not acknowledged is never passed over; what was settled
//! beyond it is written beside the offset. A partition pauses when the first unacknowledged
//! message lies too far back. A message comes again when its subscription ends, when its partition
//! goes to another member of the group (the acknowledgement of the old one is `Fenced` then), or
//! after a `nack`; time alone does not bring it back.
//!
//! What cannot be read, and what was delivered too often, goes to `{prefix}.dead-letters` with the
//! reason in a header, and never stops its partition.
//!
//! `Ok` of a publish means that all replicas that are in sync have it. How many those must be is
//! the brokers' `min.insync.replicas`.
#![forbid(unsafe_code)]

mod client;
mod consumer;
mod context;
mod error;
mod feed;
mod hub;
mod layout;
mod letters;
mod plan;
mod producer;
mod progress;
mod record;
mod secret;
mod sender;
mod settings;
mod shared;
mod subscription;
mod topics;
mod transport;
mod uri;

pub use layout::{Layout, PREFIX_BYTES_MAX, TopicPrefix, TopicPrefixError};
pub use producer::KafkaStats;
pub use progress::SPAN_MAX;
pub use settings::{
    ATTEMPTS_MAX_DEFAULT, BATCH_MESSAGES_MAX_DEFAULT, BODY_BYTES_MAX_DEFAULT,
    COMMIT_INTERVAL_DEFAULT, CONNECT_TIMEOUT_DEFAULT, DELIVERY_TIMEOUT_DEFAULT, KafkaSettings,
    LINGER_DEFAULT, LOCAL_DELAY_MAX_DEFAULT, MESSAGE_BYTES_MAX_DEFAULT, PARTITIONS_DEFAULT,
    REPLY_PARTITIONS_DEFAULT, REVOKE_WAIT_DEFAULT, SESSION_TIMEOUT_DEFAULT, SaslMechanism,
    UNACKED_SPAN_MAX_DEFAULT,
};
pub use transport::KafkaTransport;
