//! A subscription.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use dtx_core::{
    error::{Effect, ErrorKind, TransportError},
    transport::{AckToken, Delivery, Nack, Subscription},
};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::DropGuard;

use crate::{
    error::{closed, error},
    held::Source,
    link::{Link, Lost},
    parking::nak,
    pump::Shared,
    settings::NatsSettings,
};

/// No two subscriptions of a process share a generation.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// A message is handled.
const ACK: Bytes = Bytes::from_static(b"+ACK");

/// Further away than a message lives.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A message is still being handled.
const IN_PROGRESS: Bytes = Bytes::from_static(b"+WPI");

/// What is told of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Handled,
    GivenBack(Duration),
    InProgress,
}

/// A subscription of the NATS transport. Its task ends when it is dropped.
#[derive(Debug)]
pub(crate) struct NatsSubscription {
    link: Arc<Link>,
    settings: Arc<NatsSettings>,
    shared: Arc<Shared>,
    generation: u64,
    _ends: DropGuard,
}

impl NatsSubscription {
    pub(crate) fn new(link: Arc<Link>, settings: Arc<NatsSettings>, shared: Arc<Shared>) -> Self {
        let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        let ends = shared.ends.clone().drop_guard();
        Self { link, settings, shared, generation, _ends: ends }
    }

    fn check_open(&self, operation: &'static str) -> Result<(), TransportError> {
        match self.shared.ends.is_cancelled() {
            true => Err(closed(operation)),
            false => Ok(()),
        }
    }

    /// Tells the streams, all at once. Awaits that they know of what is to come again; that
    /// something is handled is only sent, behind everything that was said before on this
    /// connection: where it is lost, with the connection, the message comes once more.
    async fn tell(
        &self,
        operation: &'static str,
        told: impl Iterator<Item = (AckToken, Told)>,
    ) -> Result<(), TransportError> {
        self.check_open(operation)?;
        let begun = Instant::now();
        let until = begun + self.settings.request_timeout;
        let (mut stale, mut lost) = (0, None);
        let mut asked = Vec::new();
        for (token, told) in told {
            if token.generation != self.generation {
                stale += 1;
                continue;
            }
            let source = self.shared.held().source(token.number, begun);
            match source {
                // Settled already, or the stream may have given it to others.
                None => {}
                Some(Source::BestEffort) => self.settle(token.number, told, begun),
                Some(Source::Stream(ack)) => {
                    let say = match told {
                        Told::Handled => {
                            match self.link.tell(ack, ACK, until).await {
                                Ok(()) => self.settle(token.number, told, begun),
                                Err(why) => lost = Some(why),
                            }
                            continue;
                        }
                        Told::GivenBack(delay) => nak(delay),
                        Told::InProgress => IN_PROGRESS,
                    };
                    let sent = self.link.ask(ack.to_string(), None, say, until).await;
                    asked.push((token.number, told, sent));
                }
            }
        }
        for (number, told, sent) in asked {
            let answer = match sent {
                Ok(sent) => sent.answer(until).await.map(drop),
                Err(lost) => Err(lost),
            };
            match answer {
                Ok(()) => self.settle(number, told, begun),
                Err(why) => lost = Some(why),
            }
        }
        self.shared.freed.notify_one();
        if stale > 0 {
            return Err(error(ErrorKind::Fenced, operation)
                .with_context(format!("{stale} tokens are of another subscription")));
        }
        lost.map_or(Ok(()), |lost| Err(not_told(operation, lost)))
    }

    /// What a delivery is here once its stream knows, or at once where there is none.
    fn settle(&self, number: u64, told: Told, begun: Instant) {
        let mut held = self.shared.held();
        match told {
            Told::InProgress => held.extend(number, begun),
            Told::GivenBack(delay) if held.is_best_effort(number) => {
                // One that is further away than any clock goes does not come again.
                let at = begun.checked_add(delay).unwrap_or(begun + FAR);
                held.delay(number, at);
                self.shared.arrived.notify_one();
            }
            Told::Handled | Told::GivenBack(_) => held.settle(number),
        }
    }
}

fn not_told(operation: &'static str, lost: Lost) -> TransportError {
    let (kind, context) = match lost {
        Lost::Late => (ErrorKind::Timeout, "the server did not answer within `request_timeout`"),
        Lost::Broken => (ErrorKind::Unavailable, "the connection broke meanwhile"),
        Lost::NoResponders => (ErrorKind::Unavailable, "the consumer is not there now"),
        Lost::Unsent | Lost::TooLarge => (ErrorKind::Unavailable, "there is no connection"),
    };
    let effect = if lost == Lost::Unsent { Effect::None } else { Effect::Unknown };
    error(kind, operation).with_context(context).with_effect(effect)
}

#[async_trait]
impl Subscription for NatsSubscription {
    async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, TransportError> {
        let begun = Instant::now();
        let until = begun.checked_add(wait);
        loop {
            self.check_open("receive")?;
            if self.shared.ended.is_cancelled() {
                return Err(error(ErrorKind::Unavailable, "receive")
                    .with_context("the client gave the connection up; see what it logged"));
            }
            let now = Instant::now();
            let (taken, due) = {
                let mut held = self.shared.held();
                (held.take(max, now), held.next_due())
            };
            // The owner has shown how much it takes, and what it took leaves room for others.
            self.shared.freed.notify_one();
            if !taken.is_empty() || max == 0 || until.is_some_and(|until| now >= until) {
                let generation = self.generation;
                let delivery = |(number, attempt, envelope)| Delivery {
                    token: AckToken { generation, number },
                    attempt,
                    envelope,
                };
                return Ok(taken.into_iter().map(delivery).collect());
            }
            let arrived = async {
                tokio::select! {
                    () = self.shared.arrived.notified() => {}
                    () = self.shared.ends.cancelled() => {}
                }
            };
            match due.into_iter().chain(until).min() {
                // Whether it came or it is time, both are looked at next.
                Some(until) => drop(timeout_at(until, arrived).await),
                None => arrived.await,
            }
        }
    }

    async fn ack(&mut self, tokens: &[AckToken]) -> Result<(), TransportError> {
        self.tell("ack", tokens.iter().map(|token| (*token, Told::Handled))).await
    }

    async fn nack(&mut self, nacks: &[Nack]) -> Result<(), TransportError> {
        let told = |nack: &Nack| (nack.token, Told::GivenBack(nack.delay));
        self.tell("nack", nacks.iter().map(told)).await
    }

    async fn extend(&mut self, tokens: &[AckToken]) -> Result<(), TransportError> {
        self.tell("extend", tokens.iter().map(|token| (*token, Told::InProgress))).await
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.shared.ends.cancel();
        self.shared.ended.cancelled().await;
        Ok(())
    }
}
