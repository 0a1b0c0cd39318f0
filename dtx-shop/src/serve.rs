//! Services of the shop in a process of their own.

use std::{sync::Arc, time::Duration};

use dtx::{
    participant::{Host, HostHandle, HostSettings, HostStats},
    store::ParticipantStore,
    subscription::{ManagedTransport, SubscriptionSettings},
    transport::Transport,
};

use crate::{
    address::TransportAddress,
    checkout::PARTICIPANTS,
    error::ShopError,
    faults::{FaultRates, Faults},
    services::{open_transport, participant},
    store::ShopStore,
};

/// Which services are served, and how.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// Their names, of [`PARTICIPANTS`]. Several processes may serve the same one: each command
    /// goes to one of them.
    pub services: Vec<String>,
    /// What carries the messages.
    pub transport: TransportAddress,
    /// What goes wrong, and how often.
    pub faults: FaultRates,
    /// From what the faults are drawn, with the id of the transaction.
    pub seed: u64,
}

/// Services that run. Dropping it stops them without waiting.
#[derive(Debug)]
pub struct Serving {
    hosts: Vec<HostHandle>,
    transport: Arc<dyn Transport>,
}

/// Starts services of the shop on a store, without a coordinator.
///
/// # Errors
/// [`ShopError::NoService`], [`ShopError::Transport`] and [`ShopError::Host`]; nothing is running
/// then.
///
/// # Cancel safety
/// Cancel safe: a dropped start serves nothing.
pub async fn serve<S: ShopStore>(
    store: &S,
    settings: &ServeSettings,
) -> Result<Serving, ShopError> {
    let stranger = settings.services.iter().find(|name| !PARTICIPANTS.contains(&name.as_str()));
    if let Some(name) = stranger {
        return Err(ShopError::NoService(name.clone()));
    }
    let faults = (!settings.faults.is_none())
        .then(|| Arc::new(Faults::of_transactions(settings.seed, settings.faults)));
    let transport = open_transport(store, &settings.transport, faults.as_ref()).await?;
    let transport = ManagedTransport::new(transport, &SubscriptionSettings::default());
    let transport: Arc<dyn Transport> = Arc::new(transport);
    let mut hosts = Vec::new();
    for name in &settings.services {
        let rows: Arc<dyn ParticipantStore> = Arc::new(store.clone());
        let service = participant(store, name, faults.as_ref());
        let host = Host::start(service, transport.clone(), Some(rows), HostSettings::default());
        hosts.push(host.await?);
    }
    Ok(Serving { hosts, transport })
}

impl Serving {
    /// Stops the services: what they have in their hands is done first, for as long as `grace`
    /// for each of them. Returns what each of them did, in their order.
    ///
    /// # Cancel safety
    /// A dropped stop leaves nothing running; what was in hand may be delivered again.
    pub async fn stop(self, grace: Duration) -> Vec<HostStats> {
        let mut stats = Vec::new();
        for host in self.hosts {
            stats.push(host.shutdown(grace).await.stats);
        }
        if let Err(error) = self.transport.close().await {
            tracing::warn!(%error, "the transport was not closed in order");
        }
        stats
    }
}
