//! Building a coordinator.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::resume_unwind,
    sync::Arc,
};

use dtx_core::{
    ids::HolderId,
    store::{Catalog, Durability, ParticipantStore, StateStore},
    transport::Transport,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    clock::Clock,
    dtx::{Dtx, Inner},
    error::StartError,
    heal, inquiries,
    lanes::Shared,
    leases::Keeper,
    receive,
    settings::CoordinatorSettings,
    stop::Stopping,
};
use crate::{
    operator::Operator,
    participant::{Host, HostHandle, HostSettings, Participant},
    subscription::ManagedTransport,
};

/// Builds a [`Dtx`].
#[derive(Default)]
#[must_use]
pub struct DtxBuilder {
    store: Option<Arc<dyn Store>>,
    transport: Option<Arc<dyn Transport>>,
    participants: Vec<Participant>,
    settings: CoordinatorSettings,
    host_settings: HostSettings,
}

/// A store of everything: transactions, their listings and the rows of participants. Every store
/// that has the three traits is one.
pub trait Store: StateStore + Catalog + ParticipantStore + Any {}

impl<S: StateStore + Catalog + ParticipantStore> Store for S {}

impl fmt::Debug for DtxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DtxBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl DtxBuilder {
    /// The store of the transactions, and of the inboxes of participants that name none.
    pub fn store(self, store: impl Store) -> Self {
        self.shared_store(Arc::new(store))
    }

    /// The store, when it is chosen at run time or others use it too.
    pub fn shared_store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// What carries the messages.
    pub fn transport(self, transport: impl Transport) -> Self {
        self.shared_transport(Arc::new(transport))
    }

    /// What carries the messages, when others use it too.
    pub fn shared_transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Hosts a participant in this process.
    pub fn participant(mut self, participant: impl Into<Participant>) -> Self {
        self.participants.push(participant.into());
        self
    }

    /// The settings of the coordinator.
    pub fn settings(mut self, settings: CoordinatorSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The settings of the hosted participants.
    pub fn host_settings(mut self, settings: HostSettings) -> Self {
        self.host_settings = settings;
        self
    }

    /// Takes transactions although the store may lose them: for tests and for what may be lost.
    pub fn allow_volatile(mut self) -> Self {
        self.settings.allow_volatile = true;
        self
    }

    /// Starts the hosts and the coordinator: takes the free shards and takes up what is open in
    /// them.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    ///
    /// # Cancel safety
    /// Dropping the future stops what was started and gives the shards back.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its timers.
    pub async fn start(self) -> Result<Dtx, StartError> {
        // In a task of its own: what it has begun when its caller goes away is ended in order.
        match tokio::spawn(self.start_here()).await {
            Ok(started) => started,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // Only the end of the runtime cancels it.
                Err(_) => Err(StartError::RuntimeEnded),
            },
        }
    }

    async fn start_here(mut self) -> Result<Dtx, StartError> {
        let store = self.store.take().ok_or(StartError::NoStore)?;
        let transport = self.transport.take().ok_or(StartError::NoTransport)?;
        let mut names = BTreeSet::new();
        let mut offers = BTreeMap::new();
        for participant in &self.participants {
            if !names.insert(participant.name().clone()) {
                return Err(StartError::DuplicateParticipant(participant.name().clone()));
            }
            // A built-in participant offers every phase, and says itself what it does not know.
            if !participant.is_resource() {
                offers.insert(participant.name().clone(), participant.capabilities());
            }
            if !participant.has_inbox() {
                self.settings.engine.without_inbox.insert(participant.name().clone());
            }
        }
        self.settings.check()?;
        let managed = Arc::new(ManagedTransport::new(transport, &self.settings.subscriptions));
        let transport: Arc<dyn Transport> = managed.clone();
        say_durability(store.as_ref(), self.settings.allow_volatile);
        let store_now = StateStore::now(store.as_ref()).await.map_err(StartError::Store)?;
        let hosts = self.start_hosts(&store, &transport).await?;

        let tasks = TaskTracker::new();
        let settings = Arc::new(self.settings);
        let holder = HolderId(uuid::Uuid::new_v4().as_u128());
        let clock = Clock::new(store_now);
        let operator = Operator::at(
            store.clone(),
            store.clone(),
            store.clone(),
            Arc::new(settings.engine.clone()),
            Arc::new(settings.reversals.clone()),
        );
        let (shared, lost) =
            Shared::start(operator, store.clone(), transport, settings, clock, holder, &tasks);
        let receiving = CancellationToken::new();
        let mut keeper = Keeper::new(shared.clone());
        tasks.spawn(receive::replies(shared.clone(), receiving.clone()));
        tasks.spawn(inquiries::inquiries(shared.clone(), receiving.clone()));
        let inner = Arc::new(Inner {
            shared,
            store,
            transport: managed,
            hosts: tokio::sync::Mutex::new(hosts),
            offers,
            receiving,
            stopping: Stopping::default(),
        });
        keeper.join().await.map_err(StartError::Store)?;
        tasks.spawn(keeper.run(lost));
        let keeping = inner.shared.keeping.clone();
        tasks.spawn(keeping.run_until_cancelled_owned(heal::run(inner.shared.clone())));
        Ok(Dtx { inner })
    }

    async fn start_hosts(
        &mut self,
        store: &Arc<dyn Store>,
        transport: &Arc<dyn Transport>,
    ) -> Result<Vec<HostHandle>, StartError> {
        let mut hosts = Vec::new();
        for participant in std::mem::take(&mut self.participants) {
            let name = participant.name().clone();
            let settings = self.host_settings.clone();
            let (transport, rows) = (transport.clone(), store.clone());
            let host = Host::start(participant, transport, Some(rows), settings).await;
            hosts.push(host.map_err(|error| StartError::Host(name, error))?);
        }
        Ok(hosts)
    }
}

fn say_durability(store: &dyn StateStore, allow_volatile: bool) {
    let info = store.info();
    let durability = info.capabilities.durability;
    if durability >= Durability::PowerLoss {
        tracing::info!(store = info.name, ?durability, "acknowledged writes survive power loss");
    } else {
        tracing::warn!(
            store = info.name,
            ?durability,
            allow_volatile,
            "acknowledged writes may be lost"
        );
    }
}
