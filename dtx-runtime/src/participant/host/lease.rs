//! The lease of a host on a store that several processes share. While it lasts, other hosts leave
//! the claims of this one alone; the host drops its handlers before it ends. So whoever finds that
//! it has ended may take a claim over, which nothing else would prove.
//!
//! A process that was stopped as a whole finds out only when it goes on: a handler may do one more
//! thing before it is dropped. Its answer is not stored then.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dtx_core::{
    engine::{member_of, member_read, member_write},
    error::StoreError,
    ids::HolderId,
    name::ParticipantName,
    resource::barrier::{Entry, InboxRow},
    store::{ParticipantStore, RowSet, RowWriteResult, Scope, ScopeRead, ScopeRows, StoredRow},
    time::Timestamp,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::inbox::conflicts;

/// The part of a lease after which it is renewed.
const RENEWED: u32 = 3;

/// Until when the lease lasts.
#[derive(Clone, Copy, Debug)]
struct Term {
    /// Not later than the store's.
    until: Instant,
    /// On the store's clock.
    stored: Timestamp,
}

/// What the store had when it was asked last.
#[derive(Debug)]
struct Found {
    at: Instant,
    rows: ScopeRows,
}

/// The lease of one run of a host.
#[derive(Debug)]
pub(crate) struct HostLease {
    store: Arc<dyn ParticipantStore>,
    scope: Scope,
    host: HolderId,
    ttl: Duration,
    term: watch::Sender<Term>,
    found: Mutex<Option<Found>>,
}

impl HostLease {
    /// For a store that several processes may share; elsewhere the opening of the store says who
    /// is gone.
    pub(crate) fn on(
        store: &Arc<dyn ParticipantStore>,
        participant: &ParticipantName,
        host: HolderId,
        ttl: Duration,
    ) -> Option<Self> {
        if store.info().opening.is_some() {
            return None;
        }
        let scope = Scope::new(format!("{participant}/hosts")).expect("a name makes a scope");
        let over = Term { until: Instant::now(), stored: Timestamp::default() };
        let (term, _) = watch::channel(over);
        let (store, found) = (Arc::clone(store), Mutex::new(None));
        Some(Self { store, scope, host, ttl, term, found })
    }

    /// Until when a claim may be stored, on the store's clock.
    pub(crate) fn not_after(&self) -> Timestamp {
        self.term.borrow().stored
    }

    /// Waits for the end of the lease.
    pub(crate) async fn ended(&self) {
        let mut term = self.term.subscribe();
        loop {
            let until = term.borrow_and_update().until;
            tokio::select! {
                () = tokio::time::sleep_until(until) => {
                    if term.borrow().until <= until {
                        return;
                    }
                }
                // The sender lives as long as this.
                _ = term.changed() => {}
            }
        }
    }

    fn take_found(&self) -> Option<Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn look(&self) -> Result<Found, StoreError> {
        let at = Instant::now();
        let read = ScopeRead { scope: self.scope.clone(), ..member_read(self.host) };
        let rows = self.store.read(&[read]).await?.pop().ok_or_else(conflicts)?;
        Ok(Found { at, rows })
    }

    /// Begins the lease, or makes it longer.
    ///
    /// # Errors
    /// Those of the store. The lease ends when it would have.
    pub(crate) async fn renew(&self) -> Result<(), StoreError> {
        let found = match self.take_found() {
            Some(found) => found,
            None => self.look().await?,
        };
        // What the store's clock shows at the least, and at this moment.
        let at = Instant::now();
        let now = found.rows.now + at.saturating_duration_since(found.at);
        let rows = ScopeRows { now, ..found.rows };
        let Ok(Some(set)) = member_write(self.host, &rows, Some(self.ttl)) else {
            return Err(conflicts());
        };
        let set = RowSet { scope: self.scope.clone(), ..set };
        match self.store.write(&[set]).await.pop() {
            Some(RowWriteResult::Written) => {
                self.term.send_replace(Term { until: at + self.ttl, stored: now + self.ttl });
                self.expect(Found { at, rows });
                Ok(())
            }
            Some(RowWriteResult::Failed(error)) => Err(error),
            _ => Err(conflicts()),
        }
    }

    /// Remembers what the row is now, so that the next renewal need not read it.
    fn expect(&self, mut found: Found) {
        if let Some(Some(row)) = found.rows.rows.first_mut() {
            row.version = row.version.next();
            *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        }
    }

    /// Renews the lease until the host has ended.
    pub(crate) async fn keep(&self, kill: &CancellationToken) {
        let keeping = async {
            loop {
                tokio::time::sleep(self.ttl / RENEWED).await;
                if let Err(error) = self.renew().await {
                    tracing::warn!(%error, scope = %self.scope, "the lease of a host is not renewed");
                }
            }
        };
        kill.run_until_cancelled(keeping).await;
    }

    /// Gives the lease up, so that others need not wait for its end. No handler may be running.
    pub(crate) async fn leave(&self) {
        self.term.send_modify(|term| term.until = Instant::now());
        let leaving = async {
            let found = self.look().await?;
            let gone = member_write(self.host, &found.rows, None);
            let Ok(Some(set)) = gone else { return Ok(()) };
            match self.store.write(&[RowSet { scope: self.scope.clone(), ..set }]).await.pop() {
                Some(RowWriteResult::Failed(error)) => Err(error),
                _ => Ok(()),
            }
        };
        if let Err(error) = leaving.await {
            tracing::debug!(%error, "the others find out by themselves that this host is gone");
        }
    }

    /// Of the hosts that have claims in these rows, those whose lease has ended. Asked after the
    /// rows were read, so that what has ended had ended its handlers.
    pub(crate) async fn gone(&self, read: &[ScopeRows]) -> Result<HashSet<HolderId>, StoreError> {
        let rows = read.iter().flat_map(|scope| scope.rows.iter().flatten());
        let hosts: BTreeSet<HolderId> =
            rows.flat_map(claimants).filter(|host| *host != self.host).collect();
        if hosts.is_empty() {
            return Ok(HashSet::new());
        }
        let keys = hosts.iter().flat_map(|host| member_read(*host).keys).collect();
        let wanted = ScopeRead { scope: self.scope.clone(), keys };
        let found =
            self.store.read(std::slice::from_ref(&wanted)).await?.pop().ok_or_else(conflicts)?;
        let lives = |key, row: &Option<StoredRow>| match row {
            // A row that nobody can read proves nothing.
            Some(row) => member_of(key, row).map_or(true, |member| member.until >= found.now),
            None => false,
        };
        let hosts = hosts.into_iter().zip(wanted.keys.iter().zip(&found.rows));
        Ok(hosts.filter(|(_, (key, row))| !lives(key, row)).map(|(host, _)| host).collect())
    }
}

/// The hosts that have claims in a row.
fn claimants(row: &StoredRow) -> Vec<HolderId> {
    let Ok(row) = InboxRow::decode(&row.value) else { return Vec::new() };
    let started = row.entries().iter().filter_map(|(_, entry)| match entry {
        Entry::Started { host, .. } => Some(*host),
        Entry::Unsettled | Entry::Done(_) | Entry::Rejected(_) => None,
    });
    started.collect()
}
