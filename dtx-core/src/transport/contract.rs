//! The traits of a transport.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;

use crate::{
    error::TransportError,
    ids::{HolderId, ShardId},
    name::ParticipantName,
    transport::Envelope,
};

/// What a transport offers beyond the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportCapabilities {
    /// An accepted message survives the crash of the transport.
    pub durable: bool,
    /// Messages of one transaction to one participant arrive in the order of their publishing,
    /// as long as none is delivered again. Nothing in dtx relies on it.
    pub ordered_by_transaction: bool,
}

/// What a transport takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportLimits {
    /// The most messages in one `publish`.
    pub batch_messages_max: usize,
    /// The largest body, in bytes, as [`Envelope::body_bytes`] counts them.
    pub body_bytes_max: usize,
    /// After how long a delivery that is neither acknowledged nor extended comes again; `None`
    /// where only the end of its subscription brings it back.
    pub ack_wait: Option<Duration>,
}

/// What a transport says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportInfo {
    /// Its product name, such as `inmem`.
    pub name: &'static str,
    /// What it offers.
    pub capabilities: TransportCapabilities,
    /// What it takes.
    pub limits: TransportLimits,
}

/// What became of one message.
pub type PublishResult = Result<(), TransportError>;

/// What a subscription receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// All commands for a participant, whatever the pattern and the phase.
    Participant(ParticipantName),
    /// The replies for these shards.
    Replies(Vec<ShardId>),
    /// The inquiries of participants.
    Inquiries,
    /// The answers to the inquiries that one host made.
    InquiryAnswers(HolderId),
}

/// A wish to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// What to receive.
    pub interest: Interest,
    /// Subscriptions of one group share the messages: each goes to one of them. Different groups
    /// each get every message.
    pub group: String,
    /// How many messages may be delivered and not yet acknowledged; at least 1.
    pub prefetch: usize,
}

/// Names a delivery in its subscription, for acknowledging it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AckToken {
    /// The generation of the subscription; a token of an older one is refused.
    pub generation: u64,
    /// The number of the delivery.
    pub number: u64,
}

/// A message that arrived.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// For acknowledging it.
    pub token: AckToken,
    /// How many times it was delivered, this time included, where the transport knows.
    pub attempt: u32,
    /// The message.
    pub envelope: Envelope,
}

/// A message that could not be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack {
    /// Which.
    pub token: AckToken,
    /// Deliver it again after this long.
    pub delay: Duration,
}

/// Carries messages at least once. Loss, duplicates and reordering are all expected above it.
///
/// The numbered sentences are those that the conformance suite checks, each by a case of its own.
///
/// # Cancel safety
/// **T14** A dropped `publish` may have published any part of the batch; the next one works.
#[async_trait]
pub trait Transport: Debug + Send + Sync + 'static {
    /// **T1** What the transport says of itself, without I/O; it has limits.
    fn info(&self) -> &TransportInfo;

    /// **T2** Publishes a batch: one result per message, in order; where the transport is
    /// durable, `Ok` means that the message is durable. **T3** A full queue waits, and holds up
    /// only the messages that go to it. **T4** A body past the limit is `ErrorKind::Invalid`.
    /// **T5** So is every message of a batch past the limit. **T6** After `close` it is
    /// `ErrorKind::Closed`.
    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult>;

    /// Subscribes. **T7** Messages published before the first subscription of a group are kept
    /// where the transport is durable, and may be lost elsewhere. **T8** Only what was asked for
    /// is received. **T9** A message goes to one subscription of a group. **T10** It goes to each
    /// group. **T11** No more than `prefetch` are out. **T12** Messages arrive as they were
    /// published, every field of them.
    ///
    /// `ErrorKind::Closed` after `close`.
    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError>;

    /// **T13** Publishes what is buffered and ends all subscriptions: a `receive` that waits ends
    /// too.
    ///
    /// Idempotent.
    async fn close(&self) -> Result<(), TransportError>;
}

/// One subscription. It has one owner.
#[async_trait]
pub trait Subscription: Debug + Send {
    /// **T15** Receives up to `max` messages. **T16** Never waits for more than the first one.
    /// **T17** Waits up to `wait` for it, and is empty when none came. **T18** After `close` it is
    /// `ErrorKind::Closed`.
    ///
    /// # Cancel safety
    /// **T19** Cancel safe: a message that was not returned is delivered again or stays queued.
    async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, TransportError>;

    /// **T20** What is not acknowledged is delivered again after the `ack_wait`, if there is one.
    /// **T21** These are handled and are not delivered again. **T22** A second acknowledgement is
    /// no error. **T23** A token of another generation is `ErrorKind::Fenced`, which does not keep
    /// the other tokens of the call from being settled.
    ///
    /// One that comes after the redelivery settles nothing.
    async fn ack(&mut self, tokens: &[AckToken]) -> Result<(), TransportError>;

    /// **T24** These are delivered again, to any subscription of the group. **T25** Not before
    /// their delay has passed.
    ///
    /// A token that is settled already is no error; stale ones are as in [`Self::ack`].
    async fn nack(&mut self, nacks: &[Nack]) -> Result<(), TransportError>;

    /// **T26** These are still being handled: their `ack_wait` begins anew, so that a slow handler
    /// is not asked twice; nothing happens where the transport has none. **T27** A token that is
    /// settled, or whose message has come again meanwhile, is no error.
    ///
    /// Stale ones are as in [`Self::ack`].
    async fn extend(&mut self, tokens: &[AckToken]) -> Result<(), TransportError>;

    /// **T28** Ends the subscription; what is not acknowledged goes to the others of its group.
    /// **T29** Again is no error.
    ///
    /// Dropping the subscription does the same.
    async fn close(&mut self) -> Result<(), TransportError>;
}
