//! The task behind a subscription: it asks the queues, takes in what comes, and gives everything
//! back at the end.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use dtx_core::transport::{Interest, WireLimits};
use futures_util::{FutureExt, StreamExt, future::join_all};
use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::{self, ConsumerInfo, Nothing, Pull, nanoseconds},
    fetch::{Ask, Fetch},
    held::{Arrived, Held, Source},
    layout::ensure_consumer,
    link::{Connection, Link},
    message::{self, Origin},
    names::Queue,
    parking::{Dead, nak, park},
    settings::NatsSettings,
};

/// How many messages are taken in before anything else is looked at.
const AT_ONCE: usize = 256;

/// How long a queue that cannot be asked is left alone.
const REST: Duration = Duration::from_millis(100);

/// How long giving back may take when a subscription ends.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// What a subscription and its task share.
#[derive(Debug)]
pub(crate) struct Shared {
    held: Mutex<Held>,
    /// Something arrived, or the task has ended.
    pub(crate) arrived: Notify,
    /// There is room again.
    pub(crate) freed: Notify,
    /// The subscription is to end.
    pub(crate) ends: CancellationToken,
    /// Its task has ended.
    pub(crate) ended: CancellationToken,
}

impl Shared {
    pub(crate) fn new(held: Held, ends: CancellationToken) -> Self {
        Self {
            held: Mutex::new(held),
            arrived: Notify::new(),
            freed: Notify::new(),
            ends,
            ended: CancellationToken::new(),
        }
    }

    /// What is held. Never kept across an await.
    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics in the middle of a change, so a poisoned state is still whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) link: Arc<Link>,
    pub(crate) settings: Arc<NatsSettings>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) queues: Vec<Queue>,
    /// Where the queues send what they are asked for.
    pub(crate) inbox: String,
    pub(crate) messages: Subscriber,
    /// What comes without a stream.
    pub(crate) best_effort: Option<Subscriber>,
    /// Commands are put aside after as many deliveries; `None` for what is sent again anyway.
    pub(crate) deliveries_max: Option<u32>,
    fetch: Fetch,
    /// The queues by `{stream}.{consumer}`.
    by_name: HashMap<String, usize>,
    parking: TaskTracker,
}

/// How many times what this subscription receives may be delivered.
pub(crate) fn deliveries_max(interest: &Interest, settings: &NatsSettings) -> Option<u32> {
    matches!(interest, Interest::Participant(_)).then_some(settings.deliveries_max)
}

async fn next(subscriber: &mut Option<Subscriber>) -> Option<Message> {
    match subscriber {
        Some(subscriber) => subscriber.next().await,
        None => std::future::pending().await,
    }
}

impl Pump {
    #[allow(clippy::too_many_arguments)] // All are fields.
    pub(crate) fn new(
        link: Arc<Link>,
        settings: Arc<NatsSettings>,
        shared: Arc<Shared>,
        queues: Vec<Queue>,
        inbox: String,
        messages: Subscriber,
        best_effort: Option<Subscriber>,
        deliveries_max: Option<u32>,
    ) -> Self {
        let name =
            |queue: &Queue| format!("{}.{}", settings.names.stream(queue.stream), queue.consumer);
        let by_name = queues.iter().enumerate().map(|(i, queue)| (name(queue), i)).collect();
        let fetch = Fetch::new(queues.len());
        let parking = TaskTracker::new();
        Self {
            link,
            settings,
            shared,
            queues,
            inbox,
            messages,
            best_effort,
            deliveries_max,
            fetch,
            by_name,
            parking,
        }
    }

    /// Runs until the subscription ends.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut connection = self.link.connection();
        let mut seen = *connection.borrow_and_update();
        loop {
            let asking = self.ask(seen.is_up);
            tokio::select! {
                biased;
                () = shared.ends.cancelled() => break,
                () = asking => {}
            }
            let look = self.fetch.next_look(Instant::now());
            tokio::select! {
                biased;
                () = shared.ends.cancelled() => break,
                Ok(()) = connection.changed() => {
                    let now: Connection = *connection.borrow_and_update();
                    if now != seen {
                        // What was asked on another connection is forgotten by the server too.
                        self.fetch.forget();
                        seen = now;
                    }
                }
                message = self.messages.next() => {
                    let Some(message) = message else { break };
                    self.take_in(message).await;
                }
                message = next(&mut self.best_effort) => match message {
                    Some(message) => self.take_in_best_effort(&message),
                    None => self.best_effort = None,
                },
                () = shared.freed.notified() => {}
                () = tokio::time::sleep_until(look) => {}
            }
        }
        self.give_back().await;
        self.shared.ended.cancel();
        self.shared.arrived.notify_one();
    }

    /// Asks the queues for as many messages as there is room for.
    async fn ask(&mut self, is_up: bool) {
        if !is_up || self.queues.is_empty() {
            return;
        }
        let now = Instant::now();
        let room = {
            let mut held = self.shared.held();
            held.expire(now);
            held.room()
        };
        for ask in self.fetch.wants(room, now) {
            let Ask { queue, number, batch, stands } = ask;
            let of = &self.queues[queue];
            let stream = self.settings.names.stream(of.stream);
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{}", of.consumer);
            let reply = format!("{}.{queue}.{number}", self.inbox);
            let pull = Pull { batch, expires: nanoseconds(stands) };
            // Two numbers always become JSON.
            let pull = serde_json::to_vec(&pull).unwrap_or_default();
            let sent = self.link.client().publish_with_reply(subject, reply, Bytes::from(pull));
            if let Err(error) = sent.await {
                tracing::debug!(%error, "a queue was not asked");
                self.fetch.ended(queue, number);
                self.fetch.rest(queue, now + REST);
            }
        }
    }

    /// Takes in a message and those behind it.
    async fn take_in(&mut self, first: Message) {
        let mut message = first;
        let mut statuses = Vec::new();
        for _ in 0..AT_ONCE {
            statuses.extend(self.sort(message));
            match self.messages.next().now_or_never() {
                Some(Some(next)) => message = next,
                _ => break,
            }
        }
        self.shared.arrived.notify_one();
        for status in statuses {
            self.heed(&status).await;
        }
    }

    /// Takes in a message from a queue; anything else is given back.
    fn sort(&mut self, message: Message) -> Option<Message> {
        let Some(ack) = message::ack_subject(&message).cloned() else { return Some(message) };
        let Some(origin) = message::origin(&ack) else { return Some(message) };
        let Some(&queue) = self.by_name.get(origin.queue) else { return Some(message) };
        self.fetch.came(queue);
        let limits =
            WireLimits { body_bytes_max: self.settings.body_bytes_max, ..WireLimits::default() };
        let read = message::read(message.headers.as_ref(), &message.payload, &limits);
        match read {
            Err(problem) => self.put_aside(message, ack.clone(), &origin, problem.to_string()),
            Ok(_) if self.deliveries_max.is_some_and(|max| origin.delivered > max) => {
                let times = origin.delivered - 1;
                let reason = format!("delivered {times} times and never acknowledged");
                self.put_aside(message, ack.clone(), &origin, reason);
            }
            Ok(envelope) => {
                let source = Source::Stream(ack.clone());
                let expires = Instant::now() + self.settings.ack_wait;
                let attempt = origin.delivered;
                self.shared.held().arrive(Arrived { source, attempt, envelope, expires });
            }
        }
        None
    }

    fn put_aside(
        &self,
        message: Message,
        ack: async_nats::Subject,
        origin: &Origin<'_>,
        reason: String,
    ) {
        let dead = Dead::new(message, ack, origin, reason);
        self.shared.held().park(true);
        let (link, settings) = (Arc::clone(&self.link), Arc::clone(&self.settings));
        let shared = Arc::clone(&self.shared);
        self.parking.spawn(async move {
            park(&link, &settings, dead).await;
            shared.held().park(false);
            shared.freed.notify_one();
        });
    }

    fn take_in_best_effort(&self, message: &Message) {
        let limits =
            WireLimits { body_bytes_max: self.settings.body_bytes_max, ..WireLimits::default() };
        let mut held = self.shared.held();
        held.expire(Instant::now());
        if held.free() == 0 {
            tracing::debug!("a command of 0.5PS was dropped: there is no room for it");
            return;
        }
        match message::read(message.headers.as_ref(), &message.payload, &limits) {
            Ok(envelope) => {
                let expires = Instant::now() + self.settings.ack_wait;
                let source = Source::BestEffort;
                held.arrive(Arrived { source, attempt: 1, envelope, expires });
                drop(held);
                self.shared.arrived.notify_one();
            }
            Err(problem) => {
                let subject = &message.subject;
                tracing::warn!(%subject, %problem, "a command of 0.5PS was dropped");
            }
        }
    }

    /// Heeds what a queue says instead of a message: the end of a wish.
    async fn heed(&mut self, status: &Message) {
        let words = status.subject.rsplit_once('.');
        let Some((rest, number)) = words else { return };
        let queue = rest.rsplit_once('.').and_then(|(_, queue)| queue.parse().ok());
        let (Some(queue), Ok(number)) = (queue, number.parse()) else { return };
        self.fetch.ended(queue, number);
        // 404 and 408: there was nothing, or not enough.
        let code = status.status.map(|status| status.as_u16());
        if matches!(code, Some(404 | 408)) {
            return;
        }
        let now = Instant::now();
        self.fetch.rest(queue, now + REST);
        let Some(of) = self.queues.get(queue) else { return };
        tracing::debug!(consumer = %of.consumer, ?code, "a queue cannot be asked");
        // It may have been removed, or the streams of the server are not there yet.
        if matches!(code, Some(409 | 503))
            && let Err(error) = ensure_consumer(&self.link, &self.settings, of).await
        {
            tracing::warn!(%error, "a queue is not there");
            self.fetch.rest(queue, Instant::now() + REST * 5);
        }
    }

    /// Tells the queues to give all that is held to others.
    async fn give_back(&mut self) {
        // First nobody listens any more, so that nothing comes back to us.
        if let Err(error) = self.messages.unsubscribe().await {
            tracing::debug!(%error, "the connection is gone");
        }
        if let Some(best_effort) = &mut self.best_effort {
            drop(best_effort.unsubscribe().await);
        }
        while let Some(message) = self.messages.next().await {
            // A status says nothing to one who leaves.
            drop(self.sort(message));
        }
        let held = self.shared.held().take_all();
        let until = Instant::now() + GIVE_BACK;
        self.withdraw_wishes(&held).await;
        let this = &*self;
        let tell = held.into_iter().map(|held| async move {
            match &held.source {
                Source::Stream(ack) => {
                    let told = this.link.request(ack.to_string(), nak(Duration::ZERO), until);
                    if let Err(lost) = told.await {
                        tracing::debug!(?lost, "a message comes again only after the ack_wait");
                    }
                }
                Source::BestEffort => this.send_again(&held, until).await,
            }
        });
        join_all(tell).await;
        // Acknowledgements are on their way then, also when nobody uses the connection any more.
        let flushed = tokio::time::timeout_at(until, self.link.client().flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::debug!("what was acknowledged last may come again");
        }
        self.parking.close();
        if tokio::time::timeout_at(until, self.parking.wait()).await.is_err() {
            tracing::debug!("messages are still being put aside");
        }
    }

    /// Makes the queues of what is held forget our wishes. Until 2.9.10 at least, a server that
    /// delivers again takes a message out for a wish without seeing that nobody listens to it any
    /// more: the message then stays away until its ack_wait, and another one comes in its place.
    /// Asked about a consumer, the server drops such wishes.
    async fn withdraw_wishes(&self, held: &[Arrived]) {
        let mut asked = HashSet::new();
        for held in held {
            let Source::Stream(ack) = &held.source else { continue };
            asked.extend(message::origin(ack).map(|origin| origin.queue));
        }
        let timeout = self.settings.request_timeout.min(GIVE_BACK);
        let asks = asked.into_iter().map(|queue| async move {
            let subject = format!("CONSUMER.INFO.{queue}");
            let answer = api::call::<ConsumerInfo>(&self.link, subject, &Nothing {}, timeout).await;
            if let Err(failure) = answer {
                tracing::debug!(?failure, "wishes may stand a little longer");
            }
        });
        join_all(asks).await;
    }

    /// A message that only we have goes to the others of the group, as a new one.
    async fn send_again(&self, held: &Arrived, until: Instant) {
        let subject = self.settings.names.of(&held.envelope);
        let message::Outgoing { headers, body } = message::write(&held.envelope);
        let client = self.link.client();
        let sent = client.publish_with_headers(subject, headers, body);
        if !matches!(tokio::time::timeout_at(until, sent).await, Ok(Ok(()))) {
            tracing::warn!("a command of 0.5PS was lost");
        }
    }
}
