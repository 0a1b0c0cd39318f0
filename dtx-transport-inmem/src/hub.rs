//! Everything that is shared, behind one short lock. Nothing here waits or reads a clock.
//!
//! One lock for all queues is on purpose: a batch crosses it once, whatever its addresses.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use dtx_core::transport::{AckToken, Address, Delivery, Envelope, Nack};
use foldhash::HashMap;
use slab::Slab;
use tokio::{sync::Notify, time::Instant};

use crate::{
    queue::{Member, Message, Pending, Queue, QueueId, Topic, oldest_pending},
    settings::Builder,
    unacked::{Held, Unacked},
};

/// Names a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubscriberId(pub(crate) usize);

/// One subscription.
#[derive(Debug)]
pub(crate) struct Subscriber {
    generation: u64,
    prefetch: usize,
    queues: Vec<QueueId>,
    /// The queues that may hold messages for it, in turn.
    pub(crate) ready: VecDeque<QueueId>,
    unacked: Unacked,
    notify: Arc<Notify>,
    /// Whether its owner waits in `receive` and has not been woken.
    waiting: bool,
}

/// A message that waits for the delay of its nack.
#[derive(Debug)]
struct Delayed {
    queue: QueueId,
    message: Message,
}

/// Whom to wake once the lock is free.
#[derive(Debug, Default)]
pub(crate) struct Wakes(Vec<Arc<Notify>>);

impl Wakes {
    pub(crate) fn send(self) {
        self.0.iter().for_each(|notify| notify.notify_one());
    }
}

/// What a subscription got.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Messages, at least one.
    Some(Vec<Delivery>),
    /// None, and when to look again at the latest.
    None(Option<Instant>),
    /// The transport is closed.
    Closed,
}

/// The tokens of a call that were not of this subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale(pub(crate) usize);

#[derive(Debug)]
pub(crate) struct Hub {
    settings: Builder,
    topics: HashMap<Address, Topic>,
    /// How many of the topics are pending.
    pending: usize,
    queues: Slab<Queue>,
    subscribers: Slab<Subscriber>,
    /// By due time, then in the order of the nacks.
    delayed: BTreeMap<(Instant, u64), Delayed>,
    /// Nothing is due before it. May be too early, never too late.
    due: Option<Instant>,
    /// How many subscribers are waiting.
    waiting: usize,
    /// Numbers generations, pending topics and nacks.
    counter: u64,
    /// The queues with `touched` set.
    touched: Vec<QueueId>,
    pub(crate) closed: bool,
}

impl Hub {
    pub(crate) fn new(settings: Builder) -> Self {
        Self {
            settings,
            topics: HashMap::default(),
            pending: 0,
            queues: Slab::new(),
            subscribers: Slab::new(),
            delayed: BTreeMap::new(),
            due: None,
            waiting: 0,
            counter: 0,
            touched: Vec::new(),
            closed: false,
        }
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Places what has room and returns the rest, in order; `room` is notified when it is worth
    /// trying again. A full queue does not hold up the messages for other addresses.
    pub(crate) fn place(
        &mut self,
        batch: Vec<(usize, Envelope)>,
        room: &mut Option<Arc<Notify>>,
        wakes: &mut Wakes,
    ) -> Vec<(usize, Envelope)> {
        let mut left = Vec::new();
        for (index, envelope) in batch {
            if let Some(envelope) = self.place_one(envelope, room) {
                left.push((index, envelope));
            }
        }
        self.wake_touched(wakes);
        left
    }

    /// Places a message, or gives it back when one of its queues is full.
    fn place_one(
        &mut self,
        envelope: Envelope,
        room: &mut Option<Arc<Notify>>,
    ) -> Option<Envelope> {
        let address = envelope.address();
        let max = self.settings.queue_messages_max;
        match self.topics.get_mut(&address) {
            Some(Topic::Groups(queues)) => {
                if let Some(full) = queues.iter().find(|id| self.queues[id.0].waiting() >= max) {
                    self.queues[full.0].await_room(room.get_or_insert_default());
                    return Some(envelope);
                }
                // The last queue, in most cases the only one, gets the message itself.
                let (last, others) = queues.split_last()?;
                let placed = others.iter().map(|id| (id, envelope.clone())).collect::<Vec<_>>();
                for (id, envelope) in placed.into_iter().chain([(last, envelope)]) {
                    let queue = &mut self.queues[id.0];
                    queue.ready.push_back(Message { envelope, attempt: 0 });
                    queue.list(*id, &mut self.subscribers);
                    if !queue.touched {
                        queue.touched = true;
                        self.touched.push(*id);
                    }
                }
            }
            Some(Topic::Pending(pending)) => {
                if pending.messages.len() >= self.settings.pending_messages_max {
                    pending.messages.pop_front();
                }
                pending.messages.push_back(Message { envelope, attempt: 0 });
            }
            None => self.keep_pending(address, [Message { envelope, attempt: 0 }].into()),
        }
        None
    }

    /// Makes an address without a topic a pending one.
    fn keep_pending(&mut self, address: Address, mut messages: VecDeque<Message>) {
        if messages.is_empty() {
            return;
        }
        if self.pending >= self.settings.pending_addresses_max
            && let Some(oldest) = oldest_pending(&self.topics)
        {
            self.topics.remove(&oldest);
            self.pending -= 1;
        }
        let excess = messages.len().saturating_sub(self.settings.pending_messages_max);
        messages.drain(..excess);
        let since = self.count();
        self.topics.insert(address, Topic::Pending(Pending { messages, since }));
        self.pending += 1;
    }

    /// Adds a subscription.
    pub(crate) fn subscribe(
        &mut self,
        addresses: Vec<Address>,
        group: &str,
        prefetch: usize,
        notify: Arc<Notify>,
    ) -> (SubscriberId, u64) {
        let generation = self.count();
        let mut queues = Vec::with_capacity(addresses.len());
        for address in addresses {
            queues.push(self.queue_of(address, group));
        }
        let subscriber = Subscriber {
            generation,
            prefetch,
            queues: queues.clone(),
            ready: VecDeque::new(),
            unacked: Unacked::new(),
            notify,
            waiting: false,
        };
        let id = SubscriberId(self.subscribers.insert(subscriber));
        for queue_id in queues {
            let queue = &mut self.queues[queue_id.0];
            queue.members.push(Member { subscriber: id, listed: false });
            if !queue.ready.is_empty() {
                queue.list(queue_id, &mut self.subscribers);
            }
        }
        (id, generation)
    }

    /// The queue of a group, made if it is not there.
    fn queue_of(&mut self, address: Address, group: &str) -> QueueId {
        if let Some(Topic::Groups(queues)) = self.topics.get_mut(&address) {
            if let Some(id) = queues.iter().find(|id| self.queues[id.0].group == group) {
                return *id;
            }
            let queue = Queue::new(address, group.to_owned(), VecDeque::new());
            let id = QueueId(self.queues.insert(queue));
            queues.push(id);
            return id;
        }
        let messages = match self.topics.remove(&address) {
            Some(Topic::Pending(pending)) => {
                self.pending -= 1;
                pending.messages
            }
            Some(Topic::Groups(_)) | None => VecDeque::new(),
        };
        let queue = Queue::new(address.clone(), group.to_owned(), messages);
        let id = QueueId(self.queues.insert(queue));
        self.topics.insert(address, Topic::Groups(vec![id]));
        id
    }

    /// Hands out up to `max` messages. With `wait`, a subscription that gets none is woken by
    /// the next ones.
    pub(crate) fn take(
        &mut self,
        id: SubscriberId,
        max: usize,
        now: Instant,
        wait: bool,
        wakes: &mut Wakes,
    ) -> Taken {
        if self.closed {
            return Taken::Closed;
        }
        self.stop_waiting(id);
        self.sweep(now, wakes);
        let deliveries = self.deliver(id, max, now, wakes);
        if !deliveries.is_empty() {
            self.wake_others(id, wakes);
            return Taken::Some(deliveries);
        }
        if wait {
            self.subscribers[id.0].waiting = true;
            self.waiting += 1;
        }
        Taken::None(self.due)
    }

    fn deliver(
        &mut self,
        id: SubscriberId,
        max: usize,
        now: Instant,
        wakes: &mut Wakes,
    ) -> Vec<Delivery> {
        let subscriber = &mut self.subscribers[id.0];
        let room = max.min(subscriber.prefetch.saturating_sub(subscriber.unacked.len()));
        if room == 0 || subscriber.ready.is_empty() {
            return Vec::new();
        }
        let expires = now.checked_add(self.settings.ack_wait);
        let first = &self.queues[subscriber.ready[0].0];
        let mut deliveries = Vec::with_capacity(room.min(first.ready.len()));
        while deliveries.len() < room
            && let Some(queue_id) = subscriber.ready.pop_front()
        {
            let queue = &mut self.queues[queue_id.0];
            let count = (room - deliveries.len()).min(queue.ready.len());
            for mut message in queue.ready.drain(..count) {
                message.attempt = message.attempt.saturating_add(1);
                let (attempt, envelope) = (message.attempt, message.envelope.clone());
                let number = subscriber.unacked.add(Held { queue: queue_id, message }, expires);
                let token = AckToken { generation: subscriber.generation, number };
                deliveries.push(Delivery { token, attempt, envelope });
            }
            let listed = !queue.ready.is_empty();
            if listed {
                subscriber.ready.push_back(queue_id);
            }
            if let Some(member) = queue.members.iter_mut().find(|m| m.subscriber == id) {
                member.listed = listed;
            }
            if count > 0 {
                wakes.0.append(&mut queue.publishers);
            }
        }
        if let (Some(expires), false) = (expires, deliveries.is_empty()) {
            self.due_at(expires, wakes);
        }
        deliveries
    }

    /// Something is due at `at`: those that wait for something later look again.
    fn due_at(&mut self, at: Instant, wakes: &mut Wakes) {
        if self.due.is_some_and(|due| due <= at) {
            return;
        }
        self.due = Some(at);
        if self.waiting > 0 {
            let waiting = self.subscribers.iter().filter(|(_, subscriber)| subscriber.waiting);
            wakes.0.extend(waiting.map(|(_, subscriber)| Arc::clone(&subscriber.notify)));
        }
    }

    /// Brings back what is due.
    fn sweep(&mut self, now: Instant, wakes: &mut Wakes) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let Delayed { queue, message } = entry.remove();
            self.queues[queue.0].delayed -= 1;
            self.queues[queue.0].ready.push_back(message);
            self.touch(queue);
        }
        let mut expired = Vec::new();
        for (_, subscriber) in &mut self.subscribers {
            while let Some(held) = subscriber.unacked.take_expired(now) {
                expired.push(held);
            }
        }
        self.give_back(expired);
        let expiries = self.subscribers.iter().filter_map(|(_, s)| s.unacked.next_expiry());
        self.due = expiries.chain(self.delayed.keys().next().map(|(at, _)| *at)).min();
        self.wake_touched(wakes);
    }

    /// Puts deliveries back in front of their queues, keeping their order.
    fn give_back(&mut self, deliveries: Vec<Held>) {
        for Held { queue, message } in deliveries.into_iter().rev() {
            self.queues[queue.0].ready.push_front(message);
            self.touch(queue);
        }
    }

    fn touch(&mut self, id: QueueId) {
        let queue = &mut self.queues[id.0];
        queue.list(id, &mut self.subscribers);
        if !queue.touched {
            queue.touched = true;
            self.touched.push(id);
        }
    }

    /// Wakes one subscription per queue that got messages; it wakes the next one if it cannot
    /// take them all.
    fn wake_touched(&mut self, wakes: &mut Wakes) {
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            self.queues[id.0].touched = false;
            self.wake_one(id, wakes);
        }
        self.touched = touched;
    }

    fn wake_one(&mut self, id: QueueId, wakes: &mut Wakes) {
        if self.waiting == 0 {
            return;
        }
        let queue = &mut self.queues[id.0];
        let members = queue.members.len();
        for step in 0..members {
            let at = (queue.turn + step) % members;
            let subscriber = &mut self.subscribers[queue.members[at].subscriber.0];
            if subscriber.waiting && subscriber.unacked.len() < subscriber.prefetch {
                subscriber.waiting = false;
                self.waiting -= 1;
                wakes.0.push(Arc::clone(&subscriber.notify));
                queue.turn = at + 1;
                return;
            }
        }
    }

    /// Wakes others for what a subscription leaves in its queues.
    fn wake_others(&mut self, id: SubscriberId, wakes: &mut Wakes) {
        if self.waiting == 0 {
            return;
        }
        for at in 0..self.subscribers[id.0].ready.len() {
            let queue = self.subscribers[id.0].ready[at];
            if !self.queues[queue.0].ready.is_empty() {
                self.wake_one(queue, wakes);
            }
        }
    }

    fn stop_waiting(&mut self, id: SubscriberId) {
        let subscriber = &mut self.subscribers[id.0];
        if subscriber.waiting {
            subscriber.waiting = false;
            self.waiting -= 1;
        }
    }

    /// The owner of a subscription gave up a wait. If it had been woken, another one is.
    pub(crate) fn give_up(&mut self, id: SubscriberId, wakes: &mut Wakes) {
        if !self.closed {
            self.stop_waiting(id);
            self.wake_others(id, wakes);
        }
    }

    /// Acknowledges the tokens that are of this generation; the others are counted.
    pub(crate) fn ack(&mut self, id: SubscriberId, tokens: &[AckToken]) -> Stale {
        let subscriber = &mut self.subscribers[id.0];
        let mut stale = 0;
        for token in tokens {
            if token.generation == subscriber.generation {
                subscriber.unacked.take(token.number);
            } else {
                stale += 1;
            }
        }
        Stale(stale)
    }

    /// Lets the tokens that are of this generation wait anew; the others are counted. What is due
    /// next may become too early by it, never too late.
    pub(crate) fn extend(&mut self, id: SubscriberId, tokens: &[AckToken], now: Instant) -> Stale {
        let expires = now.checked_add(self.settings.ack_wait);
        let subscriber = &mut self.subscribers[id.0];
        let mut stale = 0;
        for token in tokens {
            if token.generation == subscriber.generation {
                subscriber.unacked.extend(token.number, expires);
            } else {
                stale += 1;
            }
        }
        Stale(stale)
    }

    /// Gives back the tokens that are of this generation; the others are counted.
    pub(crate) fn nack(
        &mut self,
        id: SubscriberId,
        nacks: &[Nack],
        now: Instant,
        wakes: &mut Wakes,
    ) -> Stale {
        let mut stale = 0;
        for nack in nacks {
            let subscriber = &mut self.subscribers[id.0];
            if nack.token.generation != subscriber.generation {
                stale += 1;
                continue;
            }
            let Some(Held { queue, message }) = subscriber.unacked.take(nack.token.number) else {
                continue;
            };
            // Behind what waits: a message that fails again and again must not stop the others.
            if nack.delay.is_zero() {
                self.queues[queue.0].ready.push_back(message);
                self.touch(queue);
                continue;
            }
            let at = now.checked_add(nack.delay).unwrap_or_else(|| far(now));
            let number = self.count();
            self.queues[queue.0].delayed += 1;
            self.delayed.insert((at, number), Delayed { queue, message });
            self.due_at(at, wakes);
        }
        self.wake_touched(wakes);
        Stale(stale)
    }

    /// Ends a subscription: what it holds goes to the others of its group.
    pub(crate) fn unsubscribe(&mut self, id: SubscriberId, wakes: &mut Wakes) {
        if self.closed {
            return;
        }
        self.stop_waiting(id);
        let mut subscriber = self.subscribers.remove(id.0);
        for queue in &subscriber.queues {
            self.queues[queue.0].members.retain(|member| member.subscriber != id);
        }
        self.give_back(subscriber.unacked.take_all());
        for queue in &subscriber.queues {
            if !self.queues[queue.0].ready.is_empty() {
                self.touch(*queue);
            }
        }
        self.wake_touched(wakes);
        for queue in subscriber.queues {
            if self.queues[queue.0].members.is_empty() {
                self.retire(queue, wakes);
            }
        }
    }

    /// Ends a group's queue that has no subscription any more.
    fn retire(&mut self, id: QueueId, wakes: &mut Wakes) {
        let mut queue = self.queues.remove(id.0);
        wakes.0.append(&mut queue.publishers);
        if queue.delayed > 0 {
            let of_queue = self.delayed.extract_if(.., |_, delayed| delayed.queue == id);
            queue.ready.extend(of_queue.map(|(_, delayed)| delayed.message));
        }
        if let Some(Topic::Groups(queues)) = self.topics.get_mut(&queue.address) {
            queues.retain(|other| *other != id);
            if !queues.is_empty() {
                return;
            }
        }
        self.topics.remove(&queue.address);
        self.keep_pending(queue.address, queue.ready);
    }

    /// Ends everything and forgets every message.
    pub(crate) fn close(&mut self, wakes: &mut Wakes) {
        self.closed = true;
        for queue in self.queues.drain() {
            wakes.0.extend(queue.publishers);
        }
        for subscriber in self.subscribers.drain() {
            wakes.0.push(subscriber.notify);
        }
        self.topics.clear();
        self.delayed.clear();
        (self.due, self.waiting, self.pending) = (None, 0, 0);
    }
}

/// A time that no transport lives to see.
fn far(now: Instant) -> Instant {
    now + std::time::Duration::from_secs(60 * 60 * 24 * 365 * 30)
}
