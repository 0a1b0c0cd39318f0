//! Owning shards: taking them, keeping them, and taking up what is open in them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dtx_core::{
    crash_point,
    engine::{Input, next_pause},
    error::StoreError,
    ids::{ShardId, TxId, Version},
    name::ParticipantName,
    store::{Fence, Hints, Lease, LeaseRequest, OpenPage},
    time::Timestamp,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};

use super::{balance::Members, lane::LaneInput, lanes::Shared};
use crate::operator::{held, until_durable};

/// How long the store may take to get the leases back. They end by themselves in any case.
const RELEASE_WAIT: Duration = Duration::from_secs(5);

/// The least time between two scans that hints ask for: others may write all the time, and one
/// scan finds what all of them have written.
const HINT_PAUSE: Duration = Duration::from_millis(20);

/// Keeps the leases and scans the shards until it is cancelled.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    members: Members,
    /// What was due at the last scan, so that the same finding twice is none.
    seen: BTreeMap<TxId, Version>,
    held: std::collections::BTreeSet<ParticipantName>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let members = Members::new(&shared);
        Self { shared, members, seen: BTreeMap::new(), held: Default::default() }
    }

    /// Becomes one of the coordinators of the store, and takes its share of what is free now.
    pub(super) async fn join(&mut self) -> Result<(), StoreError> {
        self.follow_holds().await?;
        self.members.live(&self.shared).await?;
        self.balance().await
    }

    /// Gives back what is more than the share, and takes what is free up to it.
    async fn balance(&mut self) -> Result<(), StoreError> {
        let owned = self.shared.owned();
        let shards = self.shared.store.info().shards;
        if owned.len() == usize::from(shards.get()) && !self.members.spreads() {
            return Ok(());
        }
        let share = self.members.share(&self.shared).await?;
        self.give_back(&owned, share).await;
        let mut wanted = share.saturating_sub(owned.len());
        let mut others = self.members.in_turn(shards.shards().filter(|s| !owned.contains_key(s)));
        while wanted > 0 && !others.is_empty() {
            let asked: Vec<ShardId> = others.drain(..wanted.min(others.len())).collect();
            wanted -= self.take(asked).await?;
        }
        Ok(())
    }

    /// Takes those of the shards that are free. Says how many.
    async fn take(&self, shards: Vec<ShardId>) -> Result<usize, StoreError> {
        let shared = &self.shared;
        let ttl = shared.settings.lease_ttl;
        let request = LeaseRequest { holder: shared.holder, shards, ttl };
        crash_point!("lease.acquire.before");
        let leases = shared.store.acquire(&request).await?;
        crash_point!("lease.acquire.after");
        // Held by us for the store, and given up by us: it is given back, and the next lease has a
        // higher epoch.
        let (dropped, leases): (Vec<_>, Vec<_>) =
            leases.into_iter().partition(|lease| shared.has_dropped(lease.fence()));
        for lease in &leases {
            // First the lane, then the book: whoever finds the shard in the book may submit.
            shared.send(lease.shard, LaneInput::Leased(lease.clone())).await;
            shared.own(lease.clone());
        }
        let taken = leases.len();
        if taken > 0 {
            self.shared.announce();
            for lease in leases {
                self.recover(lease);
            }
        }
        // After the others, which need not wait for a store that does not take these.
        if !dropped.is_empty() {
            shared.store.release(&dropped).await?;
        }
        Ok(taken)
    }

    /// Another coordinator is to have these. Their memory is dropped first: nothing is written
    /// under a lease that is given back.
    async fn give_back(&self, owned: &BTreeMap<ShardId, Lease>, share: usize) {
        let surplus = dtx_core::engine::surplus(owned.keys().copied(), share);
        let leases: Vec<Lease> = surplus.iter().map(|shard| owned[shard].clone()).collect();
        if leases.is_empty() {
            return;
        }
        for lease in &leases {
            self.shared.disown(lease.fence());
            self.shared.send(lease.shard, LaneInput::LeaseLost(lease.fence())).await;
        }
        self.shared.announce();
        tracing::info!(shards = leases.len(), "shards are given to another coordinator");
        if let Err(error) = self.shared.store.release(&leases).await {
            tracing::warn!(%error, "leases could not be given back; they end by themselves");
        }
    }

    /// Hands every open transaction of a shard to its engine. All of them are read twice: one that
    /// a signal or an inquiry makes due moves to the front of the list, where the first reading
    /// may have been already.
    fn recover(&self, lease: Lease) {
        let shared = self.shared.clone();
        let keeping = shared.keeping.clone();
        let recovering = async move {
            let shard = lease.shard;
            while shared.owns(lease.fence()) {
                let mut read = hand_in(&shared, shard, Timestamp::MAX, &mut |_| ()).await;
                if read.is_ok() {
                    read = hand_in(&shared, shard, Timestamp::MAX, &mut |_| ()).await;
                }
                match read {
                    Ok(()) => {
                        crash_point!("recovery.complete.before");
                        shared.engine(shard, Input::RecoveryComplete).await;
                        crash_point!("recovery.complete.after");
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(%shard, %error, "the shard could not be read; again soon");
                        tokio::time::sleep(shared.settings.scan_interval).await;
                    }
                }
            }
        };
        self.shared.tasks.spawn(keeping.run_until_cancelled_owned(recovering));
    }

    pub(super) async fn run(mut self, lost: mpsc::UnboundedReceiver<Fence>) {
        let (shared, keeping) = (self.shared.clone(), self.shared.keeping.clone());
        // Side by side: a store that does not answer must not keep a loss from being known.
        let both = async { tokio::join!(self.keep(), note_losses(&shared, lost)) };
        keeping.run_until_cancelled(both).await;
        let leases: Vec<Lease> = self.shared.owned().into_values().collect();
        crash_point!("lease.release.before");
        let leaving = async {
            self.members.leave(&self.shared).await;
            self.shared.store.release(&leases).await
        };
        match tokio::time::timeout(RELEASE_WAIT, leaving).await {
            Ok(Ok(())) => {
                crash_point!("lease.release.after");
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the leases could not be given back; they end by themselves");
            }
            Err(_) => tracing::warn!("the store does not answer; the leases end by themselves"),
        }
    }

    async fn keep(&mut self) {
        let settings = self.shared.settings.clone();
        let mut renewal = tokio::time::interval(settings.lease_ttl / 3);
        let mut balancing =
            tokio::time::interval(settings.balance_interval.min(settings.lease_ttl / 3));
        for interval in [&mut renewal, &mut balancing] {
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let (shortest, longest) = (settings.scan_interval, settings.scan_interval_max);
        let mut hints = self.shared.store.hints();
        let mut pause = shortest;
        let mut scan_at = Instant::now();
        let mut scanned_at = None;
        loop {
            let looks = self.shared.clone();
            tokio::select! {
                _ = renewal.tick() => self.renew().await,
                _ = balancing.tick() => {
                    if let Err(error) = self.balance().await {
                        tracing::warn!(%error, "the shards could not be shared out");
                    }
                }
                () = looks.look.notified() => {
                    scan_at = Instant::now();
                    pause = shortest;
                }
                () = hinted(&mut hints) => {
                    let soon = scanned_at.map_or_else(Instant::now, |at| at + HINT_PAUSE);
                    scan_at = scan_at.min(soon);
                    pause = shortest;
                }
                () = tokio::time::sleep_until(scan_at) => {
                    scanned_at = Some(Instant::now());
                    let found = self.scan_all().await;
                    pause = next_pause(pause, found, shortest, longest.max(shortest));
                    scan_at = Instant::now() + pause;
                }
            }
        }
    }

    async fn renew(&mut self) {
        let leases: Vec<Lease> = self.shared.owned().into_values().collect();
        if !leases.is_empty() {
            match self.shared.store.renew(&leases).await {
                Ok(kept) => {
                    crash_point!("lease.renewed");
                    for lease in leases {
                        if !kept.iter().any(|k| k.shard == lease.shard && k.epoch == lease.epoch) {
                            self.shared.disown(lease.fence());
                            let lost = LaneInput::LeaseLost(lease.fence());
                            self.shared.send(lease.shard, lost).await;
                        }
                    }
                    self.shared.announce();
                }
                // An owner that cannot renew goes on: the fence of every write decides.
                Err(error) => tracing::warn!(%error, "the leases could not be renewed"),
            }
        }
        if let Err(error) = self.members.live(&self.shared).await {
            tracing::warn!(%error, "it could not be said that this coordinator lives");
        }
    }

    /// Looks for what is due in the owned shards, and for holds. Says whether there is anything
    /// for which it is worth looking again soon: something new, or anything open at all.
    async fn scan_all(&mut self) -> bool {
        match self.shared.store.now().await {
            Ok(now) => self.shared.clock.learn(now),
            Err(error) => tracing::warn!(%error, "the store's clock could not be read"),
        }
        if let Err(error) = self.follow_holds().await {
            tracing::warn!(%error, "the holds could not be read");
        }
        match self.hand_in_due().await {
            Ok(is_busy) => is_busy,
            Err(error) => {
                tracing::warn!(%error, "the shards could not be scanned");
                true
            }
        }
    }

    /// Hands what is due in the owned shards to their engines. Says whether there was anything
    /// new, or anything is open at all.
    async fn hand_in_due(&mut self) -> Result<bool, StoreError> {
        let shared = self.shared.clone();
        let owned: Vec<ShardId> = shared.owned().into_keys().collect();
        if owned.is_empty() {
            return Ok(false);
        }
        let earliest = shared.store.earliest(&owned).await?;
        let is_busy = earliest.iter().any(Option::is_some);
        let due = shared.clock.store_now() + Duration::from_millis(1);
        let mut seen = BTreeMap::new();
        for (shard, at) in owned.into_iter().zip(earliest) {
            if at.is_some_and(|at| at <= due) {
                hand_in(&shared, shard, due, &mut |page: &OpenPage| {
                    seen.extend(page.records.iter().map(|record| (record.tx, record.version)));
                })
                .await?;
            }
        }
        let found = seen.iter().any(|(tx, version)| self.seen.get(tx) != Some(version));
        self.seen = seen;
        Ok(found || is_busy)
    }

    /// Tells the lanes which participants are held, when that has changed.
    async fn follow_holds(&mut self) -> Result<(), StoreError> {
        let now = held(self.shared.operator.rows()).await?;
        if now != self.held {
            until_durable(self.shared.operator.rows()).await?;
            tracing::info!(held = ?now, "the held participants have changed");
            self.shared.hold(&now).await;
            self.held = now;
        }
        Ok(())
    }
}

/// The next hint of the store; never where it gives none.
async fn hinted(hints: &mut Option<Box<dyn Hints>>) {
    match hints {
        Some(hints) => hints.next().await,
        None => std::future::pending().await,
    }
}

/// Takes what the lanes lost out of the book.
async fn note_losses(shared: &Shared, mut losses: mpsc::UnboundedReceiver<Fence>) {
    while let Some(lost) = losses.recv().await {
        if shared.disown(lost) {
            tracing::warn!(shard = %lost.shard, "the lease of the shard is lost");
            shared.announce();
        }
    }
}

/// Hands the open transactions of a shard that are due to its engine, which knows what it has.
async fn hand_in(
    shared: &Shared,
    shard: ShardId,
    due: Timestamp,
    note: &mut (dyn FnMut(&OpenPage) + Send),
) -> Result<(), StoreError> {
    let mut cursor = None;
    loop {
        let most = shared.settings.scan_records_max;
        let page = shared.store.open(shard, due, cursor.as_ref(), most).await?;
        note(&page);
        let store_now = page.now;
        for record in page.records {
            let input = Input::Recovered { record: Box::new(record), store_now };
            crash_point!("recovery.record");
            shared.engine(shard, input).await;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}
