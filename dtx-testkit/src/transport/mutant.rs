//! Transports that are wrong on purpose, to show that the suite sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use dtx_core::{
    error::{ErrorKind, TransportError},
    ids::{Epoch, HolderId, ShardId},
    name::ParticipantName,
    transport::{Body, Envelope, PublishResult, Subscribe, Subscription, Transport, TransportInfo},
};

use super::{TransportHarness, messages, mutant_subscription::MutantSubscription};

/// What is wrong with a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each name is its own description.
pub enum Fault {
    HasNoLimits,
    LosesTheFirstOfABatch,
    SendsTwice,
    ReversesABatch,
    ForgetsTheEpoch,
    ForgetsHeaders,
    TakesBodiesForText,
    LosesWhatComesBeforeASubscription,
    SendsToOthersToo,
    NeverWaitsForRoom,
    SplitsLargeBatches,
    SaysOkToLargeBodies,
    HasOneResultForAll,
    IsStuckAfterADroppedPublish,
    IgnoresCloseOfTransport,
    GivesEachItsOwnGroup,
    HasOneGroup,
    IgnoresPrefetch,
    ReturnsTooMany,
    WaitsForMore,
    DoesNotWait,
    LosesOnDroppedReceive,
    AcksOnReceive,
    RepeatsAtOnce,
    ForgetsTheAttempt,
    IgnoresAck,
    RefusesAnEmptyAck,
    RefusesASecondAck,
    IgnoresNack,
    IgnoresTheDelay,
    AcceptsStaleTokens,
    IgnoresExtend,
    AcksOnExtend,
    RefusesALateExtend,
    HidesItsAckWait,
    IgnoresCloseOfSubscription,
    RefusesASecondClose,
    StopsAtTheUnreadable,
    IsStuckAfterARestart,
}

impl Fault {
    /// All faults.
    pub const ALL: &[Self] = &[
        Self::HasNoLimits,
        Self::LosesTheFirstOfABatch,
        Self::SendsTwice,
        Self::ReversesABatch,
        Self::ForgetsTheEpoch,
        Self::ForgetsHeaders,
        Self::TakesBodiesForText,
        Self::LosesWhatComesBeforeASubscription,
        Self::SendsToOthersToo,
        Self::NeverWaitsForRoom,
        Self::SplitsLargeBatches,
        Self::SaysOkToLargeBodies,
        Self::HasOneResultForAll,
        Self::IsStuckAfterADroppedPublish,
        Self::IgnoresCloseOfTransport,
        Self::GivesEachItsOwnGroup,
        Self::HasOneGroup,
        Self::IgnoresPrefetch,
        Self::ReturnsTooMany,
        Self::WaitsForMore,
        Self::DoesNotWait,
        Self::LosesOnDroppedReceive,
        Self::AcksOnReceive,
        Self::RepeatsAtOnce,
        Self::ForgetsTheAttempt,
        Self::IgnoresAck,
        Self::RefusesAnEmptyAck,
        Self::RefusesASecondAck,
        Self::IgnoresNack,
        Self::IgnoresTheDelay,
        Self::AcceptsStaleTokens,
        Self::IgnoresExtend,
        Self::AcksOnExtend,
        Self::RefusesALateExtend,
        Self::HidesItsAckWait,
        Self::IgnoresCloseOfSubscription,
        Self::RefusesASecondClose,
        Self::StopsAtTheUnreadable,
        Self::IsStuckAfterARestart,
    ];

    /// An error that names the fault.
    pub(super) fn error(self) -> TransportError {
        TransportError::new(ErrorKind::Internal, "mutant", "fail")
            .with_context(format!("planted: {self:?}"))
    }
}

/// Opens the transports of another harness, with a fault in each.
#[derive(Debug)]
pub struct MutantHarness<H> {
    /// Whose transports.
    pub inner: H,
    /// Which fault; `None` for none at all.
    pub fault: Option<Fault>,
}

#[async_trait]
impl<H: TransportHarness> TransportHarness for MutantHarness<H> {
    async fn open(&self) -> Arc<dyn Transport> {
        let inner = self.inner.open().await;
        match self.fault {
            None => inner,
            Some(fault) => Arc::new(MutantTransport::new(inner, fault)),
        }
    }

    fn redelivery(&self) -> Option<Duration> {
        self.inner.redelivery()
    }

    fn queue_messages_max(&self) -> Option<usize> {
        self.inner.queue_messages_max()
    }

    fn kept_before_subscription(&self) -> usize {
        self.inner.kept_before_subscription()
    }

    async fn publish_unreadable(
        &self,
        transport: &Arc<dyn Transport>,
        participant: &ParticipantName,
    ) {
        self.inner.publish_unreadable(transport, participant).await;
        if self.fault.is_some() {
            let message = messages::command(participant.as_str(), UNREADABLE);
            messages::publish(transport, &[message]).await;
        }
    }

    async fn restart(&self, transport: &Arc<dyn Transport>) {
        self.inner.restart(transport).await;
        if self.fault.is_some() {
            let message = messages::command(messages::PAYMENT, RESTARTED);
            messages::publish(transport, &[message]).await;
        }
    }
}

/// The number of a message that stands for one that nobody can read: mutants put it aside.
const UNREADABLE: u32 = u32::MAX;

/// The number of a message that tells a mutant that its broker was restarted.
const RESTARTED: u32 = u32::MAX - 1;

/// Whether a message stands for one that nobody can read.
pub(super) fn is_unreadable(envelope: &Envelope) -> bool {
    envelope.tx() == messages::tx(UNREADABLE)
}

#[derive(Debug)]
struct MutantTransport {
    inner: Arc<dyn Transport>,
    fault: Fault,
    info: TransportInfo,
    has_subscription: AtomicBool,
    subscriptions: AtomicU64,
    publishing: AtomicBool,
    was_restarted: AtomicBool,
}

impl MutantTransport {
    fn new(inner: Arc<dyn Transport>, fault: Fault) -> Self {
        let mut info = inner.info().clone();
        match fault {
            Fault::HasNoLimits => info.limits.batch_messages_max = 0,
            Fault::HidesItsAckWait => info.limits.ack_wait = None,
            _ => {}
        }
        Self {
            inner,
            fault,
            info,
            has_subscription: AtomicBool::new(false),
            subscriptions: AtomicU64::new(0),
            publishing: AtomicBool::new(false),
            was_restarted: AtomicBool::new(false),
        }
    }

    /// Changes the messages of a batch. The results must still be one per message given.
    fn spoil(&self, batch: &[Envelope]) -> Vec<Envelope> {
        let mut batch = batch.to_vec();
        match self.fault {
            Fault::ReversesABatch => batch.reverse(),
            Fault::ForgetsHeaders => batch.iter_mut().for_each(|message| message.headers = None),
            Fault::ForgetsTheEpoch | Fault::TakesBodiesForText => {
                for message in &mut batch {
                    spoil_command(self.fault, message);
                }
            }
            Fault::SaysOkToLargeBodies => {
                batch.retain(|message| message.body_bytes() <= self.info.limits.body_bytes_max);
            }
            _ => {}
        }
        batch
    }

    async fn publish_extra(&self, batch: &[Envelope]) {
        let extra = match self.fault {
            Fault::SendsTwice => batch.to_vec(),
            Fault::SendsToOthersToo => batch.iter().map(to_others).collect(),
            _ => return,
        };
        self.inner.publish(&extra).await;
    }

    async fn publish_in_pieces(&self, batch: &[Envelope]) -> Vec<PublishResult> {
        let mut results = Vec::new();
        for piece in batch.chunks(self.info.limits.batch_messages_max) {
            results.extend(self.inner.publish(piece).await);
        }
        results
    }
}

fn spoil_command(fault: Fault, message: &mut Envelope) {
    if let Body::Command(command) = &mut message.body {
        let command = Arc::make_mut(command);
        if fault == Fault::ForgetsTheEpoch {
            command.epoch = Epoch::default();
        } else {
            let text = String::from_utf8_lossy(&command.payload).into_owned();
            command.payload = Bytes::from(text);
        }
    }
}

/// The same message, misdirected.
fn to_others(message: &Envelope) -> Envelope {
    let mut message = message.clone();
    match &mut message.body {
        Body::Command(command) => {
            let other = match command.participant.as_str() {
                messages::PAYMENT => messages::INVENTORY,
                _ => messages::PAYMENT,
            };
            Arc::make_mut(command).participant = messages::participant(other);
        }
        Body::Reply(reply) => reply.shard = ShardId(reply.shard.0 ^ 3),
        Body::Inquiry(inquiry) => inquiry.host = HolderId(0),
        Body::InquiryAnswer(answer) => answer.host = HolderId(1),
    }
    message
}

fn all_ok(batch: &[Envelope]) -> Vec<PublishResult> {
    batch.iter().map(|_| Ok(())).collect()
}

#[async_trait]
impl Transport for MutantTransport {
    fn info(&self) -> &TransportInfo {
        &self.info
    }

    async fn publish(&self, batch: &[Envelope]) -> Vec<PublishResult> {
        if batch.iter().any(|message| message.tx() == messages::tx(RESTARTED)) {
            self.was_restarted.store(true, Relaxed);
            return all_ok(batch);
        }
        match self.fault {
            Fault::IsStuckAfterARestart if self.was_restarted.load(Relaxed) => {
                return all_ok(batch);
            }
            Fault::LosesWhatComesBeforeASubscription if !self.has_subscription.load(Relaxed) => {
                return all_ok(batch);
            }
            Fault::LosesTheFirstOfABatch => {
                let rest = batch.get(1..).unwrap_or_default();
                let mut results = self.inner.publish(rest).await;
                results.extend((rest.len() < batch.len()).then_some(Ok(())));
                return results;
            }
            Fault::NeverWaitsForRoom => {
                let (inner, later) = (Arc::clone(&self.inner), batch.to_vec());
                tokio::spawn(async move { inner.publish(&later).await });
                return all_ok(batch);
            }
            Fault::SplitsLargeBatches => return self.publish_in_pieces(batch).await,
            Fault::IsStuckAfterADroppedPublish if self.publishing.swap(true, Relaxed) => {
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        let spoiled = self.spoil(batch);
        let mut results = self.inner.publish(&spoiled).await;
        self.publish_extra(&spoiled).await;
        self.publishing.store(false, Relaxed);
        match self.fault {
            Fault::SaysOkToLargeBodies => return all_ok(batch),
            Fault::HasOneResultForAll if results.iter().any(Result::is_err) => {
                results.iter_mut().for_each(|result| *result = Err(self.fault.error()));
            }
            _ => {}
        }
        results
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        let mut subscribe = subscribe.clone();
        match self.fault {
            Fault::GivesEachItsOwnGroup => {
                subscribe.group = self.subscriptions.fetch_add(1, Relaxed).to_string();
            }
            Fault::HasOneGroup => subscribe.group = "one".to_owned(),
            Fault::IgnoresPrefetch => subscribe.prefetch = 1_000,
            _ => {}
        }
        let inner = self.inner.subscribe(&subscribe).await?;
        self.has_subscription.store(true, Relaxed);
        Ok(Box::new(MutantSubscription::new(inner, self.fault)))
    }

    async fn close(&self) -> Result<(), TransportError> {
        match self.fault {
            Fault::IgnoresCloseOfTransport => Ok(()),
            _ => self.inner.close().await,
        }
    }
}
