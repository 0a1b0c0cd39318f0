//! The transport between the suite and the participant: what the suite sends arrives, and what
//! the participant answers comes back, as long as the wire is not cut.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use dtx_core::{
    error::{ErrorKind, TransportError},
    transport::{
        AckToken, Body, Command, Delivery, Envelope, Interest, Nack, PublishResult, Reply,
        Subscribe, Subscription, Transport, TransportCapabilities, TransportInfo, TransportLimits,
    },
};
use tokio::sync::{mpsc, watch};

type Queue = mpsc::UnboundedSender<(Envelope, u32)>;

/// One process's end of the wire.
#[derive(Debug)]
pub struct Wire {
    info: TransportInfo,
    replies: mpsc::UnboundedSender<Reply>,
    queue: Mutex<Option<Queue>>,
    cut: watch::Sender<bool>,
}

fn closed(operation: &'static str) -> TransportError {
    TransportError::new(ErrorKind::Closed, "wire", operation)
}

impl Wire {
    /// A wire that brings the answers there.
    pub fn new(replies: mpsc::UnboundedSender<Reply>) -> Self {
        let capabilities = TransportCapabilities { durable: false, ordered_by_transaction: false };
        let limits = TransportLimits {
            batch_messages_max: usize::MAX,
            body_bytes_max: usize::MAX,
            ack_wait: None,
        };
        let info = TransportInfo { name: "wire", capabilities, limits };
        Self { info, replies, queue: Mutex::default(), cut: watch::Sender::new(false) }
    }

    /// Brings a command to the participant.
    ///
    /// # Panics
    /// When it has not subscribed.
    pub fn send(&self, command: Command) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().expect("the participant subscribed to its commands");
        // A participant that is gone hears nothing; the sender sends again.
        let _ = queue.send((Envelope::new(Body::Command(Arc::new(command))), 1));
    }

    /// Nothing gets through any more.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }
}

#[async_trait]
impl Transport for Wire {
    fn info(&self) -> &TransportInfo {
        &self.info
    }

    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        let publish = |message: &Envelope| {
            if *self.cut.borrow() {
                return Err(closed("publish"));
            }
            if let Body::Reply(reply) = &message.body {
                self.replies.send(reply.clone()).map_err(|_| closed("publish"))?;
            }
            Ok(())
        };
        messages.iter().map(publish).collect()
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        let (sender, messages) = mpsc::unbounded_channel();
        if matches!(subscribe.interest, Interest::Participant(_)) {
            *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
        }
        let cut = self.cut.subscribe();
        Ok(Box::new(Messages { sender, messages, cut, held: Vec::new(), number: 0 }))
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.cut();
        Ok(())
    }
}

#[derive(Debug)]
struct Messages {
    sender: Queue,
    messages: mpsc::UnboundedReceiver<(Envelope, u32)>,
    cut: watch::Receiver<bool>,
    held: Vec<(AckToken, Envelope, u32)>,
    number: u64,
}

#[async_trait]
impl Subscription for Messages {
    async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, TransportError> {
        let first = tokio::select! {
            biased;
            _ = self.cut.wait_for(|cut| *cut) => return Err(closed("receive")),
            first = tokio::time::timeout(wait, self.messages.recv()) => first,
        };
        let mut next = first.ok().flatten();
        let mut deliveries = Vec::new();
        while let Some((envelope, attempt)) = next {
            self.number += 1;
            let token = AckToken { generation: 1, number: self.number };
            self.held.push((token, envelope.clone(), attempt));
            deliveries.push(Delivery { token, attempt, envelope });
            next = (deliveries.len() < max).then(|| self.messages.try_recv().ok()).flatten();
        }
        Ok(deliveries)
    }

    async fn ack(&mut self, tokens: &[AckToken]) -> Result<(), TransportError> {
        self.held.retain(|(token, ..)| !tokens.contains(token));
        Ok(())
    }

    async fn nack(&mut self, nacks: &[Nack]) -> Result<(), TransportError> {
        for nack in nacks {
            let place = self.held.iter().position(|(token, ..)| *token == nack.token);
            if let Some(place) = place {
                let (_, envelope, attempt) = self.held.swap_remove(place);
                let (sender, delay) = (self.sender.clone(), nack.delay);
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    // Nobody listens any more after a crash.
                    let _ = sender.send((envelope, attempt + 1));
                });
            }
        }
        Ok(())
    }

    async fn extend(&mut self, _: &[AckToken]) -> Result<(), TransportError> {
        Ok(())
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.messages.close();
        Ok(())
    }
}
