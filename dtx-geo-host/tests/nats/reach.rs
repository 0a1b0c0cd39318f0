//! A transport over several brokers, one in each region: what is for somebody is published where
//! they are, and what comes is taken from the own one.

use std::time::Duration;

use async_trait::async_trait;
use dtx_core::{
    error::{ErrorKind, TransportError},
    transport::{
        Address, Envelope, PublishResult, Subscribe, Subscription, Transport, TransportInfo,
    },
};
use dtx_transport_nats::{NatsSettings, NatsTransport};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::plan::{BUYS, NAMES, PAYS, Plan};

/// After this a message that was received and not acknowledged comes again.
const ACK_WAIT: Duration = Duration::from_secs(1);

/// What a broker elsewhere has not taken by then is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pause between two attempts to reach a broker for the first time.
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Reach {
    own: usize,
    here: NatsTransport,
    /// None while nobody has reached it yet.
    ways: Vec<watch::Receiver<Option<NatsTransport>>>,
    _connects: JoinSet<()>,
}

/// Where messages for an address are read; none: everywhere.
fn region_of(address: &Address, own: usize) -> Option<usize> {
    match address {
        Address::Participant(name) if name.as_str() == "payment" => Some(PAYS),
        Address::Participant(name) => {
            let is_of = |region: &&str| name.as_str().ends_with(&format!("-pool-{region}"));
            Some(NAMES.iter().position(is_of).unwrap_or(own))
        }
        Address::Replies(_) | Address::Inquiries => Some(BUYS),
        Address::InquiryAnswers(_) => None,
    }
}

async fn connect(broker: &str) -> Result<NatsTransport, TransportError> {
    let settings = NatsSettings::new(broker)?.ack_wait(ACK_WAIT);
    NatsTransport::connect(settings.publish_timeout(PATIENCE)).await
}

impl Reach {
    /// Connects to the own broker, and to the others as soon as they can be reached.
    pub(crate) async fn connect(plan: &Plan) -> Self {
        let here = connect(&plan.brokers[plan.region]).await.expect("the own broker is there");
        let (mut ways, mut connects) = (Vec::new(), JoinSet::new());
        for (region, broker) in plan.brokers.iter().cloned().enumerate() {
            if region == plan.region {
                ways.push(watch::channel(Some(here.clone())).1);
                continue;
            }
            let (found, way) = watch::channel(None);
            ways.push(way);
            connects.spawn(async move {
                let mut attempts = interval(AGAIN);
                attempts.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while found.borrow().is_none() {
                    attempts.tick().await;
                    if let Ok(transport) = connect(&broker).await {
                        found.send_replace(Some(transport));
                    }
                }
            });
        }
        Self { own: plan.region, here, ways, _connects: connects }
    }

    pub(crate) fn has_reached_all(&self) -> bool {
        self.ways.iter().all(|way| way.borrow().is_some())
    }

    /// Publishes what is for this region, and says what became of which message.
    async fn publish_in(
        &self,
        region: usize,
        messages: &[Envelope],
    ) -> Vec<(usize, PublishResult)> {
        let is_for = |to: Option<usize>| to.is_none_or(|to| to == region);
        let (indexes, theirs): (Vec<_>, Vec<_>) = messages
            .iter()
            .enumerate()
            .filter(|(_, message)| is_for(region_of(&message.address(), self.own)))
            .map(|(index, message)| (index, message.clone()))
            .unzip();
        if theirs.is_empty() {
            return Vec::new();
        }
        let way = self.ways[region].borrow().clone();
        let results = match way {
            Some(way) => way.publish(&theirs).await,
            None => {
                let unreached = || TransportError::new(ErrorKind::Unavailable, "reach", "publish");
                theirs.iter().map(|_| Err(unreached())).collect()
            }
        };
        indexes.into_iter().zip(results).collect()
    }
}

#[async_trait]
impl Transport for Reach {
    fn info(&self) -> &TransportInfo {
        self.here.info()
    }

    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        // At once: one that cannot be reached holds up none of the others.
        let (one, two, three) = tokio::join!(
            self.publish_in(0, messages),
            self.publish_in(1, messages),
            self.publish_in(2, messages),
        );
        let mut results: Vec<PublishResult> = messages.iter().map(|_| Ok(())).collect();
        for (index, result) in one.into_iter().chain(two).chain(three) {
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

    async fn close(&self) -> Result<(), TransportError> {
        self.here.close().await
    }
}
