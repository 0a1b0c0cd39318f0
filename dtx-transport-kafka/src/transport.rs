//! The transport.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak, atomic::AtomicU64},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dtx_core::{
    error::{Effect, ErrorKind, TransportError},
    transport::{
        Envelope, PublishResult, Subscribe, Subscription, Transport, TransportInfo, WireLimits,
    },
};
use rdkafka::config::FromClientConfigAndContext;
use tokio::{runtime::Handle, sync::oneshot, time::timeout};

use crate::{
    client::LastError,
    consumer::Consumer,
    context::Context,
    error::{error, invalid, of_call, of_code},
    feed::Feed,
    layout::{Place, Topics},
    letters::Mover,
    plan::{Plan, check_shard},
    producer::{KafkaStats, Producer},
    record::Record,
    settings::KafkaSettings,
    shared::Shared,
    subscription::KafkaSubscription,
    topics::{Catalog, Wanted},
};

/// How often it is looked whether a broker answers.
const LOOK: Duration = Duration::from_millis(100);

/// A transport over Kafka. A clone is another handle of the same transport.
#[derive(Clone)]
pub struct KafkaTransport(Arc<Inner>);

struct Inner {
    settings: KafkaSettings,
    info: TransportInfo,
    limits: WireLimits,
    topics: Topics,
    producer: Arc<Producer>,
    catalog: Arc<Catalog>,
    mover: Arc<Mover>,
    /// Numbers the assignments of all subscriptions.
    generations: Arc<AtomicU64>,
    open: Mutex<Open>,
    /// A command was refused for its pattern, and the log says so.
    left_out: Once,
}

/// What is open.
#[derive(Debug, Default)]
struct Open {
    closed: bool,
    subscriptions: Vec<Weak<Shared>>,
}

impl fmt::Debug for KafkaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTransport")
            .field("settings", &self.0.settings)
            .field("info", &self.0.info)
            .finish_non_exhaustive()
    }
}

impl KafkaTransport {
    /// Connects. Waits until a broker answers.
    ///
    /// # Errors
    /// `Invalid` for settings that cannot work, by their names, and for a user, an authority or a
    /// host that is refused; `Unavailable` when no broker answers within `connect_timeout`.
    pub async fn connect(settings: KafkaSettings) -> Result<Self, TransportError> {
        settings.check()?;
        let of_thread = settings.clone();
        let made = tokio::task::spawn_blocking(move || connect(&of_thread)).await;
        let (producer, catalog) = made.map_err(|_| error(ErrorKind::Internal, "connect"))??;
        let topics = Topics::new(&settings);
        let (producer, catalog) = (Arc::new(producer), Arc::new(catalog));
        let dead_letters = topics.dead_letters();
        let mover = Mover::new(Arc::clone(&producer), Arc::clone(&catalog), dead_letters);
        Ok(Self(Arc::new(Inner {
            info: settings.info(),
            limits: settings.wire_limits(),
            topics,
            producer,
            catalog,
            mover: Arc::new(mover),
            generations: Arc::new(AtomicU64::new(0)),
            open: Mutex::new(Open::default()),
            left_out: Once::new(),
            settings,
        })))
    }

    /// How many messages were published, in how many requests.
    pub fn stats(&self) -> KafkaStats {
        self.0.producer.stats()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a message goes, or why it cannot be published, whenever it is tried.
    fn route(&self, message: &Envelope) -> Result<(Record, Wanted), TransportError> {
        let (bytes, max) = (message.body_bytes(), self.0.info.limits.body_bytes_max);
        if bytes > max {
            return Err(invalid(
                "publish",
                format!("the body has {bytes} bytes; the setting body_bytes_max says {max}"),
            ));
        }
        let (topic, kind, place) = self.0.topics.route(message).map_err(|pattern| {
            let says = "the setting patterns does not have it";
            self.0.left_out.call_once(|| {
                tracing::warn!(%pattern, "commands cannot be published: {says}");
            });
            invalid("publish", format!("a command of {pattern}: {says}"))
        })?;
        let partition = match place {
            Place::ByTransaction => None,
            Place::Partition(partition) => {
                if kind == crate::layout::Kind::Replies {
                    check_shard(&self.0.settings, partition, "publish")?;
                }
                Some(i32::from(partition))
            }
        };
        let wanted = Wanted { name: topic.clone(), kind };
        Ok((Record::of(message, topic, partition), wanted))
    }

    /// Sees to it that the topics of these messages are there. What cannot be published for want
    /// of its topic is told; the others go on.
    async fn prepare(
        &self,
        messages: &[Envelope],
        results: &mut [Option<PublishResult>],
    ) -> Vec<(usize, Record)> {
        let mut records = Vec::with_capacity(messages.len());
        let mut missing: Vec<(Wanted, Vec<usize>)> = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            match self.route(message) {
                Err(error) => results[index] = Some(Err(error)),
                Ok((record, wanted)) => {
                    if !self.0.catalog.knows(&wanted.name) {
                        match missing.iter_mut().find(|(other, _)| *other == wanted) {
                            Some((_, users)) => users.push(index),
                            None => missing.push((wanted, vec![index])),
                        }
                    }
                    records.push((index, record));
                }
            }
        }
        for (wanted, users) in missing {
            let Err(error) = self.0.catalog.ensure(vec![wanted], "publish").await else {
                continue;
            };
            for index in &users {
                let same = TransportError::new(error.kind(), error.backend(), "publish");
                let same = same.with_effect(Effect::None).with_context(error.to_string());
                results[*index] = Some(Err(same));
            }
            records.retain(|(index, _)| !users.contains(index));
        }
        records
    }

    /// Starts the thread of a subscription and waits until it receives.
    async fn start(&self, plan: Plan, shared: &Arc<Shared>) -> Result<(), TransportError> {
        let settings = self.0.settings.clone();
        let config = settings.consumer(&plan.group);
        // What a group waits for at most: a member that is gone, and one that does not give up.
        let patience = settings.connect_timeout + settings.session_timeout + settings.revoke_wait;
        let feed = Feed {
            plan,
            settings,
            shared: Arc::clone(shared),
            limits: self.0.limits,
            mover: Arc::clone(&self.0.mover),
            runtime: Handle::current(),
        };
        let (started, starts) = oneshot::channel();
        let of_thread = Arc::clone(shared);
        let run = move || {
            let client = rdkafka::consumer::BaseConsumer::from_config_and_context(
                &config,
                Context::default(),
            );
            match client {
                Ok(mut client) => {
                    let woken = Arc::clone(&of_thread);
                    client.set_nonempty_callback(move || woken.wake.wake());
                    Consumer::new(client, feed, of_thread, started).run();
                }
                Err(error) => {
                    // Whoever subscribed may have stopped waiting.
                    let _ = started.send(Err(of_call(&error, "subscribe")));
                    of_thread.ended();
                }
            }
        };
        let thread = std::thread::Builder::new().name("dtx-kafka-consumer".to_owned()).spawn(run);
        if let Err(failed) = thread {
            shared.ended();
            return Err(error(ErrorKind::Unavailable, "subscribe").with_source(failed));
        }
        match timeout(patience, starts).await {
            Ok(Ok(started)) => started,
            Ok(Err(_)) => Err(error(ErrorKind::Closed, "subscribe")),
            Err(_) => Err(error(ErrorKind::Unavailable, "subscribe").with_context(
                "the group gave no partitions in time: see the settings brokers, \
                 connect_timeout and session_timeout",
            )),
        }
    }
}

/// Makes the clients and waits until a broker answers. Blocks.
fn connect(settings: &KafkaSettings) -> Result<(Producer, Catalog), TransportError> {
    let last_error = Arc::new(LastError::default());
    let producer = Producer::new(
        settings.producer(),
        Arc::clone(&last_error),
        settings.message_bytes_max,
        settings.delivery_timeout,
    )?;
    let end = Instant::now() + settings.connect_timeout;
    while !producer.answers(LOOK) {
        let code = last_error.take();
        let is_final = code.is_some_and(|code| {
            of_code(code, "connect", "the brokers").kind() == ErrorKind::Invalid
        });
        if is_final || Instant::now() >= end {
            let code = code.unwrap_or(rdkafka::error::RDKafkaErrorCode::BrokerTransportFailure);
            return Err(of_code(code, "connect", "no broker answered"));
        }
        if let Some(code) = code {
            last_error.note(&rdkafka::error::KafkaError::Global(code));
        }
    }
    Ok((producer, Catalog::new(settings)?))
}

/// Ends a subscription whose owner stopped waiting for it.
struct Unless<'a>(Option<&'a Arc<Shared>>);

impl Drop for Unless<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.close();
        }
    }
}

#[async_trait]
impl Transport for KafkaTransport {
    fn info(&self) -> &TransportInfo {
        &self.0.info
    }

    /// Hands the whole batch to the client, which packs it into few requests, and waits until
    /// the brokers have confirmed all of it.
    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        let all = |refuse: &dyn Fn() -> TransportError| {
            messages.iter().map(|_| Err(refuse())).collect::<Vec<_>>()
        };
        let (count, max) = (messages.len(), self.0.info.limits.batch_messages_max);
        if count > max {
            return all(&|| {
                invalid("publish", format!("{count} messages in a batch; {max} are the most"))
            });
        }
        if self.open().closed {
            return all(&|| error(ErrorKind::Closed, "publish"));
        }
        let mut results: Vec<Option<PublishResult>> = messages.iter().map(|_| None).collect();
        let (indexes, records): (Vec<_>, Vec<_>) =
            self.prepare(messages, &mut results).await.into_iter().unzip();
        let produced = self.0.producer.produce(&records).await;
        for ((index, record), result) in indexes.into_iter().zip(&records).zip(produced) {
            if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Invalid) {
                self.0.catalog.forget(&record.topic);
            }
            results[index] = Some(result);
        }
        let missing = || Err(error(ErrorKind::Internal, "publish"));
        results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        let plan = Plan::new(&self.0.settings, &self.0.topics, subscribe)?;
        if self.open().closed {
            return Err(error(ErrorKind::Closed, "subscribe"));
        }
        self.0.catalog.ensure(plan.wanted.clone(), "subscribe").await?;
        let shared = Arc::new(Shared::new(subscribe.prefetch, Arc::clone(&self.0.generations)));
        {
            let mut open = self.open();
            if open.closed {
                return Err(error(ErrorKind::Closed, "subscribe"));
            }
            open.subscriptions.retain(|other| other.strong_count() > 0);
            open.subscriptions.push(Arc::downgrade(&shared));
        }
        let mut unless = Unless(Some(&shared));
        self.start(plan.clone(), &shared).await?;
        unless.0 = None;
        drop(unless);
        let (mover, delay) = (Arc::clone(&self.0.mover), self.0.settings.local_delay_max);
        Ok(Box::new(KafkaSubscription::new(shared, mover, plan, delay)))
    }

    async fn close(&self) -> Result<(), TransportError> {
        let subscriptions = {
            let mut open = self.open();
            open.closed = true;
            std::mem::take(&mut open.subscriptions)
        };
        let subscriptions: Vec<_> = subscriptions.iter().filter_map(Weak::upgrade).collect();
        subscriptions.iter().for_each(|shared| shared.close());
        for shared in &subscriptions {
            shared.wait_for_end().await;
        }
        let (producer, timeout) = (Arc::clone(&self.0.producer), self.0.settings.delivery_timeout);
        let flushed = tokio::task::spawn_blocking(move || producer.flush(timeout)).await;
        flushed.map_err(|_| error(ErrorKind::Internal, "close"))?
    }
}
