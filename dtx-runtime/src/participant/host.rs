//! The host: serves a participant over a transport.

mod branch;
mod collector;
mod crash_points;
mod dead_letters;
mod handlers;
mod inbox;
mod incarnation;
mod inquirer;
mod intake;
mod job;
mod lease;
mod queue;
mod resources;
mod settle;
mod shared;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod unit;
mod volatile;
mod watch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dtx_core::{
    error::{StoreError, TransportError},
    ids::HolderId,
    name::ParticipantName,
    store::ParticipantStore,
    transport::{Interest, Subscribe, Subscription, Transport},
};
use thiserror::Error;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use dead_letters::DeadLetter;
pub use shared::HostStats;
pub(super) use unit::{UnitHost, UnitService};

use self::{
    collector::Watermarks,
    dead_letters::DeadLetters,
    handlers::{Ran, Reports},
    inbox::{InboxScopes, Running, StoredInbox},
    incarnation::Incarnation,
    intake::Intake,
    lease::HostLease,
    settle::Completion,
    shared::{Counters, Inbox, Served, Service, Shared},
    volatile::VolatileInbox,
    watch::Watch,
};
use super::{
    builder::{Memory, Participant, ParticipantError},
    settings::{HostSettings, SettingsError},
};

/// How long a host whose handlers were dropped waits for their claims to be ended in the store.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// Why a host did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostError {
    /// The participant cannot be served.
    #[error(transparent)]
    Participant(#[from] ParticipantError),
    /// A setting cannot work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The participant remembers its answers in the store of its host, which has none.
    #[error(
        "participant {0} has no store for its inbox; give the host one, or choose another inbox"
    )]
    NoInbox(ParticipantName),
    /// The store failed.
    #[error("the host of participant {participant} cannot read its store")]
    Store {
        /// Of which participant.
        participant: ParticipantName,
        /// What failed.
        source: StoreError,
    },
    /// The transport failed.
    #[error("the host of participant {participant} cannot subscribe")]
    Transport {
        /// Of which participant.
        participant: ParticipantName,
        /// What failed.
        source: TransportError,
    },
}

/// What a host left behind when it was shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostReport {
    /// What it did in all.
    pub stats: HostStats,
    /// Commands that were given back to the transport unbegun.
    pub returned: u64,
    /// Whether handlers were still running at the end of the grace, and were dropped. Their
    /// claims are ended: a repeat runs them again.
    pub was_killed: bool,
    /// Commands whose end could not be stored. They are delivered again.
    pub unfinished: usize,
}

/// Serves participants. See [`Host::start`].
#[derive(Clone, Copy, Debug)]
pub struct Host;

/// A running host. Dropping it stops the host without waiting: its handlers are dropped, their
/// claims are ended in the background, and what is unanswered is delivered again.
#[derive(Debug)]
pub struct HostHandle {
    shared: Arc<Shared>,
    intake: JoinHandle<u64>,
    tasks: TaskTracker,
}

impl Host {
    /// Subscribes and begins to serve. `store` is the default inbox of participants with
    /// handlers; a resource, or a participant that names another inbox, needs none.
    ///
    /// # Errors
    /// [`HostError`]; nothing is running then.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped start serves nothing.
    pub async fn start(
        participant: impl Into<Participant>,
        transport: Arc<dyn Transport>,
        store: Option<Arc<dyn ParticipantStore>>,
        settings: HostSettings,
    ) -> Result<HostHandle, HostError> {
        let participant = participant.into();
        participant.check()?;
        settings.check()?;
        let name = participant.name.clone();
        let shared = Arc::new(share(participant, transport, store, settings)?);
        if let Service::Unit(service) = &shared.service {
            let checked = service.check();
            checked.map_err(|source| HostError::Store { participant: name.clone(), source })?;
        }
        if let Some(lease) = &shared.lease {
            let begun = lease.renew().await;
            begun.map_err(|source| HostError::Store { participant: name.clone(), source })?;
        }
        if let Some(store) = shared.store() {
            let loaded = shared.dead_letters.load(&**store).await;
            loaded.map_err(|source| HostError::Store { participant: name.clone(), source })?;
        }
        let group = shared.settings.group.clone().unwrap_or_else(|| name.as_str().to_owned());
        let prefetch = shared.settings.prefetch;
        let commands =
            subscribe(&shared, Interest::Participant(name.clone()), group, prefetch).await?;
        let answers = if shared.remembers() {
            let interest = Interest::InquiryAnswers(shared.host());
            let group = format!("{:?}", shared.host());
            Some(subscribe(&shared, interest, group, inquirer::ANSWERS_MAX).await?)
        } else {
            None
        };
        Ok(spawn(shared, commands, answers))
    }
}

fn share(
    participant: Participant,
    transport: Arc<dyn Transport>,
    store: Option<Arc<dyn ParticipantStore>>,
    settings: HostSettings,
) -> Result<Shared, HostError> {
    let incarnation = Incarnation::begin();
    let Participant { name, offers, resource, memory, .. } = participant;
    let scopes = Arc::new(InboxScopes::new(name.clone()));
    let leased = |store: &Arc<dyn ParticipantStore>| {
        let ttl = Duration::from_millis(settings.lease_ms);
        HostLease::on(store, &name, incarnation.id(), ttl).map(Arc::new)
    };
    let mut lease = None;
    let service = if let Some((resource, store)) = resource {
        Service::Resource(Served { resource, store })
    } else if let Memory::Unit(service) = memory {
        Service::Unit(service)
    } else {
        let mut stored = |store| {
            lease = leased(&store);
            Inbox::Stored(StoredInbox {
                lease: lease.clone(),
                store,
                scopes: scopes.clone(),
                host: incarnation.id(),
                running: Running::default(),
                conflict_retries_max: settings.conflict_retries_max,
            })
        };
        let inbox = match memory {
            Memory::Own(store) => stored(store),
            Memory::Host => stored(store.ok_or_else(|| HostError::NoInbox(name.clone()))?),
            Memory::Volatile => {
                Inbox::Volatile(VolatileInbox::new(incarnation.id(), settings.volatile_rows_max))
            }
            Memory::Nothing | Memory::Unit(_) => Inbox::Nothing,
        };
        Service::Handlers { offers, inbox: Box::new(inbox) }
    };
    let kill = CancellationToken::new();
    Ok(Shared {
        dead_letters: DeadLetters::new(&name, settings.dead_letters_max),
        participant: name,
        scopes,
        incarnation,
        transport,
        service,
        watch: Watch::new(settings.watched_max),
        lease,
        settings,
        counters: Counters::default(),
        watermarks: Watermarks::default(),
        held: AtomicUsize::new(0),
        // Who is killed is stopped.
        stop: kill.child_token(),
        kill,
    })
}

async fn subscribe(
    shared: &Shared,
    interest: Interest,
    group: String,
    prefetch: usize,
) -> Result<Box<dyn Subscription>, HostError> {
    let wish = Subscribe { interest, group, prefetch };
    shared.transport.subscribe(&wish).await.map_err(|source| {
        let participant = shared.participant.clone();
        HostError::Transport { participant, source }
    })
}

fn spawn(
    shared: Arc<Shared>,
    commands: Box<dyn Subscription>,
    answers: Option<Box<dyn Subscription>>,
) -> HostHandle {
    let tasks = TaskTracker::new();
    let capacity = shared.settings.prefetch;
    let (completions, completed) = mpsc::channel(capacity);
    let (ran, finished) = mpsc::channel(shared.settings.concurrency);
    let (own_sender, own) = mpsc::channel(inquirer::ANSWERS_MAX);
    let reports = Reports { tasks: tasks.clone(), ran, completions: completions.clone() };
    if !matches!(shared.service, Service::Resource(_)) {
        let (shared, tasks) = (Arc::clone(&shared), tasks.clone());
        tasks.clone().spawn(finish_all(shared, finished, completions, tasks));
    }
    if let Some(answers) = answers {
        tasks.spawn(inquirer::inquire(Arc::clone(&shared), answers, own_sender));
    }
    tasks.spawn(collector::collect(Arc::clone(&shared)));
    if let Some(lease) = shared.lease.clone() {
        let kill = shared.kill.clone();
        tasks.spawn(async move { lease.keep(&kill).await });
    }
    let intake = Intake::new(Arc::clone(&shared), commands, reports, completed, own);
    let intake = tokio::spawn(intake.run());
    tasks.close();
    HostHandle { shared, intake, tasks }
}

/// Stores the answers of handlers that had tasks of their own: while some writes are in flight,
/// the answers of the others gather for the next one.
///
/// Ends with the last sender of `finished`.
async fn finish_all(
    shared: Arc<Shared>,
    mut finished: mpsc::Receiver<Ran>,
    completions: mpsc::Sender<Completion>,
    tasks: TaskTracker,
) {
    let writes = Arc::new(Semaphore::new(shared.settings.batches_in_flight_max));
    loop {
        let permit = Arc::clone(&writes).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let mut batch = Vec::new();
        let batch_max = shared.settings.batch_commands_max;
        if finished.recv_many(&mut batch, batch_max).await == 0 {
            return;
        }
        let (shared, completions) = (Arc::clone(&shared), completions.clone());
        tasks.spawn(async move {
            let inbox = match &shared.service {
                Service::Handlers { inbox, .. } => Some(&**inbox),
                Service::Resource(_) | Service::Unit(_) => None,
            };
            handlers::finish(&shared, inbox, batch, &completions).await;
            drop(permit);
        });
    }
}

impl HostHandle {
    /// The name of this run of the host.
    pub fn host_id(&self) -> HolderId {
        self.shared.host()
    }

    /// Whom it serves.
    pub fn participant(&self) -> &ParticipantName {
        &self.shared.participant
    }

    /// What it did so far.
    pub fn stats(&self) -> HostStats {
        self.shared.counters.read()
    }

    /// The messages that could not be taken in, the oldest first, as many as the setting keeps.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.shared.dead_letters.list()
    }

    /// Whether it serves no longer, because it was stopped or its transport was closed.
    pub fn is_finished(&self) -> bool {
        self.intake.is_finished()
    }

    /// Stops: takes nothing new, gives back what is not begun, lets handlers run on for `grace`,
    /// and then drops them and ends their claims.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future stops the host like dropping the handle does.
    pub async fn shutdown(mut self, grace: Duration) -> HostReport {
        self.shared.stop.cancel();
        let mut was_killed = false;
        let mut ended = tokio::time::timeout(grace, &mut self.intake).await;
        if ended.is_err() {
            was_killed = true;
            self.shared.kill.cancel();
            ended = tokio::time::timeout(KILL_WAIT, &mut self.intake).await;
        }
        if ended.is_ok() {
            self.shared.kill.cancel();
            // Only helpers are left, and they end with the host.
            let idle = tokio::time::timeout(KILL_WAIT, self.tasks.wait()).await;
            if let (Ok(()), Some(lease)) = (idle, &self.shared.lease) {
                // It ends by itself in any case.
                let _ = tokio::time::timeout(KILL_WAIT, lease.leave()).await;
            }
        }
        let returned = match ended {
            Ok(Ok(returned)) => returned,
            Ok(Err(_)) | Err(_) => 0,
        };
        let unfinished = self.shared.held.load(Ordering::Relaxed);
        HostReport { stats: self.stats(), returned, was_killed, unfinished }
    }
}

impl Drop for HostHandle {
    fn drop(&mut self) {
        self.shared.kill.cancel();
    }
}
