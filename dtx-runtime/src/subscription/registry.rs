//! The subscriptions that there are.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dtx_core::transport::Subscription;
use tokio::time::Instant;

/// One subscription, shared by its owner and the registry.
#[derive(Debug)]
pub(super) struct Slot {
    /// Locked for as long as it is used; `None` once it was collected.
    pub(super) subscription: tokio::sync::Mutex<Option<Box<dyn Subscription>>>,
    used_at: Mutex<Instant>,
}

impl Slot {
    /// It is used now.
    pub(super) fn touch(&self) {
        *lock(&self.used_at) = Instant::now();
    }
}

/// All subscriptions of a transport that are open.
#[derive(Debug, Default)]
pub(super) struct Registry {
    slots: Mutex<HashMap<u64, Arc<Slot>>>,
    next: AtomicU64,
}

impl Registry {
    pub(super) fn add(&self, subscription: Box<dyn Subscription>) -> (u64, Arc<Slot>) {
        let slot = Arc::new(Slot {
            subscription: tokio::sync::Mutex::new(Some(subscription)),
            used_at: Mutex::new(Instant::now()),
        });
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.slots).insert(id, slot.clone());
        (id, slot)
    }

    pub(super) fn remove(&self, id: u64) {
        lock(&self.slots).remove(&id);
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.slots).len()
    }

    /// Closes what nobody has used for so long. What is in use cannot be locked, and stays.
    pub(super) async fn collect(&self, ttl: Duration) {
        let slots: Vec<_> = lock(&self.slots).iter().map(|(id, s)| (*id, s.clone())).collect();
        for (id, slot) in slots {
            let Ok(mut subscription) = slot.subscription.try_lock() else { continue };
            if lock(&slot.used_at).elapsed() < ttl {
                continue;
            }
            let Some(mut taken) = subscription.take() else { continue };
            drop(subscription);
            self.remove(id);
            tracing::warn!(
                ?ttl,
                "a subscription that nobody has read for its time to live is closed"
            );
            close(taken.as_mut()).await;
        }
    }

    /// Closes all that are not in use.
    pub(super) async fn close_all(&self) {
        self.collect(Duration::ZERO).await;
    }
}

async fn close(subscription: &mut dyn Subscription) {
    if let Err(error) = subscription.close().await {
        tracing::debug!(%error, "a subscription was not closed in order; it is dropped");
    }
}

/// What is kept under these locks is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
