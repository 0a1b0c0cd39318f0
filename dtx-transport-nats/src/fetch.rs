//! How many messages are asked of which queue.
//!
//! A queue without traffic has one wish for one message. The room of the subscription is shared
//! among those with traffic, and a wish for many ends soon, so that what it holds back is free for
//! another queue that wakes up.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// How long a wish for one message stands.
const ONE_STANDS: Duration = Duration::from_secs(10);

/// How long a wish for several stands.
const MANY_STAND: Duration = Duration::from_secs(1);

/// How long after its end a wish is believed to be lost if nothing was heard of it.
const GRACE: Duration = Duration::from_secs(1);

/// The most messages of one wish.
const BATCH_MAX: usize = 1_024;

/// A wish that stands.
#[derive(Clone, Copy, Debug)]
struct Wish {
    number: u64,
    left: usize,
    ends: Instant,
}

/// What is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Of which queue.
    pub(crate) queue: usize,
    /// Under this number.
    pub(crate) number: u64,
    /// For how many messages.
    pub(crate) batch: usize,
    /// How long it stands.
    pub(crate) stands: Duration,
}

#[derive(Debug, Default)]
struct Queue {
    wishes: VecDeque<Wish>,
    is_busy: bool,
    /// Something came since a wish ended.
    has_come: bool,
    not_before: Option<Instant>,
}

impl Queue {
    fn asked(&self) -> usize {
        self.wishes.iter().map(|wish| wish.left).sum()
    }
}

/// The wishes of a subscription. Pure: times are given.
#[derive(Debug)]
pub(crate) struct Fetch {
    queues: Vec<Queue>,
    number: u64,
    /// With whom the next round begins.
    turn: usize,
}

impl Fetch {
    pub(crate) fn new(queues: usize) -> Self {
        Self { queues: (0..queues).map(|_| Queue::default()).collect(), number: 0, turn: 0 }
    }

    /// What to ask, with this much room.
    pub(crate) fn wants(&mut self, room: usize, now: Instant) -> Vec<Ask> {
        let mut asks = Vec::new();
        for queue in &mut self.queues {
            queue.wishes.retain(|wish| wish.ends > now);
        }
        if room == 0 {
            return asks;
        }
        let mut free = room.saturating_sub(self.queues.iter().map(Queue::asked).sum());
        let busy = self.queues.iter().filter(|queue| queue.is_busy).count().max(1);
        let share = (free / busy).clamp(1, BATCH_MAX);
        let count = self.queues.len();
        self.turn += 1;
        for step in 0..count {
            let index = (self.turn + step) % count;
            let queue = &mut self.queues[index];
            if queue.not_before.is_some_and(|at| at > now) {
                continue;
            }
            let asked = queue.asked();
            let batch = match queue.is_busy {
                true if free > 0 && share >= asked => share.min(free),
                // Whatever the others hold back: nothing else would show that it has something.
                _ if asked == 0 => 1,
                _ => continue,
            };
            free = free.saturating_sub(batch);
            let stands = if batch == 1 { ONE_STANDS } else { MANY_STAND };
            self.number += 1;
            let wish = Wish { number: self.number, left: batch, ends: now + stands + GRACE };
            queue.wishes.push_back(wish);
            asks.push(Ask { queue: index, number: self.number, batch, stands });
        }
        asks
    }

    /// A message came.
    pub(crate) fn came(&mut self, queue: usize) {
        let Some(queue) = self.queues.get_mut(queue) else { return };
        (queue.is_busy, queue.has_come) = (true, true);
        if let Some(wish) = queue.wishes.front_mut() {
            wish.left -= 1;
            if wish.left == 0 {
                queue.wishes.pop_front();
            }
        }
    }

    /// A wish ended before it was fulfilled.
    pub(crate) fn ended(&mut self, queue: usize, number: u64) {
        let Some(queue) = self.queues.get_mut(queue) else { return };
        let before = queue.wishes.len();
        queue.wishes.retain(|wish| wish.number != number);
        if queue.wishes.len() < before {
            queue.is_busy = std::mem::take(&mut queue.has_come);
        }
    }

    /// A queue cannot be asked for a while.
    pub(crate) fn rest(&mut self, queue: usize, until: Instant) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.not_before = Some(until);
        }
    }

    /// No wish stands any more.
    pub(crate) fn forget(&mut self) {
        self.queues.iter_mut().for_each(|queue| queue.wishes.clear());
    }

    /// When there is something to look at again.
    pub(crate) fn next_look(&self, now: Instant) -> Instant {
        let ends = self.queues.iter().flat_map(|queue| queue.wishes.iter().map(|wish| wish.ends));
        let rests = self.queues.iter().filter_map(|queue| queue.not_before).filter(|at| *at > now);
        ends.chain(rests).min().unwrap_or(now + ONE_STANDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(asks: &[Ask]) -> Vec<(usize, usize)> {
        let mut batches: Vec<_> = asks.iter().map(|ask| (ask.queue, ask.batch)).collect();
        batches.sort_unstable();
        batches
    }

    #[test]
    fn a_quiet_queue_is_asked_for_one_and_a_busy_one_gets_the_room() {
        let now = Instant::now();
        let mut fetch = Fetch::new(3);
        assert_eq!(batches(&fetch.wants(100, now)), [(0, 1), (1, 1), (2, 1)]);
        assert!(fetch.wants(100, now).is_empty());
        fetch.came(1);
        // One is held, two are asked of the others.
        assert_eq!(batches(&fetch.wants(99, now)), [(1, 97)]);
        fetch.came(2);
        assert_eq!(batches(&fetch.wants(98, now)), [(2, 1)], "all is asked of the other one");
        for _ in 0..60 {
            fetch.came(1);
        }
        assert!(fetch.wants(38, now).is_empty());
        // The room comes back as messages are acknowledged.
        assert_eq!(batches(&fetch.wants(98, now)), [(2, 29)], "it has asked for less");
    }

    #[test]
    fn without_room_nothing_is_asked_and_with_little_each_still_gets_its_turn() {
        let now = Instant::now();
        let mut fetch = Fetch::new(6);
        assert!(fetch.wants(0, now).is_empty());
        assert_eq!(fetch.wants(1, now).len(), 6, "one message may come from any of them");
        fetch.came(3);
        assert!(fetch.wants(0, now).is_empty());
        assert_eq!(batches(&fetch.wants(1, now)), [(3, 1)]);
    }

    #[test]
    fn a_wish_that_ends_or_is_lost_is_made_again() {
        let now = Instant::now();
        let mut fetch = Fetch::new(1);
        let first = fetch.wants(10, now)[0];
        fetch.ended(0, first.number + 1);
        assert!(fetch.wants(10, now).is_empty(), "another one ended");
        fetch.ended(0, first.number);
        let second = fetch.wants(10, now)[0];
        assert!(second.number > first.number);
        let lost = now + second.stands + GRACE;
        assert_eq!(fetch.next_look(now), lost);
        assert!(fetch.wants(10, lost - Duration::from_nanos(1)).is_empty());
        assert_eq!(fetch.wants(10, lost).len(), 1);
        fetch.forget();
        assert_eq!(fetch.wants(10, lost).len(), 1);
    }

    #[test]
    fn a_busy_queue_becomes_quiet_when_its_wish_ends_and_a_resting_one_is_left_alone() {
        let now = Instant::now();
        let mut fetch = Fetch::new(1);
        fetch.wants(10, now);
        fetch.came(0);
        let many = fetch.wants(9, now)[0];
        assert_eq!((many.batch, many.stands), (9, MANY_STAND));
        fetch.ended(0, many.number);
        let again = fetch.wants(10, now)[0];
        assert_eq!(again.batch, 10, "something came since the last one ended");
        fetch.ended(0, again.number);
        fetch.rest(0, now + GRACE);
        assert!(fetch.wants(10, now).is_empty());
        assert_eq!(fetch.next_look(now), now + GRACE);
        assert_eq!(fetch.wants(10, now + GRACE)[0].batch, 1);
    }
}
