//! Owning shards: taking them, keeping them, and taking up what is open in them.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    crash_point,
    engine::Input,
    ids::ShardId,
    store::{Fence, Lease, LeaseRequest},
    time::Timestamp,
};
use tokio::sync::mpsc;

use super::{lane::LaneInput, lanes::Shared};

/// How long the store may take to get the leases back. They end by themselves in any case.
const RELEASE_WAIT: Duration = Duration::from_secs(5);

/// Keeps the leases and scans the shards until it is cancelled.
pub(super) struct Keeper {
    shared: Arc<Shared>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Takes what is free now.
    pub(super) async fn take_free(&self) -> Result<(), dtx_core::error::StoreError> {
        let shared = &self.shared;
        let owned = shared.owned();
        let all = shared.store.info().shards.shards();
        let shards: Vec<ShardId> = all.filter(|shard| !owned.contains_key(shard)).collect();
        if shards.is_empty() {
            return Ok(());
        }
        let ttl = shared.settings.lease_ttl;
        let request = LeaseRequest { holder: shared.holder, shards, ttl };
        crash_point!("lease.acquire.before");
        let leases = shared.store.acquire(&request).await?;
        crash_point!("lease.acquire.after");
        for lease in &leases {
            // First the lane, then the book: whoever finds the shard in the book may submit.
            shared.send(lease.shard, LaneInput::Leased(lease.clone())).await;
            shared.own(lease.clone());
        }
        if !leases.is_empty() {
            self.shared.announce();
            for lease in leases {
                self.recover(lease);
            }
        }
        Ok(())
    }

    /// Hands every open transaction of a shard to its engine.
    fn recover(&self, lease: Lease) {
        let shared = self.shared.clone();
        let keeping = shared.keeping.clone();
        let recovering = async move {
            let shard = lease.shard;
            while shared.owns(lease.fence()) {
                match scan(&shared, shard, Timestamp::MAX).await {
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

    pub(super) async fn run(self, lost: mpsc::UnboundedReceiver<Fence>) {
        let keeping = self.shared.keeping.clone();
        // Side by side: a store that does not answer must not keep a loss from being known.
        let both = async { tokio::join!(self.keep(), self.note_losses(lost)) };
        keeping.run_until_cancelled(both).await;
        let leases: Vec<Lease> = self.shared.owned().into_values().collect();
        crash_point!("lease.release.before");
        let released = self.shared.store.release(&leases);
        match tokio::time::timeout(RELEASE_WAIT, released).await {
            Ok(Ok(())) => {
                crash_point!("lease.release.after");
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the leases could not be given back; they end by themselves");
            }
            Err(_) => tracing::warn!("the store does not answer; the leases end by themselves"),
        }
    }

    /// Takes what the lanes lost out of the book.
    async fn note_losses(&self, mut losses: mpsc::UnboundedReceiver<Fence>) {
        while let Some(lost) = losses.recv().await {
            if self.shared.disown(lost) {
                tracing::warn!(shard = %lost.shard, "the lease of the shard is lost");
                self.shared.announce();
            }
        }
    }

    async fn keep(&self) {
        let settings = self.shared.settings.clone();
        let mut renewal = tokio::time::interval(settings.lease_ttl / 3);
        let mut scanning = tokio::time::interval(settings.scan_interval);
        for interval in [&mut renewal, &mut scanning] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                _ = renewal.tick() => self.renew().await,
                _ = scanning.tick() => self.scan_due().await,
            }
        }
    }

    async fn renew(&self) {
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
        if let Err(error) = self.take_free().await {
            tracing::warn!(%error, "free shards could not be taken");
        }
    }

    async fn scan_due(&self) {
        match self.shared.store.now().await {
            Ok(now) => self.shared.clock.learn(now),
            Err(error) => tracing::warn!(%error, "the store's clock could not be read"),
        }
        let due = self.shared.clock.store_now() + Duration::from_millis(1);
        for shard in self.shared.owned().into_keys() {
            if let Err(error) = scan(&self.shared, shard, due).await {
                tracing::warn!(%shard, %error, "the shard could not be scanned");
                return;
            }
        }
    }
}

/// Hands the open transactions of a shard that are due to its engine, which knows what it has.
async fn scan(
    shared: &Shared,
    shard: ShardId,
    due: Timestamp,
) -> Result<(), dtx_core::error::StoreError> {
    let mut cursor = None;
    loop {
        let most = shared.settings.scan_records_max;
        let page = shared.store.open(shard, due, cursor.as_ref(), most).await?;
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
