//! What one subscription holds, behind one short lock: shared by its owner, who receives and
//! acknowledges, and by the thread that has the consumer.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use dtx_core::{
    error::TransportError,
    transport::{AckToken, Delivery, Envelope},
};
use tokio::time::Instant;

use crate::progress::Progress;

/// How many bits of a token's number count the turns of a message; the rest is its offset.
const TURN_BITS: u32 = 8;

/// Names a message: the assignment of its partition, and its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) generation: u64,
    pub(crate) offset: i64,
}

/// Where a message that is not settled is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the queue.
    Ready,
    /// Waiting for its delay.
    Delayed,
    /// With the owner of the subscription, for this turn.
    Out,
    /// On its way to another topic.
    Moving,
}

#[derive(Debug)]
struct Held {
    /// `None`: it cannot be read.
    envelope: Option<Envelope>,
    /// How often it was delivered before it came into this topic.
    before: u32,
    turn: u8,
    at: At,
}

/// One assignment of a partition.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    progress: Progress,
    held: HashMap<i64, Held>,
    /// It is to be given up: nothing of it is delivered any more.
    leaving: bool,
    /// Something happened since its last commit.
    dirty: bool,
}

/// What is to be committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) watermark: i64,
    pub(crate) text: String,
}

/// What a subscription got.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Messages, at least one.
    Some(Vec<Delivery>),
    /// None, and when to look again at the latest.
    None(Option<Instant>),
    /// The consumer met an error.
    Failed(TransportError),
    /// It was closed.
    Closed,
}

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It names a message that is out.
    Out(Place),
    /// What it names is settled, or has come again.
    Settled,
    /// It is of another generation.
    Stale,
}

#[derive(Debug)]
pub(crate) struct Hub {
    prefetch: usize,
    parts: HashMap<u64, Part>,
    ready: VecDeque<Place>,
    /// By due time, then in the order of the nacks.
    delayed: BTreeMap<(Instant, u64), Place>,
    out: usize,
    counter: u64,
    pub(crate) closed: bool,
    pub(crate) failure: Option<TransportError>,
}

impl Hub {
    pub(crate) fn new(prefetch: usize) -> Self {
        Self {
            prefetch,
            parts: HashMap::new(),
            ready: VecDeque::new(),
            delayed: BTreeMap::new(),
            out: 0,
            counter: 0,
            closed: false,
            failure: None,
        }
    }

    /// Adds a partition that was assigned.
    pub(crate) fn assign(
        &mut self,
        generation: u64,
        topic: Arc<str>,
        partition: i32,
        progress: Progress,
    ) {
        let (held, leaving, dirty) = (HashMap::new(), false, false);
        self.parts.insert(generation, Part { topic, partition, progress, held, leaving, dirty });
    }

    /// Whether there is room for more messages in the queue.
    pub(crate) fn has_room(&self) -> bool {
        self.ready.len() < self.prefetch
    }

    /// How many offsets of the partition were taken from its watermark on.
    pub(crate) fn span(&self, generation: u64) -> usize {
        self.parts.get(&generation).map_or(0, |part| part.progress.span())
    }

    /// Takes a message of the partition. `None` when it is settled, came before, or its partition
    /// is gone; else how often it was delivered.
    pub(crate) fn take_in(&mut self, place: Place) -> Option<u32> {
        let part = self.parts.get_mut(&place.generation)?;
        part.dirty = true;
        part.progress.take(place.offset).map(u32::from)
    }

    /// Puts a message that was taken into the queue, or where it waits until `due`.
    pub(crate) fn offer(
        &mut self,
        place: Place,
        envelope: Envelope,
        before: u32,
        due: Option<Instant>,
    ) {
        let Some(part) = self.parts.get_mut(&place.generation) else { return };
        let held = Held { envelope: Some(envelope), before, turn: 0, at: At::Ready };
        part.held.insert(place.offset, held);
        self.put(place, due);
    }

    /// Puts a message that is held into the queue, or where it waits until `due`.
    fn put(&mut self, place: Place, due: Option<Instant>) {
        let held = self.parts.get_mut(&place.generation).map(|part| &mut part.held);
        let Some(held) = held.and_then(|held| held.get_mut(&place.offset)) else { return };
        match due {
            None => {
                held.at = At::Ready;
                self.ready.push_back(place);
            }
            Some(due) => {
                held.at = At::Delayed;
                self.counter += 1;
                self.delayed.insert((due, self.counter), place);
            }
        }
    }

    /// Holds a message that was taken and cannot be read, until it is parked.
    pub(crate) fn hold(&mut self, place: Place) {
        let Some(part) = self.parts.get_mut(&place.generation) else { return };
        let held = Held { envelope: None, before: 0, turn: 0, at: At::Moving };
        part.held.insert(place.offset, held);
    }

    /// Settles a message, wherever it is.
    pub(crate) fn settle(&mut self, place: Place) {
        let Some(part) = self.parts.get_mut(&place.generation) else { return };
        if part.held.remove(&place.offset).is_some_and(|held| held.at == At::Out) {
            self.out -= 1;
        }
        part.progress.settle(place.offset);
        part.dirty = true;
    }

    /// Delivers up to `max` messages.
    pub(crate) fn deliver(&mut self, max: usize, now: Instant) -> Taken {
        if let Some(failure) = self.failure.take() {
            return Taken::Failed(failure);
        }
        if self.closed {
            return Taken::Closed;
        }
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let place = entry.remove();
            self.put(place, None);
        }
        let room = max.min(self.prefetch.saturating_sub(self.out));
        let mut deliveries = Vec::with_capacity(room.min(self.ready.len()));
        while deliveries.len() < room
            && let Some(place) = self.ready.pop_front()
        {
            deliveries.extend(self.hand_out(place));
        }
        match deliveries.is_empty() {
            false => Taken::Some(deliveries),
            true => Taken::None(self.delayed.keys().next().map(|(due, _)| *due)),
        }
    }

    fn hand_out(&mut self, place: Place) -> Option<Delivery> {
        let part = self.parts.get_mut(&place.generation).filter(|part| !part.leaving)?;
        let held = part.held.get_mut(&place.offset)?;
        let envelope = held.envelope.clone()?;
        held.at = At::Out;
        held.turn = held.turn.wrapping_add(1);
        part.dirty = true;
        self.out += 1;
        let deliveries = part.progress.deliver(place.offset);
        let number = (place.offset as u64) << TURN_BITS | u64::from(held.turn);
        Some(Delivery {
            token: AckToken { generation: place.generation, number },
            attempt: held.before.saturating_add(u32::from(deliveries)),
            envelope,
        })
    }

    /// What a token names.
    pub(crate) fn find(&self, token: &AckToken) -> Found {
        let Some(part) = self.parts.get(&token.generation) else { return Found::Stale };
        let offset = (token.number >> TURN_BITS) as i64;
        let turn = (token.number & ((1 << TURN_BITS) - 1)) as u8;
        match part.held.get(&offset) {
            Some(held) if held.at == At::Out && held.turn == turn => {
                Found::Out(Place { generation: token.generation, offset })
            }
            _ => Found::Settled,
        }
    }

    /// Takes a message back from the owner, to deliver it again after the delay.
    pub(crate) fn give_back(&mut self, place: Place, now: Instant, delay: Duration) {
        self.take_back(place, At::Ready);
        self.put(place, (!delay.is_zero()).then(|| now.checked_add(delay)).flatten());
    }

    /// Takes a message back from the owner, to write it elsewhere.
    pub(crate) fn begin_move(&mut self, place: Place) -> Option<Envelope> {
        self.take_back(place, At::Moving);
        self.parts.get(&place.generation)?.held.get(&place.offset)?.envelope.clone()
    }

    fn take_back(&mut self, place: Place, to: At) {
        let part = self.parts.get_mut(&place.generation);
        let held = part.and_then(|part| part.held.get_mut(&place.offset));
        if let Some(held) = held
            && held.at == At::Out
        {
            held.at = to;
            self.out -= 1;
        }
    }

    /// How often a message was delivered.
    pub(crate) fn attempt(&self, place: Place) -> u32 {
        let Some(part) = self.parts.get(&place.generation) else { return 0 };
        let before = part.held.get(&place.offset).map_or(0, |held| held.before);
        before.saturating_add(u32::from(part.progress.deliveries(place.offset)))
    }

    /// A move that failed: the message stays here and comes again after the delay.
    pub(crate) fn move_failed(&mut self, place: Place, now: Instant, delay: Duration) {
        self.put(place, (!delay.is_zero()).then(|| now.checked_add(delay)).flatten());
    }

    /// Whether the partition is still assigned.
    pub(crate) fn has(&self, generation: u64) -> bool {
        self.parts.contains_key(&generation)
    }

    /// Nothing more of these partitions is delivered.
    pub(crate) fn leave(&mut self, generations: &[u64]) {
        for generation in generations {
            if let Some(part) = self.parts.get_mut(generation) {
                part.leaving = true;
            }
        }
        self.ready.retain(|place| !generations.contains(&place.generation));
        self.delayed.retain(|_, place| !generations.contains(&place.generation));
    }

    /// Whether nothing of these partitions is out, or on its way elsewhere.
    pub(crate) fn is_idle(&self, generations: &[u64]) -> bool {
        let parts = generations.iter().filter_map(|generation| self.parts.get(generation));
        let busy = |held: &Held| matches!(held.at, At::Out | At::Moving);
        !parts.flat_map(|part| part.held.values()).any(busy)
    }

    /// Forgets a partition: its tokens are stale from here on.
    pub(crate) fn forget(&mut self, generation: u64) {
        self.leave(&[generation]);
        if let Some(part) = self.parts.remove(&generation) {
            self.out -= part.held.values().filter(|held| held.at == At::Out).count();
        }
    }

    /// What is to be committed now: of the partitions in which something happened since their
    /// last commit, or, for the last time, of these, since what was committed before may not
    /// have arrived.
    pub(crate) fn commits(&mut self, last_of: Option<&[u64]>) -> Vec<Commit> {
        let mut commits = Vec::new();
        for (generation, part) in &mut self.parts {
            if !last_of.map_or(part.dirty, |of| of.contains(generation)) {
                continue;
            }
            part.dirty = false;
            let Some(watermark) = part.progress.watermark() else { continue };
            let (topic, text) = (Arc::clone(&part.topic), part.progress.text());
            commits.push(Commit { topic, partition: part.partition, watermark, text });
        }
        commits
    }

    /// A commit failed: it is made again.
    pub(crate) fn commit_failed(&mut self, topic: &str, partition: i32) {
        let of = |part: &&mut Part| &*part.topic == topic && part.partition == partition;
        if let Some(part) = self.parts.values_mut().find(of) {
            part.dirty = true;
        }
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

    const GENERATION: u64 = 7;

    fn envelope() -> Envelope {
        Envelope::new(Body::Inquiry(Inquiry {
            tx: TxId::from_bytes([0; 16]),
            pattern: Pattern::Saga,
            operation: OperationIndex(0),
            participant: ParticipantName::new("p").expect("a name"),
            host: HolderId(0),
        }))
    }

    fn place(offset: i64) -> Place {
        Place { generation: GENERATION, offset }
    }

    /// A hub with messages 0 to `count` of one partition.
    fn hub(count: i64, prefetch: usize) -> Hub {
        let mut hub = Hub::new(prefetch);
        hub.assign(GENERATION, "t".into(), 0, Progress::restore(0, "").0);
        for offset in 0..count {
            assert_eq!(hub.take_in(place(offset)), Some(0));
            hub.offer(place(offset), envelope(), 0, None);
        }
        hub
    }

    fn deliver(hub: &mut Hub, max: usize, now: Instant) -> Vec<Delivery> {
        match hub.deliver(max, now) {
            Taken::Some(deliveries) => deliveries,
            _ => Vec::new(),
        }
    }

    fn watermark(hub: &mut Hub) -> i64 {
        hub.commits(Some(&[GENERATION]))[0].watermark
    }

    #[test]
    fn no_more_than_the_prefetch_is_out_or_in_the_queue() {
        let now = Instant::now();
        let mut hub = hub(3, 3);
        assert!(!hub.has_room());
        let out = deliver(&mut hub, 10, now);
        assert_eq!((out.len(), hub.has_room()), (3, true));
        assert_eq!(hub.take_in(place(3)), Some(0));
        hub.offer(place(3), envelope(), 0, None);
        assert!(deliver(&mut hub, 10, now).is_empty(), "three are out");
        hub.settle(place(1));
        assert_eq!(deliver(&mut hub, 10, now).len(), 1);
    }

    #[test]
    fn a_token_of_an_earlier_turn_settles_nothing_and_one_of_an_earlier_assignment_is_stale() {
        let now = Instant::now();
        let mut hub = hub(1, 10);
        let first = deliver(&mut hub, 10, now)[0].token;
        hub.give_back(place(0), now, Duration::ZERO);
        assert_eq!(hub.find(&first), Found::Settled);
        let second = deliver(&mut hub, 10, now)[0].token;
        assert_eq!((hub.find(&first), hub.find(&second)), (Found::Settled, Found::Out(place(0))));
        hub.forget(GENERATION);
        assert_eq!(hub.find(&second), Found::Stale);
        assert!(!hub.has(GENERATION) && deliver(&mut hub, 10, now).is_empty());
    }

    #[test]
    fn what_waits_or_moves_holds_the_watermark() {
        let now = Instant::now();
        let mut hub = hub(4, 10);
        assert_eq!(deliver(&mut hub, 10, now).len(), 4);
        let delay = Duration::from_secs(1);
        hub.give_back(place(0), now, delay);
        assert!(hub.begin_move(place(1)).is_some());
        hub.settle(place(2));
        hub.settle(place(3));
        assert_eq!(watermark(&mut hub), 0);
        assert!(!hub.is_idle(&[GENERATION]), "one is on its way");
        assert!(matches!(hub.deliver(10, now), Taken::None(Some(due)) if due == now + delay));
        let again = deliver(&mut hub, 10, now + delay);
        assert_eq!(again[0].attempt, 2);
        hub.settle(place(0));
        assert_eq!(watermark(&mut hub), 1);
        hub.move_failed(place(1), now, delay);
        assert_eq!(deliver(&mut hub, 10, now + delay)[0].attempt, 2);
        hub.settle(place(1));
        assert_eq!((watermark(&mut hub), hub.is_idle(&[GENERATION])), (4, true));
    }

    #[test]
    fn a_partition_that_leaves_delivers_nothing_more_and_is_idle_once_nothing_is_out() {
        let now = Instant::now();
        let mut hub = hub(3, 10);
        assert_eq!(deliver(&mut hub, 1, now).len(), 1);
        hub.leave(&[GENERATION]);
        assert!(deliver(&mut hub, 10, now).is_empty() && !hub.is_idle(&[GENERATION]));
        hub.settle(place(0));
        assert!(hub.is_idle(&[GENERATION]));
        assert_eq!(watermark(&mut hub), 1);
    }

    #[test]
    fn what_did_not_change_is_not_committed_again_unless_it_failed() {
        let mut hub = hub(1, 10);
        assert_eq!(hub.commits(None).len(), 1);
        assert_eq!(hub.commits(None).len(), 0);
        hub.commit_failed("t", 0);
        assert_eq!(hub.commits(None).len(), 1);
        hub.settle(place(0));
        assert_eq!(hub.commits(None)[0].watermark, 1);
    }
}
