//! The transport itself.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use dtx_core::{
    error::{ErrorKind, TransportError},
    name::{ActionName, ParticipantName, RegionName},
    transport::{
        Envelope, PublishResult, Subscribe, Subscription, Transport, TransportCapabilities,
        TransportInfo,
    },
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    directory::Directory,
    error::RegionalError,
    gateway::{self, Gateway},
    parcel::{Packed, pack},
    settings::RegionalSettings,
};
use crate::dispatch::dispatch;

/// The action of all parcels.
const ACTION: &str = "parcel";

const NAME: &str = "regional";

type Connected = Result<Arc<dyn Transport>, TransportError>;
type Connect = Box<dyn Fn() -> BoxFuture<'static, Connected> + Send + Sync>;

/// How many messages have crossed regions, and as what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionalStats {
    /// Messages that were given to brokers of other regions.
    pub messages: u64,
    /// As what they went there: parcels, and messages alone.
    pub sent: u64,
    /// Parcels of other regions that were opened here.
    pub opened: u64,
    /// Parcels that could not be read. They are dropped.
    pub refused: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    messages: AtomicU64,
    sent: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// The way to another region's broker.
#[derive(Debug)]
struct Way {
    /// None while nobody has reached it yet.
    transport: watch::Receiver<Option<Arc<dyn Transport>>>,
    gateway: ParticipantName,
}

/// Carries messages between regions, each of which has a broker of its own, through the transports
/// that reach them.
///
/// What is for somebody is published where it is read, and what comes is taken from the own broker
/// alone. Of one `publish`, all that goes to the same other region goes as one message (a parcel), and
/// is unpacked there: one message per region and phase. What cannot be given to a region that does
/// not answer is `Unavailable` or `Timeout` and holds up nothing that goes elsewhere for longer than
/// `way_timeout`.
///
/// All regions have it, so that each opens its parcels, and all have the same settings. It is at least
/// once like every transport, and keeps no order.
#[derive(Debug)]
pub struct RegionalTransport {
    directory: Directory,
    here: Arc<dyn Transport>,
    ways: BTreeMap<RegionName, Way>,
    settings: RegionalSettings,
    info: TransportInfo,
    action: ActionName,
    counters: Arc<Counters>,
    /// Those that connect, and the one that opens parcels.
    _tasks: JoinSet<()>,
}

/// Builds a [`RegionalTransport`].
pub struct RegionalBuilder {
    directory: Directory,
    here: Arc<dyn Transport>,
    ways: BTreeMap<RegionName, Connect>,
    settings: RegionalSettings,
}

impl fmt::Debug for RegionalBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionalBuilder")
            .field("directory", &self.directory)
            .field("ways", &self.ways.keys())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl RegionalBuilder {
    /// The way to another region's broker. It is tried again until it has been reached; meanwhile
    /// what goes there is `Unavailable`. Later on the transport connects again by itself.
    #[must_use]
    pub fn way<C, F>(mut self, region: RegionName, connect: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Connected> + Send + 'static,
    {
        self.ways.insert(region, Box::new(move || connect().boxed()));
        self
    }

    /// The bounds and times.
    #[must_use]
    pub fn settings(mut self, settings: RegionalSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Subscribes to what other regions send here, and begins to reach them. Does not wait for them.
    ///
    /// # Errors
    /// [`RegionalError`].
    pub async fn start(self) -> Result<RegionalTransport, RegionalError> {
        self.settings.check()?;
        if let Some(missing) =
            self.directory.others().into_iter().find(|region| !self.ways.contains_key(region))
        {
            return Err(RegionalError::NoWay(missing.clone()));
        }
        if self.ways.contains_key(self.directory.own()) {
            return Err(RegionalError::OwnWay(self.directory.own().clone()));
        }
        let counters = Arc::new(Counters::default());
        let own = gateway::address(self.directory.own())?;
        let opened =
            Gateway::open(self.here.clone(), own, self.settings.clone(), counters.clone()).await;
        let (gateway, subscription) = opened?;
        let (mut ways, mut tasks) = (BTreeMap::new(), JoinSet::new());
        tasks.spawn(gateway.run(subscription));
        for (region, connect) in self.ways {
            let (found, transport) = watch::channel(None);
            let pause = self.settings.connect_retry;
            tasks.spawn(async move {
                loop {
                    match connect().await {
                        Ok(transport) => return drop(found.send_replace(Some(transport))),
                        Err(error) => tracing::debug!(%error, "a region is not reached yet"),
                    }
                    sleep(pause).await;
                }
            });
            let gateway = gateway::address(&region)?;
            ways.insert(region, Way { transport, gateway });
        }
        // What several messages share keeps no order, and no more than the own broker promises.
        let here = self.here.info();
        let capabilities = TransportCapabilities {
            ordered_by_transaction: false,
            durable: here.capabilities.durable,
        };
        let info = TransportInfo { name: NAME, capabilities, limits: here.limits.clone() };
        let action = ActionName::new(ACTION)?;
        let (directory, here, settings) = (self.directory, self.here, self.settings);
        Ok(RegionalTransport {
            directory,
            here,
            ways,
            settings,
            info,
            action,
            counters,
            _tasks: tasks,
        })
    }
}

impl RegionalTransport {
    /// Of the own region, whose broker `here` reaches.
    pub fn builder(directory: Directory, here: Arc<dyn Transport>) -> RegionalBuilder {
        RegionalBuilder {
            directory,
            here,
            ways: BTreeMap::new(),
            settings: RegionalSettings::default(),
        }
    }

    /// Whether the brokers of all other regions were reached once.
    pub fn has_reached_all(&self) -> bool {
        self.ways.values().all(|way| way.transport.borrow().is_some())
    }

    /// What has crossed regions since the start.
    pub fn stats(&self) -> RegionalStats {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        RegionalStats {
            messages: count(&self.counters.messages),
            sent: count(&self.counters.sent),
            opened: count(&self.counters.opened),
            refused: count(&self.counters.refused),
        }
    }

    /// Gives messages to one region; one result for each of them.
    async fn give(
        &self,
        region: &RegionName,
        messages: Vec<(usize, &Envelope)>,
    ) -> Vec<(usize, PublishResult)> {
        if region == self.directory.own() {
            let (indexes, batch): (Vec<_>, Vec<_>) =
                messages.into_iter().map(|(index, message)| (index, message.clone())).unzip();
            return indexes.into_iter().zip(self.here.publish(&batch).await).collect();
        }
        let Some(way) = self.ways.get(region) else {
            return all(&messages, &failed(ErrorKind::Invalid, region, "there is no way to it"));
        };
        let transport = way.transport.borrow().clone();
        let Some(transport) = transport else {
            let error = failed(ErrorKind::Unavailable, region, "its broker was not reached yet");
            return all(&messages, &error);
        };
        self.counters.messages.fetch_add(messages.len() as u64, Relaxed);
        match timeout(self.settings.way_timeout, self.cross(way, &*transport, &messages)).await {
            Ok(results) => results,
            Err(_) => {
                let error = failed(ErrorKind::Timeout, region, "not taken within `way_timeout`");
                all(&messages, &error)
            }
        }
    }

    async fn cross(
        &self,
        way: &Way,
        transport: &dyn Transport,
        messages: &[(usize, &Envelope)],
    ) -> Vec<(usize, PublishResult)> {
        let of: BTreeMap<usize, &Envelope> = messages.iter().copied().collect();
        let mut settings = self.settings.clone();
        let limits = &transport.info().limits;
        settings.parcel_bytes_max =
            settings.parcel_bytes_max.min(limits.body_bytes_max.saturating_sub(1));
        let (mut packed, mut sent) = (Vec::new(), Vec::new());
        for one in pack(messages.iter().copied(), &settings) {
            match one {
                Packed::Alone(index) => {
                    sent.push(of[&index].clone());
                    packed.push(vec![index]);
                }
                Packed::Together(indexes, payload) => {
                    sent.push(dispatch(&way.gateway, &self.action, payload));
                    packed.push(indexes);
                }
            }
        }
        self.counters.sent.fetch_add(sent.len() as u64, Relaxed);
        let mut results = Vec::with_capacity(messages.len());
        for (sent, packed) in
            sent.chunks(limits.batch_messages_max).zip(packed.chunks(limits.batch_messages_max))
        {
            for (indexes, result) in packed.iter().zip(transport.publish(sent).await) {
                let same = |error: &TransportError| {
                    TransportError::new(error.kind(), error.backend(), "publish")
                        .with_effect(error.effect())
                        .with_context(error.to_string())
                };
                let result = |_: &usize| result.as_ref().map(drop).map_err(same);
                results.extend(indexes.iter().map(|index| (*index, result(index))));
            }
        }
        results
    }
}

fn failed<'a>(
    kind: ErrorKind,
    region: &'a RegionName,
    why: &'a str,
) -> impl Fn() -> TransportError + 'a {
    move || TransportError::new(kind, NAME, "publish").with_context(format!("{region}: {why}"))
}

fn all(
    messages: &[(usize, &Envelope)],
    error: &dyn Fn() -> TransportError,
) -> Vec<(usize, PublishResult)> {
    messages.iter().map(|(index, _)| (*index, Err(error()))).collect()
}

#[async_trait]
impl Transport for RegionalTransport {
    fn info(&self) -> &TransportInfo {
        &self.info
    }

    /// # Cancel safety
    /// Dropped, it may have published any part of the batch in any region.
    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        let (count, max) = (messages.len(), self.info.limits.batch_messages_max);
        if count > max {
            let context = format!("{count} messages in a batch; `batch_messages_max` is {max}");
            let error = || TransportError::new(ErrorKind::Invalid, NAME, "publish");
            return messages.iter().map(|_| Err(error().with_context(context.clone()))).collect();
        }
        let mut by_region: BTreeMap<&RegionName, Vec<(usize, &Envelope)>> = BTreeMap::new();
        for (index, message) in messages.iter().enumerate() {
            match self.directory.region_of(&message.address()) {
                Some(region) => by_region.entry(region).or_default().push((index, message)),
                None => {
                    for region in self.ways.keys().chain([self.directory.own()]) {
                        by_region.entry(region).or_default().push((index, message));
                    }
                }
            }
        }
        // At once: one that does not answer holds up none of the others.
        let given = by_region.into_iter().map(|(region, messages)| self.give(region, messages));
        let mut results: Vec<PublishResult> = messages.iter().map(|_| Ok(())).collect();
        for (index, result) in join_all(given).await.into_iter().flatten() {
            if result.is_err() {
                results[index] = result;
            }
        }
        results
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        self.here.subscribe(subscribe).await
    }

    /// Closes the transports of all regions.
    async fn close(&self) -> Result<(), TransportError> {
        let ways = self.ways.values().filter_map(|way| way.transport.borrow().clone());
        let closed = join_all(ways.map(|way| async move { way.close().await })).await;
        closed.into_iter().chain([self.here.close().await]).collect()
    }
}
