//! Publishing: a whole batch is sent, then the acknowledgements are awaited together, and what got
//! none is sent again under the same id.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dtx_core::{
    error::{Effect, ErrorKind, TransportError},
    pattern::Pattern,
    transport::{Body, Envelope, PublishResult},
};
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use crate::{
    api::{self, Failure, PublishAck, code},
    error::{error, invalid},
    link::{Asked, Link, Lost},
    message::{self, ID, Outgoing},
    settings::NatsSettings,
};

/// The pause before a message is sent again that the server could not take.
const PAUSE: Duration = Duration::from_millis(50);

/// The share of the time of a `publish` that a round must have left.
const SHARE_OF_A_ROUND: u32 = 4;

/// Publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    link: Arc<Link>,
    settings: Arc<NatsSettings>,
    /// Ids are this and a number, so that no two messages of anybody share one.
    id: Uuid,
    number: AtomicU64,
}

/// A message without its acknowledgement.
struct Pending {
    index: usize,
    subject: String,
    /// The server keeps one message of it.
    id: String,
    /// It was sent, and what became of it is not known.
    is_unknown: bool,
}

/// What one attempt came to.
enum Attempt {
    Done,
    Failed(Failure),
    /// It is worth another one.
    Again(Failure),
}

impl Publisher {
    pub(crate) fn new(link: Arc<Link>, settings: Arc<NatsSettings>) -> Self {
        Self { link, settings, id: Uuid::new_v4(), number: AtomicU64::new(0) }
    }

    /// One result per message, in order.
    pub(crate) async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        let max = self.settings.batch_messages_max;
        if messages.len() > max {
            let count = messages.len();
            let context = format!("{count} messages in a batch; `batch_messages_max` is {max}");
            return messages.iter().map(|_| Err(invalid("publish", context.clone()))).collect();
        }
        let mut results = Vec::with_capacity(messages.len());
        let (mut pending, mut best_effort) = (Vec::with_capacity(messages.len()), Vec::new());
        for (index, envelope) in messages.iter().enumerate() {
            match self.refusal(envelope) {
                Some(refusal) => results.push(Err(refusal)),
                None => {
                    results.push(Ok(()));
                    let subject = self.settings.names.of(envelope);
                    match self.is_best_effort(envelope) {
                        true => best_effort.push((index, subject)),
                        false => {
                            let id = self.next_id();
                            pending.push(Pending { index, subject, id, is_unknown: false });
                        }
                    }
                }
            }
        }
        let until = Instant::now() + self.settings.publish_timeout;
        if !best_effort.is_empty() {
            self.send(messages, best_effort, until, &mut results).await;
        }
        self.store(messages, pending, until, &mut results).await;
        results
    }

    fn refusal(&self, envelope: &Envelope) -> Option<TransportError> {
        let (bytes, max) = (envelope.body_bytes(), self.settings.body_bytes_max);
        (bytes > max).then(|| {
            invalid("publish", format!("the body has {bytes} bytes; `body_bytes_max` is {max}"))
        })
    }

    fn is_best_effort(&self, envelope: &Envelope) -> bool {
        let is_dispatch =
            matches!(&envelope.body, Body::Command(c) if c.pattern == Pattern::FireAndForget);
        self.settings.best_effort_dispatch && is_dispatch
    }

    fn next_id(&self) -> String {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.id.simple())
    }

    /// Sends what nobody acknowledges.
    async fn send(
        &self,
        messages: &[Envelope],
        batch: Vec<(usize, String)>,
        until: Instant,
        results: &mut [PublishResult],
    ) {
        let client = self.link.client();
        let mut sent = Vec::with_capacity(batch.len());
        for (index, subject) in batch {
            let Outgoing { headers, body } = message::write(&messages[index]);
            let publish = client.publish_with_headers(subject, headers, body);
            match timeout_at(until, publish).await {
                Ok(Ok(())) => sent.push(index),
                _ => results[index] = Err(self.failed(Failure::Lost(Lost::Unsent), false, "")),
            }
        }
        if !matches!(timeout_at(until, client.flush()).await, Ok(Ok(()))) {
            for index in sent {
                results[index] = Err(self.failed(Failure::Lost(Lost::Late), true, ""));
            }
        }
    }

    /// Sends until every message has its acknowledgement or the time is over.
    async fn store(
        &self,
        messages: &[Envelope],
        mut pending: Vec<Pending>,
        until: Instant,
        results: &mut [PublishResult],
    ) {
        // A round that is cut short would leave a refusal unknown.
        let last_round = until - self.settings.publish_timeout / SHARE_OF_A_ROUND;
        while !pending.is_empty() {
            if !self.link.is_up(until).await {
                for one in pending {
                    let failure = Failure::Lost(Lost::Unsent);
                    let failed = self.failed(failure, one.is_unknown, &one.subject);
                    results[one.index] = Err(failed);
                }
                return;
            }
            let round = (Instant::now() + self.settings.request_timeout).min(until);
            let mut asked = Vec::with_capacity(pending.len());
            for one in &pending {
                // Written anew for each round: a second one is rare, and a copy costs as much.
                let Outgoing { mut headers, body } = message::write(&messages[one.index]);
                headers.insert(ID, one.id.as_str());
                asked.push(self.link.ask(one.subject.clone(), Some(headers), body, round).await);
            }
            let mut left = Vec::new();
            let mut pause = false;
            for (mut one, asked) in pending.into_iter().zip(asked) {
                match attempt(asked, round).await {
                    Attempt::Done => {}
                    Attempt::Again(failure) if Instant::now() < last_round => {
                        let is_lost = matches!(failure, Failure::Lost(Lost::Late | Lost::Broken));
                        one.is_unknown |= is_lost;
                        pause |= !is_lost;
                        left.push(one);
                    }
                    Attempt::Failed(failure) | Attempt::Again(failure) => {
                        let failed = self.failed(failure, one.is_unknown, &one.subject);
                        results[one.index] = Err(failed);
                    }
                }
            }
            pending = left;
            if pause {
                sleep(PAUSE).await;
            }
        }
    }

    fn failed(&self, failure: Failure, is_unknown: bool, subject: &str) -> TransportError {
        let failed = match failure {
            Failure::Lost(Lost::NoResponders) => error(ErrorKind::Unavailable, "publish")
                .with_context(format!("no stream takes `{subject}` now")),
            Failure::Lost(Lost::Late | Lost::Broken) => {
                let said = self.link.complaints().borrow().clone();
                let said = said.map(|said| format!("; the server complained last: {said}"));
                let context = "not acknowledged within `publish_timeout`";
                return error(ErrorKind::Timeout, "publish")
                    .with_context(format!("{context}{}", said.unwrap_or_default()));
            }
            failure if failure.is(code::STORE_FAILED) => {
                failure.of("publish", "the stream is full, see `stream_bytes_max`")
            }
            failure => failure.of("publish", "the message"),
        };
        failed.with_effect(if is_unknown { Effect::Unknown } else { Effect::None })
    }
}

async fn attempt(asked: Result<Asked, Lost>, until: Instant) -> Attempt {
    let answer = match asked {
        Ok(asked) => asked.answer(until).await,
        Err(lost) => Err(lost),
    };
    let failure = match answer {
        Ok(message) => match api::read::<PublishAck>(&message.payload) {
            Ok(_) => return Attempt::Done,
            Err(failure) => failure,
        },
        Err(lost) => Failure::Lost(lost),
    };
    match &failure {
        // A server that has just come back has its streams a moment later.
        Failure::Lost(Lost::Late | Lost::Broken | Lost::Unsent | Lost::NoResponders) => {
            Attempt::Again(failure)
        }
        Failure::Refused(refusal) if refusal.code >= 500 => Attempt::Again(failure),
        _ => Attempt::Failed(failure),
    }
}

/// Publishes one message to a stream under an id that the caller chose. Says whether it is there.
pub(crate) async fn store_once(
    link: &Link,
    subject: String,
    message: Outgoing,
    until: Instant,
) -> bool {
    let body: Bytes = message.body;
    let asked = link.ask(subject, Some(message.headers), body, until).await;
    matches!(attempt(asked, until).await, Attempt::Done)
}
