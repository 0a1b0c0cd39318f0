//! Messages that a service writes in its own database transaction, to be sent after that has
//! committed.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::{json, transaction::Action};

/// The longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 256;
/// The longest key of an order, in bytes.
pub const ORDER_KEY_BYTES_MAX: usize = 256;

/// The id of a message: the same however often it is sent, so that whoever takes it in can tell a
/// repeat.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u128);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&uuid::Uuid::from_u128(self.0), f)
    }
}

impl Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to. What it means is up to the [`MessageSink`].
    pub topic: String,
    /// Messages of one key are sent in the order in which their transactions committed; those
    /// without a key in any order.
    pub key: Option<String>,
    /// What is sent.
    pub payload: Bytes,
}

impl Message {
    /// A message to this topic.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), key: None, payload: payload.into() }
    }

    /// A message that asks `participant` for `A`, in the topic that a coordinator as the sink
    /// understands: it starts a fire-and-forget transaction.
    ///
    /// # Errors
    /// When the input cannot be written as JSON.
    pub fn to<A: Action>(participant: &str, input: &A::Input) -> Result<Self, serde_json::Error> {
        let topic = format!("{participant}/{}/{}", A::NAME, A::VERSION);
        Ok(Self::new(topic, json::encode(input)?))
    }

    /// Keeps its place among the messages of this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its id.
    pub id: MessageId,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The message.
    pub message: Message,
}

/// Why a message was not sent. It is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotSent(pub String);

/// Where a relay sends messages to: a broker, a coordinator, anything.
#[async_trait]
pub trait MessageSink: Debug + Send + Sync + 'static {
    /// Sends messages of different keys. One result per message, in order; `Ok` only when the
    /// message is durable there. A message may come again with the same id, after `Ok` as well.
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<(), NotSent>>;
}
