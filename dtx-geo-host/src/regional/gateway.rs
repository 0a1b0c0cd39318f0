//! Opens the parcels of other regions, and publishes what is in them at the own broker.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use dtx_core::{
    error::{ErrorKind, TransportError},
    name::{NameError, ParticipantName, RegionName},
    transport::{
        Body, Delivery, Envelope, Interest, Nack, Subscribe, Subscription, Transport, WireError,
        WireLimits,
    },
};
use tokio::time::sleep;

use super::{
    parcel::{ParcelError, unpack},
    settings::RegionalSettings,
    transport::Counters,
};

/// How long one look for parcels waits.
const LOOK: std::time::Duration = std::time::Duration::from_secs(10);

/// Under which name a region gets its parcels.
pub(super) fn address(region: &RegionName) -> Result<ParticipantName, NameError> {
    ParticipantName::new(format!("gateway-{region}"))
}

pub(super) struct Gateway {
    here: Arc<dyn Transport>,
    settings: RegionalSettings,
    limits: WireLimits,
    subscribe: Subscribe,
    counters: Arc<Counters>,
}

impl Gateway {
    /// Subscribes to the parcels for a region.
    pub(super) async fn open(
        here: Arc<dyn Transport>,
        address: ParticipantName,
        settings: RegionalSettings,
        counters: Arc<Counters>,
    ) -> Result<(Self, Box<dyn Subscription>), TransportError> {
        let subscribe = Subscribe {
            group: address.as_str().to_owned(),
            interest: Interest::Participant(address),
            prefetch: settings.parcels_max,
        };
        let subscription = here.subscribe(&subscribe).await?;
        let body_bytes_max = here.info().limits.body_bytes_max;
        let limits = WireLimits { body_bytes_max, ..WireLimits::default() };
        Ok((Self { here, settings, limits, subscribe, counters }, subscription))
    }

    /// Opens parcels until the own broker's transport is closed.
    pub(super) async fn run(self, mut subscription: Box<dyn Subscription>) {
        loop {
            let Err(error) = self.take(&mut *subscription).await else { continue };
            tracing::warn!(gateway = %self.subscribe.group, %error, "a region opens no parcels");
            if error.kind() == ErrorKind::Closed {
                match self.here.subscribe(&self.subscribe).await {
                    Ok(new) => subscription = new,
                    Err(error) if error.kind() == ErrorKind::Closed => return,
                    Err(_) => {}
                }
            }
            sleep(self.settings.parcel_retry).await;
        }
    }

    /// A parcel is acknowledged when all of it has been taken; else it comes again, and with it
    /// what was taken before: everything is delivered at least once.
    async fn take(&self, subscription: &mut dyn Subscription) -> Result<(), TransportError> {
        let received = subscription.receive(self.settings.parcels_max, LOOK).await?;
        let (mut acks, mut nacks) = (Vec::new(), Vec::new());
        for delivery in &received {
            if self.open_one(delivery).await {
                acks.push(delivery.token);
            } else {
                let delay = self.settings.parcel_retry;
                nacks.push(Nack { token: delivery.token, delay });
            }
        }
        if !acks.is_empty() {
            subscription.ack(&acks).await?;
        }
        if !nacks.is_empty() {
            subscription.nack(&nacks).await?;
        }
        Ok(())
    }

    /// Says whether nothing is left to be done with it.
    async fn open_one(&self, delivery: &Delivery) -> bool {
        let (messages, unread) = match self.read(delivery) {
            Ok(read) => read,
            Err(error) => {
                self.counters.refused.fetch_add(1, Relaxed);
                tracing::warn!(gateway = %self.subscribe.group, %error, "a parcel was not read");
                return true;
            }
        };
        for error in unread {
            tracing::warn!(gateway = %self.subscribe.group, %error, "a message was not read");
        }
        self.counters.opened.fetch_add(1, Relaxed);
        for batch in messages.chunks(self.here.info().limits.batch_messages_max) {
            for error in self.here.publish(batch).await.into_iter().filter_map(Result::err) {
                tracing::debug!(gateway = %self.subscribe.group, %error, "a message was not taken");
                // What is wrong with a message stays so. Whoever sent it asks again, or gives up.
                if error.kind() != ErrorKind::Invalid {
                    return false;
                }
            }
        }
        true
    }

    fn read(&self, delivery: &Delivery) -> Result<(Vec<Envelope>, Vec<WireError>), ParcelError> {
        match &delivery.envelope.body {
            Body::Command(command) => unpack(command.payload.clone(), &self.settings, &self.limits),
            _ => Err(ParcelError::Version),
        }
    }
}
