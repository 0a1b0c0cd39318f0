//! The deliveries of one subscription that wait for their acknowledgement.

use slab::Slab;
use tokio::time::Instant;

use crate::queue::{Message, QueueId};

/// How many bits of a delivery's number name its slot; the rest count deliveries.
pub(crate) const SLOT_BITS: u32 = 20;

const NONE: usize = usize::MAX;

/// A delivery that is out.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) queue: QueueId,
    pub(crate) message: Message,
}

#[derive(Debug)]
struct Slot {
    held: Held,
    number: u64,
    expires: Option<Instant>,
    older: usize,
    newer: usize,
}

/// A slab whose slots are linked from the oldest delivery to the newest: adding, taking by
/// number and finding the next to expire all cost the same however many are out, and memory is
/// bounded by the prefetch even if one delivery is never acknowledged.
#[derive(Debug)]
pub(crate) struct Unacked {
    slots: Slab<Slot>,
    oldest: usize,
    newest: usize,
    delivered: u64,
}

impl Unacked {
    pub(crate) fn new() -> Self {
        Self { slots: Slab::new(), oldest: NONE, newest: NONE, delivered: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds a delivery and gives its number. `expires` must not be before that of an older one.
    pub(crate) fn add(&mut self, held: Held, expires: Option<Instant>) -> u64 {
        self.delivered += 1;
        let key = self.slots.vacant_key();
        let number = self.delivered << SLOT_BITS | key as u64;
        self.slots.insert(Slot { held, number, expires, older: NONE, newer: NONE });
        self.link(key);
        number
    }

    /// Lets a delivery that is out expire later. `expires` must not be before that of any other.
    pub(crate) fn extend(&mut self, number: u64, expires: Option<Instant>) {
        let Some(key) = self.key(number) else { return };
        self.unlink(key);
        self.slots[key].expires = expires;
        self.link(key);
    }

    /// Where a delivery is; `None` when it is not out any more.
    fn key(&self, number: u64) -> Option<usize> {
        let key = (number & ((1 << SLOT_BITS) - 1)) as usize;
        (self.slots.get(key)?.number == number).then_some(key)
    }

    /// Makes a slot the newest.
    fn link(&mut self, key: usize) {
        (self.slots[key].older, self.slots[key].newer) = (self.newest, NONE);
        match self.slots.get_mut(self.newest) {
            Some(before) => before.newer = key,
            None => self.oldest = key,
        }
        self.newest = key;
    }

    /// Takes a delivery out; `None` when it is not out any more.
    pub(crate) fn take(&mut self, number: u64) -> Option<Held> {
        let key = self.key(number)?;
        Some(self.remove(key))
    }

    /// Takes the oldest delivery out if it has expired.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<Held> {
        let expires = self.next_expiry()?;
        (expires <= now).then(|| self.remove(self.oldest))
    }

    /// When the oldest delivery expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.slots.get(self.oldest)?.expires
    }

    /// Takes all out, oldest first.
    pub(crate) fn take_all(&mut self) -> Vec<Held> {
        let mut all = Vec::with_capacity(self.len());
        while self.oldest != NONE {
            all.push(self.remove(self.oldest));
        }
        all
    }

    fn remove(&mut self, key: usize) -> Held {
        self.unlink(key);
        self.slots.remove(key).held
    }

    fn unlink(&mut self, key: usize) {
        let Slot { older, newer, .. } = self.slots[key];
        match self.slots.get_mut(older) {
            Some(before) => before.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer) {
            Some(after) => after.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dtx_core::{
        ids::{HolderId, OperationIndex, TxId},
        name::ParticipantName,
        pattern::Pattern,
        transport::{Body, Envelope, Inquiry},
    };

    use super::*;

    fn held(number: usize) -> Held {
        let envelope = Envelope::new(Body::Inquiry(Inquiry {
            tx: TxId::from_bytes([0; 16]),
            pattern: Pattern::Saga,
            operation: OperationIndex(0),
            participant: ParticipantName::new("p").expect("a name"),
            host: HolderId(0),
        }));
        Held { queue: QueueId(number), message: Message { envelope, attempt: 0 } }
    }

    fn queues(all: &[Held]) -> Vec<usize> {
        all.iter().map(|held| held.queue.0).collect()
    }

    #[test]
    fn takes_in_any_order_and_keeps_the_age_of_the_rest() {
        let now = Instant::now();
        let expires = |i: u64| Some(now + Duration::from_secs(i));
        let mut unacked = Unacked::new();
        let numbers: Vec<u64> = (0..5).map(|i| unacked.add(held(i), expires(i as u64))).collect();
        for middle in [2, 0, 4] {
            assert_eq!(unacked.take(numbers[middle]).map(|h| h.queue.0), Some(middle));
            assert!(unacked.take(numbers[middle]).is_none(), "it is out only once");
        }
        assert_eq!(unacked.next_expiry(), expires(1));
        // The slots are used again, and an old number does not name the new delivery.
        unacked.add(held(5), expires(5));
        assert!(unacked.take(numbers[4]).is_none());
        assert!(unacked.take_expired(now).is_none());
        let late = now + Duration::from_secs(1);
        assert_eq!(unacked.take_expired(late).map(|h| h.queue.0), Some(1));
        assert!(unacked.take_expired(late).is_none());
        assert_eq!(queues(&unacked.take_all()), [3, 5]);
        assert_eq!((unacked.len(), unacked.next_expiry()), (0, None));
        unacked.add(held(6), None);
        assert!(unacked.take_expired(late).is_none(), "without an expiry it stays");
        assert_eq!(queues(&unacked.take_all()), [6]);
    }

    #[test]
    fn what_is_extended_expires_last() {
        let now = Instant::now();
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        let mut unacked = Unacked::new();
        let numbers: Vec<u64> = (0..3).map(|i| unacked.add(held(i), Some(at(5)))).collect();
        for number in [numbers[0], numbers[0], numbers[2]] {
            unacked.extend(number, Some(at(6)));
        }
        assert_eq!(unacked.take_expired(at(5)).map(|h| h.queue.0), Some(1));
        assert!(unacked.take_expired(at(5)).is_none());
        // What is not out any more is not brought back.
        unacked.extend(numbers[1], Some(at(7)));
        assert_eq!((unacked.len(), unacked.next_expiry()), (2, Some(at(6))));
        assert_eq!(unacked.take(numbers[0]).map(|h| h.queue.0), Some(0));
        assert_eq!(unacked.take_expired(at(6)).map(|h| h.queue.0), Some(2));
        assert_eq!((unacked.len(), unacked.next_expiry()), (0, None));
    }

    #[test]
    fn memory_is_bounded_by_what_is_out_even_if_the_oldest_stays() {
        let mut unacked = Unacked::new();
        unacked.add(held(0), None);
        for i in 1..10_000 {
            let number = unacked.add(held(i), None);
            unacked.take(number);
        }
        assert_eq!(unacked.len(), 1);
        assert!(unacked.slots.capacity() < 16, "{}", unacked.slots.capacity());
    }
}
