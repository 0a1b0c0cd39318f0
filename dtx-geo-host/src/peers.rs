//! What goes to other regions and comes from them.
//!
//! A message is the payload of a fire-and-forget command whose participant is the other region of
//! the pool; nobody answers it. It is acknowledged before it is read: the pool does not mind that
//! messages are lost.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dtx_core::{
    error::{ErrorKind, TransportError},
    name::{ActionName, ParticipantName},
    transport::{Body, Envelope, Interest, Subscribe, Subscription, Transport},
};
use dtx_geo::pool::{Member, Message, Parcel};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{dispatch::dispatch, settings::PoolNodeSettings, spec::PoolSpec};

/// The action of all messages between regions.
const ACTION: &str = "pool-message";

/// The most messages that are taken from the transport, or given to it, at a time.
const TAKE: usize = 64;

/// How long one look for messages waits.
const LOOK: Duration = Duration::from_secs(10);

/// The pause after a transport has failed.
const PAUSE: Duration = Duration::from_millis(500);

/// The ways to the other regions, each with its own queue: one that nobody empties holds up none
/// of the others.
#[derive(Debug)]
pub(crate) struct Ways {
    to: Vec<Option<mpsc::Sender<Message>>>,
}

impl Ways {
    /// Hands a message over. Where the way is full it is lost.
    pub(crate) fn send(&self, to: Member, message: Message) {
        if let Some(Some(way)) = self.to.get(usize::from(to.0))
            && way.try_send(message).is_err()
        {
            tracing::debug!(to = to.0, "a message of a pool was lost: its way is full");
        }
    }
}

struct Way {
    transport: Arc<dyn Transport>,
    address: ParticipantName,
    action: ActionName,
    timeout: Duration,
    layout: u64,
    from: Member,
    to: Member,
}

/// Opens the ways to all others.
pub(crate) fn open_ways(
    spec: &PoolSpec,
    transport: &Arc<dyn Transport>,
    settings: &PoolNodeSettings,
    tasks: &mut JoinSet<()>,
) -> Ways {
    let action = ActionName::new(ACTION).expect("it is a name");
    let mut to = Vec::with_capacity(spec.regions.len());
    for (index, address) in (0..).zip(&spec.addresses) {
        if spec.own == Member(index) {
            to.push(None);
            continue;
        }
        let (sender, messages) = mpsc::channel(settings.unsent_max);
        let way = Way {
            transport: Arc::clone(transport),
            address: address.clone(),
            action: action.clone(),
            timeout: settings.publish_timeout,
            layout: spec.layout(),
            from: spec.own,
            to: Member(index),
        };
        tasks.spawn(way.run(messages));
        to.push(Some(sender));
    }
    Ways { to }
}

impl Way {
    async fn run(self, mut messages: mpsc::Receiver<Message>) {
        let mut taken = Vec::new();
        let most = TAKE.min(self.transport.info().limits.batch_messages_max);
        while messages.recv_many(&mut taken, most).await > 0 {
            let batch: Vec<_> = taken.drain(..).map(|message| self.envelope(message)).collect();
            let published = self.transport.publish(&batch);
            match tokio::time::timeout(self.timeout, published).await {
                Ok(results) => {
                    if let Some(error) = results.into_iter().find_map(Result::err) {
                        tracing::debug!(address = %self.address, %error, "messages were lost");
                    }
                }
                Err(_) => tracing::debug!(address = %self.address, "messages were lost: too slow"),
            }
        }
    }

    fn envelope(&self, message: Message) -> Envelope {
        let parcel = Parcel { layout: self.layout, from: self.from, to: self.to, message };
        dispatch(&self.address, &self.action, Bytes::from(parcel.encode()))
    }
}

/// Where messages come in.
pub(crate) struct Post {
    transport: Arc<dyn Transport>,
    spec: Arc<PoolSpec>,
    subscribe: Subscribe,
}

impl Post {
    /// Subscribes to what others tell this region.
    pub(crate) async fn open(
        spec: Arc<PoolSpec>,
        transport: Arc<dyn Transport>,
        settings: &PoolNodeSettings,
    ) -> Result<(Self, Box<dyn Subscription>), TransportError> {
        let address = spec.addresses[usize::from(spec.own.0)].clone();
        let subscribe = Subscribe {
            group: address.as_str().to_owned(),
            interest: Interest::Participant(address),
            prefetch: settings.received_max,
        };
        let post = Self { transport, spec, subscribe };
        let subscription = post.transport.subscribe(&post.subscribe).await?;
        Ok((post, subscription))
    }

    /// Takes messages in until the transport is closed or nobody wants them any more.
    pub(crate) async fn run(
        self,
        mut subscription: Box<dyn Subscription>,
        to: mpsc::Sender<(Member, Message)>,
    ) {
        while !to.is_closed() {
            let Err(error) = self.take(&mut *subscription, &to).await else { continue };
            tracing::warn!(pool = %self.spec.name, %error, "a region hears nothing of others");
            if error.kind() == ErrorKind::Closed && self.again(&mut subscription).await.is_none() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A new subscription; none when the transport itself is closed.
    async fn again(&self, subscription: &mut Box<dyn Subscription>) -> Option<()> {
        match self.transport.subscribe(&self.subscribe).await {
            Ok(new) => *subscription = new,
            Err(error) if error.kind() == ErrorKind::Closed => return None,
            Err(error) => tracing::warn!(pool = %self.spec.name, %error, "cannot subscribe"),
        }
        Some(())
    }

    async fn take(
        &self,
        subscription: &mut dyn Subscription,
        to: &mpsc::Sender<(Member, Message)>,
    ) -> Result<(), TransportError> {
        let received = subscription.receive(TAKE, LOOK).await?;
        let tokens: Vec<_> = received.iter().map(|delivery| delivery.token).collect();
        for delivery in &received {
            let Body::Command(command) = &delivery.envelope.body else { continue };
            match self.read(&command.payload) {
                // Where too many wait, this one is lost.
                Ok(parcel) => _ = to.try_send((parcel.from, parcel.message)),
                Err(error) => {
                    tracing::warn!(pool = %self.spec.name, %error, "a message was not read");
                }
            }
        }
        subscription.ack(&tokens).await
    }

    fn read(&self, payload: &[u8]) -> Result<Parcel, dtx_geo::pool::PoolCodecError> {
        let (layout, count) = (self.spec.layout(), self.spec.regions.len());
        Parcel::decode(payload, layout, self.spec.own, count)
    }
}
