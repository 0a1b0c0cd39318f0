//! One group's queue of one address.

use std::{collections::VecDeque, sync::Arc};

use dtx_core::transport::{Address, Envelope};
use foldhash::HashMap;
use slab::Slab;
use tokio::sync::Notify;

use crate::hub::{Subscriber, SubscriberId};

/// Names a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueId(pub(crate) usize);

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) envelope: Envelope,
    /// How many times it was delivered.
    pub(crate) attempt: u32,
}

/// A subscription of the group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) subscriber: SubscriberId,
    /// Whether the queue stands in the subscriber's ready list.
    pub(crate) listed: bool,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) address: Address,
    pub(crate) group: String,
    pub(crate) ready: VecDeque<Message>,
    /// How many messages of it wait for their delay elsewhere.
    pub(crate) delayed: usize,
    pub(crate) members: Vec<Member>,
    /// The member to begin with when one is to be woken.
    pub(crate) turn: usize,
    /// Whether it got messages since the last wake.
    pub(crate) touched: bool,
    /// Publishers that wait for room.
    pub(crate) publishers: Vec<Arc<Notify>>,
}

impl Queue {
    pub(crate) fn new(address: Address, group: String, ready: VecDeque<Message>) -> Self {
        Self {
            address,
            group,
            ready,
            delayed: 0,
            members: Vec::new(),
            turn: 0,
            touched: false,
            publishers: Vec::new(),
        }
    }

    /// How many messages wait in it.
    pub(crate) fn waiting(&self) -> usize {
        self.ready.len() + self.delayed
    }

    /// Remembers a publisher that waits for room, and forgets those that have gone meanwhile, so
    /// that publishers that give up again and again do not pile up.
    pub(crate) fn await_room(&mut self, publisher: &Arc<Notify>) {
        // The last one first: the messages of one batch ask one after the other.
        if self.publishers.iter().rev().any(|waiting| Arc::ptr_eq(waiting, publisher)) {
            return;
        }
        self.publishers.retain(|waiting| Arc::strong_count(waiting) > 1);
        self.publishers.push(Arc::clone(publisher));
    }

    /// Puts the queue into the ready list of each member that has it not there yet.
    pub(crate) fn list(&mut self, id: QueueId, subscribers: &mut Slab<Subscriber>) {
        for member in self.members.iter_mut().filter(|member| !member.listed) {
            member.listed = true;
            subscribers[member.subscriber.0].ready.push_back(id);
        }
    }
}

/// What waits for an address that has no subscription.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) messages: VecDeque<Message>,
    /// When it began, as a number that grows.
    pub(crate) since: u64,
}

/// Where the messages of an address go.
#[derive(Debug)]
pub(crate) enum Topic {
    /// To each of these queues, one per group; there is at least one.
    Groups(Vec<QueueId>),
    /// To whoever subscribes first.
    Pending(Pending),
}

/// The address that has been without a subscription for longest.
pub(crate) fn oldest_pending(topics: &HashMap<Address, Topic>) -> Option<Address> {
    topics
        .iter()
        .filter_map(|(address, topic)| match topic {
            Topic::Pending(pending) => Some((pending.since, address)),
            Topic::Groups(_) => None,
        })
        .min_by_key(|(since, _)| *since)
        .map(|(_, address)| address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_that_gave_up_do_not_pile_up() {
        let mut queue = Queue::new(Address::Inquiries, "g".to_owned(), VecDeque::new());
        let patient = Arc::new(Notify::new());
        for _ in 0..100 {
            queue.await_room(&patient);
            queue.await_room(&Arc::new(Notify::new()));
        }
        assert!(queue.publishers.len() <= 2, "{}", queue.publishers.len());
        assert!(Arc::ptr_eq(&queue.publishers[0], &patient));
    }
}
