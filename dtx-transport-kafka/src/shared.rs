//! The hub with its lock, and how its two sides wake each other.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use dtx_core::{error::TransportError, transport::Envelope};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    context::Wake,
    hub::{Hub, Place},
    progress::Progress,
};

/// What the owner of a subscription, its consumer's thread and the tasks that move messages share.
pub(crate) struct Shared {
    hub: Mutex<Hub>,
    /// The generations of the partitions that are assigned now.
    parts: Mutex<HashMap<(String, i32), u64>>,
    /// Numbers assignments, for all subscriptions of a transport.
    counter: Arc<AtomicU64>,
    /// Wakes whoever receives.
    pub(crate) arrived: Notify,
    /// Wakes the thread.
    pub(crate) wake: Wake,
    /// Something was offered that whoever receives was not told of.
    offered: AtomicBool,
    /// The thread wants to be woken when there is room.
    wants_room: AtomicBool,
    ended: watch::Sender<bool>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(prefetch: usize, counter: Arc<AtomicU64>) -> Self {
        Self {
            hub: Mutex::new(Hub::new(prefetch)),
            parts: Mutex::new(HashMap::new()),
            counter,
            arrived: Notify::new(),
            wake: Wake::default(),
            offered: AtomicBool::new(false),
            wants_room: AtomicBool::new(false),
            ended: watch::Sender::new(false),
        }
    }

    /// The hub. Held shortly and never across an await.
    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        // Nothing panics in the middle of a change, so a poisoned one is still whole.
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self) -> MutexGuard<'_, HashMap<(String, i32), u64>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition was assigned: a new generation begins.
    pub(crate) fn assign(&self, topic: &str, partition: i32, progress: Progress) {
        let generation = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        self.parts().insert((topic.to_owned(), partition), generation);
        self.hub().assign(generation, Arc::from(topic), partition, progress);
    }

    pub(crate) fn generation(&self, topic: &str, partition: i32) -> Option<u64> {
        self.parts().get(&(topic.to_owned(), partition)).copied()
    }

    pub(crate) fn generations(&self) -> Vec<u64> {
        self.parts().values().copied().collect()
    }

    pub(crate) fn forget(&self, generations: &[u64]) {
        self.parts().retain(|_, generation| !generations.contains(generation));
        let mut hub = self.hub();
        generations.iter().for_each(|generation| hub.forget(*generation));
    }

    pub(crate) fn has(&self, generation: u64) -> bool {
        self.hub().has(generation)
    }

    /// Whether more messages may be taken, and the span of the partition.
    pub(crate) fn room(&self, generation: u64) -> (bool, usize) {
        let hub = self.hub();
        (hub.has_room(), hub.span(generation))
    }

    pub(crate) fn offer(
        &self,
        place: Place,
        envelope: Envelope,
        before: u32,
        due: Option<Instant>,
    ) {
        self.hub().offer(place, envelope, before, due);
        self.offered.store(true, Ordering::Relaxed);
    }

    /// Wakes whoever receives if something was offered since: once for all that one look brought,
    /// so that it is taken, and answered, together.
    pub(crate) fn tell_offered(&self) {
        if self.offered.swap(false, Ordering::Relaxed) {
            self.arrived.notify_one();
        }
    }

    /// The thread waits until there is room, or until what it gives up is settled.
    pub(crate) fn wait_for_room(&self) {
        self.wants_room.store(true, Ordering::SeqCst);
    }

    /// There may be room: the thread is woken if it waits for some.
    pub(crate) fn made_room(&self) {
        if self.wants_room.swap(false, Ordering::SeqCst) {
            self.wake.wake();
        }
    }

    /// Settles a message that was moved.
    pub(crate) fn settle(&self, place: Place) {
        self.hub().settle(place);
        self.made_room();
    }

    pub(crate) fn move_failed(&self, place: Place, delay: Duration) {
        self.hub().move_failed(place, Instant::now(), delay);
        self.arrived.notify_one();
    }

    /// Whoever receives is told once.
    pub(crate) fn fail(&self, failure: TransportError) {
        self.hub().failure = Some(failure);
        self.arrived.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.hub().closed
    }

    /// Ends the subscription; the thread does the rest.
    pub(crate) fn close(&self) {
        {
            let mut hub = self.hub();
            hub.closed = true;
            hub.failure = None;
        }
        self.arrived.notify_one();
        self.wake.wake();
    }

    pub(crate) fn ended(&self) {
        self.ended.send_replace(true);
    }

    /// Waits until the thread has given everything back.
    pub(crate) async fn wait_for_end(&self) {
        // The sender is ours, so it is not gone.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}
