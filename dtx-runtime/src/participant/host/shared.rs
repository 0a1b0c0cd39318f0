//! What all tasks of one host share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer},
    error::StoreError,
    ids::HolderId,
    name::ParticipantName,
    resource::{Resource, barrier::InboxRow, route},
    store::{ParticipantStore, Scope},
    transport::{Command, Transport},
};
use tokio_util::sync::CancellationToken;

use super::{
    collector::Watermarks,
    dead_letters::DeadLetters,
    inbox::{Claimed, Held, InboxScopes, StoredInbox},
    incarnation::Incarnation,
    job::{Job, OperationKey},
    lease::HostLease,
    unit::UnitService,
    volatile::VolatileInbox,
    watch::Watch,
};
use crate::participant::{offer::Offers, settings::HostSettings};

/// What a host did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostStats {
    /// Commands that were received, duplicates included.
    pub commands: u64,
    /// Replies that were published.
    pub replies: u64,
    /// Handlers that were begun, or commands that a resource carried out or refused.
    pub runs: u64,
    /// Commands that met a fault of the host or its store.
    pub faults: u64,
    /// Inquiries that were sent.
    pub inquiries: u64,
    /// Messages that became dead letters.
    pub dead_letters: u64,
    /// Prepared branches that somebody else had ended against the verdict.
    pub heuristics: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commands: AtomicU64,
    pub(crate) replies: AtomicU64,
    pub(crate) runs: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) inquiries: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) heuristics: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn read(&self) -> HostStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HostStats {
            commands: get(&self.commands),
            replies: get(&self.replies),
            runs: get(&self.runs),
            faults: get(&self.faults),
            inquiries: get(&self.inquiries),
            dead_letters: get(&self.dead_letters),
            heuristics: get(&self.heuristics),
        }
    }
}

/// Where a participant with handlers remembers what it answered.
#[derive(Debug)]
pub(crate) enum Inbox {
    Stored(StoredInbox),
    Volatile(VolatileInbox),
    Nothing,
}

/// A resource and its store.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) resource: Arc<dyn Resource>,
    pub(crate) store: Arc<dyn ParticipantStore>,
}

/// What the host serves.
#[derive(Debug)]
pub(crate) enum Service {
    Resource(Served),
    Handlers {
        offers: Offers,
        inbox: Box<Inbox>,
    },
    /// Handlers in whose transactions the inbox is.
    Unit(Arc<dyn UnitService>),
}

/// What all tasks of one host share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) participant: ParticipantName,
    pub(crate) scopes: Arc<InboxScopes>,
    pub(crate) incarnation: Incarnation,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) service: Service,
    pub(crate) settings: HostSettings,
    pub(crate) counters: Counters,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) watch: Watch,
    /// On a store that several processes share, of a host whose claims are stored.
    pub(crate) lease: Option<Arc<HostLease>>,
    pub(crate) watermarks: Watermarks,
    /// How many commands were received and are neither acknowledged nor given back.
    pub(crate) held: AtomicUsize,
    /// Nothing new is begun.
    pub(crate) stop: CancellationToken,
    /// Running handlers are dropped.
    pub(crate) kill: CancellationToken,
}

impl Shared {
    pub(crate) fn host(&self) -> HolderId {
        self.incarnation.id()
    }

    /// The store with this participant's rows.
    pub(crate) fn store(&self) -> Option<&Arc<dyn ParticipantStore>> {
        match &self.service {
            Service::Resource(served) => Some(&served.store),
            Service::Unit(service) => Some(service.store()),
            Service::Handlers { inbox, .. } => match &**inbox {
                Inbox::Stored(inbox) => Some(&inbox.store),
                Inbox::Volatile(_) | Inbox::Nothing => None,
            },
        }
    }

    /// The scope with the inbox row of the command's operation, or the answer of one that
    /// reaches no scope.
    pub(crate) fn scope(&self, command: &Command) -> Result<Scope, PhaseAnswer> {
        match &self.service {
            Service::Resource(served) => route(&*served.resource, command),
            Service::Handlers { .. } | Service::Unit(_) => Ok(self.scopes.of(command.shard)),
        }
    }

    /// Whether there is a memory from which a verdict could be carried out.
    pub(crate) fn remembers(&self) -> bool {
        match &self.service {
            Service::Resource(_) | Service::Unit(_) => true,
            Service::Handlers { inbox, .. } => !matches!(**inbox, Inbox::Nothing),
        }
    }

    /// Waits for the end of the host's lease; for ever where it has none.
    pub(crate) async fn lease_ended(&self) {
        match &self.lease {
            Some(lease) => lease.ended().await,
            None => std::future::pending().await,
        }
    }

    /// What is remembered of an operation in this process alone.
    pub(crate) fn volatile_row(&self, key: OperationKey) -> Option<InboxRow> {
        match &self.service {
            Service::Handlers { inbox, .. } => match &**inbox {
                Inbox::Volatile(inbox) => inbox.row(key),
                Inbox::Stored(_) | Inbox::Nothing => None,
            },
            Service::Resource(_) | Service::Unit(_) => None,
        }
    }
}

impl Inbox {
    pub(crate) async fn claim(&self, jobs: &[&Job]) -> Vec<Claimed> {
        match self {
            Self::Stored(inbox) => inbox.claim(jobs).await,
            Self::Volatile(inbox) => inbox.claim(jobs),
            Self::Nothing => jobs.iter().map(|_| Claimed::Ask { forward: None }).collect(),
        }
    }

    pub(crate) async fn finish(
        &self,
        items: Vec<(&Command, Held, PhaseAnswer)>,
    ) -> Vec<Result<PhaseAnswer, StoreError>> {
        match self {
            Self::Stored(inbox) => inbox.finish(items).await,
            Self::Volatile(inbox) => inbox.finish(&items).into_iter().map(Ok).collect(),
            Self::Nothing => items.into_iter().map(|(_, _, answer)| Ok(answer)).collect(),
        }
    }
}

/// The answer to `status` where no handler gives one.
pub(crate) fn known(forward: Option<Done>) -> PhaseAnswer {
    forward.ok_or_else(|| NotDone::unknown("nothing is known of this operation"))
}
