//! What a subscription has received: what waits for its owner, and what its owner has.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use async_nats::Subject;
use dtx_core::transport::Envelope;
use tokio::time::Instant;

/// Who is told what becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A stream, on this subject.
    Stream(Subject),
    /// Nobody: it is kept nowhere else.
    BestEffort,
}

/// A message that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) source: Source,
    pub(crate) attempt: u32,
    pub(crate) envelope: Envelope,
    /// From then on the stream may give it to others.
    pub(crate) expires: Instant,
}

impl Arrived {
    /// Whether the stream may have given it to others.
    fn is_lost(&self, now: Instant) -> bool {
        self.source != Source::BestEffort && self.expires <= now
    }
}

/// What a subscription holds. Pure: times are given.
#[derive(Debug)]
pub(crate) struct Held {
    prefetch: usize,
    ack_wait: Duration,
    waiting: VecDeque<Arrived>,
    out: HashMap<u64, Arrived>,
    /// When those that are out expire, the earliest first. What was settled or extended since
    /// stays here until its turn.
    expiries: VecDeque<(Instant, u64)>,
    /// Those of nobody else's that come again later.
    delayed: BTreeMap<(Instant, u64), Arrived>,
    /// Those that are being put aside.
    parking: usize,
    number: u64,
    /// How many may wait here: twice what the owner took at once.
    appetite: usize,
    /// Something came that only we have.
    has_best_effort: bool,
}

impl Held {
    pub(crate) fn new(prefetch: usize, ack_wait: Duration) -> Self {
        Self {
            prefetch,
            ack_wait,
            waiting: VecDeque::new(),
            out: HashMap::new(),
            expiries: VecDeque::new(),
            delayed: BTreeMap::new(),
            parking: 0,
            number: 0,
            appetite: 1,
            has_best_effort: false,
        }
    }

    /// How many more the prefetch has room for.
    pub(crate) fn free(&self) -> usize {
        let used = self.waiting.len() + self.out.len() + self.delayed.len() + self.parking;
        self.prefetch.saturating_sub(used)
    }

    /// How many more may be asked for: as many as the prefetch has room for, and no more than the
    /// owner takes soon. What waits here ages, and others could have it.
    pub(crate) fn room(&self) -> usize {
        self.free().min(self.appetite.saturating_sub(self.waiting.len()))
    }

    pub(crate) fn arrive(&mut self, arrived: Arrived) {
        self.has_best_effort |= arrived.source == Source::BestEffort;
        self.waiting.push_back(arrived);
    }

    /// One is being put aside, or is no longer.
    pub(crate) fn park(&mut self, is_begun: bool) {
        match is_begun {
            true => self.parking += 1,
            false => self.parking -= 1,
        }
    }

    /// Forgets what the stream may have given to others, and brings back what is due.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(&(at, number)) = self.expiries.front() {
            let is_current = self.out.get(&number).is_some_and(|held| held.expires == at);
            if is_current && at > now {
                break;
            }
            self.expiries.pop_front();
            if is_current && let Some(lost) = self.out.remove(&number) {
                self.bring_back(lost);
            }
        }
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let due = entry.remove();
            self.bring_back(due);
        }
        while self.waiting.front().is_some_and(|held| held.is_lost(now)) {
            self.waiting.pop_front();
        }
    }

    /// A stream brings its messages back itself.
    fn bring_back(&mut self, held: Arrived) {
        if held.source == Source::BestEffort {
            self.waiting.push_back(Arrived { attempt: held.attempt.saturating_add(1), ..held });
        }
    }

    /// Gives up to `max` to the owner, with a number each.
    pub(crate) fn take(&mut self, max: usize, now: Instant) -> Vec<(u64, u32, Envelope)> {
        self.expire(now);
        self.appetite = max.saturating_mul(2).max(1);
        let max = max.min(self.prefetch.saturating_sub(self.out.len())).min(self.waiting.len());
        let mut taken = Vec::with_capacity(max);
        for mut held in self.waiting.drain(..max) {
            if held.is_lost(now) {
                continue;
            }
            if held.source == Source::BestEffort {
                held.expires = now + self.ack_wait;
            }
            self.number += 1;
            // What waited longer than others expires before them, by a moment that does not matter.
            self.expiries.push_back((held.expires, self.number));
            taken.push((self.number, held.attempt, held.envelope.clone()));
            self.out.insert(self.number, held);
        }
        taken
    }

    /// Who is to be told what became of a delivery; `None` when it is settled or expired.
    pub(crate) fn source(&self, number: u64, now: Instant) -> Option<Source> {
        let held = self.out.get(&number).filter(|held| held.expires > now)?;
        Some(held.source.clone())
    }

    /// Whether a delivery is one that only we have.
    pub(crate) fn is_best_effort(&self, number: u64) -> bool {
        self.out.get(&number).is_some_and(|held| held.source == Source::BestEffort)
    }

    /// A delivery is settled.
    pub(crate) fn settle(&mut self, number: u64) {
        self.out.remove(&number);
    }

    /// A delivery that only we have comes again at `at`.
    pub(crate) fn delay(&mut self, number: u64, at: Instant) {
        if let Some(held) = self.out.remove(&number) {
            self.delayed.insert((at, number), held);
        }
    }

    /// A delivery expires later, unless it has expired.
    pub(crate) fn extend(&mut self, number: u64, begun: Instant) {
        if let Some(held) = self.out.get_mut(&number).filter(|held| held.expires > begun) {
            held.expires = begun + self.ack_wait;
            self.expiries.push_back((held.expires, number));
        }
    }

    /// When something comes back by itself here.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        if !self.has_best_effort {
            return None;
        }
        let out = self.out.values().filter(|held| held.source == Source::BestEffort);
        let out = out.map(|held| held.expires).min();
        let delayed = self.delayed.first_key_value().map(|((at, _), _)| *at);
        out.into_iter().chain(delayed).min()
    }

    /// Takes everything out.
    pub(crate) fn take_all(&mut self) -> Vec<Arrived> {
        self.expiries.clear();
        let delayed = std::mem::take(&mut self.delayed).into_values();
        let out = self.out.drain().map(|(_, held)| held);
        out.chain(self.waiting.drain(..)).chain(delayed).collect()
    }
}

#[cfg(test)]
mod tests {
    use dtx_core::{
        ids::{HolderId, OperationIndex, TxId},
        name::ParticipantName,
        pattern::Pattern,
        transport::{Body, Inquiry},
    };

    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    fn arrived(source: Source, expires: Instant) -> Arrived {
        let envelope = Envelope::new(Body::Inquiry(Inquiry {
            tx: TxId::from_bytes([0; 16]),
            pattern: Pattern::Saga,
            operation: OperationIndex(0),
            participant: ParticipantName::new("p").expect("a name"),
            host: HolderId(0),
        }));
        Arrived { source, attempt: 1, envelope, expires }
    }

    fn of_stream(now: Instant) -> Arrived {
        arrived(Source::Stream(Subject::from("ack")), now + WAIT)
    }

    fn numbers(taken: &[(u64, u32, Envelope)]) -> Vec<u64> {
        taken.iter().map(|(number, ..)| *number).collect()
    }

    #[test]
    fn no_more_are_out_than_the_prefetch_and_all_that_is_here_takes_room() {
        let now = Instant::now();
        let mut held = Held::new(2, WAIT);
        assert_eq!(held.room(), 1, "nobody has asked yet");
        held.take(10, now);
        assert_eq!(held.room(), 2);
        for _ in 0..3 {
            held.arrive(of_stream(now));
        }
        assert_eq!(held.room(), 0);
        assert_eq!(numbers(&held.take(10, now)), [1, 2]);
        assert!(held.take(10, now).is_empty(), "two are out");
        held.settle(1);
        assert_eq!(numbers(&held.take(10, now)), [3]);
        held.settle(2);
        held.settle(3);
        assert_eq!(held.room(), 2);
        held.park(true);
        assert_eq!(held.room(), 1);
        held.park(false);
        assert_eq!(held.room(), 2);
    }

    #[test]
    fn no_more_wait_here_than_the_owner_takes_soon() {
        let now = Instant::now();
        let mut held = Held::new(1_000, WAIT);
        held.take(8, now);
        assert_eq!(held.room(), 16);
        for _ in 0..16 {
            held.arrive(of_stream(now));
        }
        assert_eq!(held.room(), 0);
        held.take(8, now);
        assert_eq!(held.room(), 8);
    }

    #[test]
    fn what_expired_is_gone_and_settles_nothing() {
        let now = Instant::now();
        let mut held = Held::new(9, WAIT);
        held.arrive(of_stream(now));
        held.arrive(of_stream(now));
        held.take(1, now);
        let last = now + WAIT - Duration::from_nanos(1);
        assert!(held.source(1, last).is_some());
        held.extend(1, last);
        assert!(held.take(9, now + WAIT).is_empty(), "the one that waited expired");
        assert!(held.source(1, now + WAIT).is_some(), "the other was extended");
        assert!(held.source(1, last + WAIT).is_none());
        held.extend(1, last + WAIT);
        assert!(held.take(9, last + WAIT).is_empty());
        assert_eq!(held.room(), 9);
    }

    #[test]
    fn what_only_we_have_comes_again_from_here() {
        let now = Instant::now();
        let mut held = Held::new(9, WAIT);
        held.arrive(arrived(Source::BestEffort, now));
        assert_eq!(held.next_due(), None);
        assert_eq!(numbers(&held.take(9, now)), [1]);
        assert_eq!(held.next_due(), Some(now + WAIT));
        let again = held.take(9, now + WAIT);
        assert_eq!((numbers(&again), again[0].1), (vec![2], 2));
        held.delay(2, now + WAIT * 2);
        assert!(held.source(2, now + WAIT).is_none());
        assert_eq!((held.next_due(), held.room()), (Some(now + WAIT * 2), 8));
        let again = held.take(9, now + WAIT * 2);
        assert_eq!((numbers(&again), again[0].1), (vec![3], 3));
        held.settle(3);
        assert_eq!((held.next_due(), held.room()), (None, 9));
    }

    #[test]
    fn everything_is_given_back_once() {
        let now = Instant::now();
        let mut held = Held::new(9, WAIT);
        for _ in 0..3 {
            held.arrive(arrived(Source::BestEffort, now));
        }
        assert_eq!(held.take(2, now).len(), 2);
        held.delay(1, now + WAIT);
        assert_eq!(held.take_all().len(), 3);
        assert_eq!((held.take_all().len(), held.room()), (0, 4));
    }

    #[test]
    fn memory_does_not_grow_with_what_was_settled() {
        let now = Instant::now();
        let mut held = Held::new(9, WAIT);
        for number in 1..10_000 {
            held.arrive(of_stream(now));
            held.take(1, now);
            held.settle(number);
        }
        held.expire(now);
        assert!(held.expiries.is_empty() && held.out.is_empty());
    }
}
