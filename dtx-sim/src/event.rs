//! What happens when: a queue in virtual time, in the order of time and then of insertion.

use std::{cmp::Ordering, collections::BinaryHeap, sync::Arc};

use dtx_core::{
    engine::SignalEntry,
    ids::{Epoch, OperationIndex, ShardId, TxId, WriteId},
    store::{CommitResult, Cursor, RecordKind, TxRecord, TxWrite},
    time::Timestamp,
    transport::{Command, Inquiry, InquiryAnswer, Reply},
};

use crate::{detached::Run, host::Job};

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client hands its transaction in.
    Submit(usize),
    /// A client sees whether it was accepted.
    Remind(usize),
    /// A command arrives.
    Command { host: usize, command: Arc<Command> },
    /// A reply arrives at whoever reads the shard.
    Reply(Box<Reply>),
    /// A batch reaches the store.
    Land { batch: usize },
    /// The store's answer reaches its coordinator.
    Answered(Box<StoreAnswer>),
    /// A record is read for a coordinator.
    Load { coordinator: usize, run: u32, tx: TxId },
    /// A record that was read reaches its coordinator; `None`: the read failed.
    Loaded { coordinator: usize, run: u32, tx: TxId, found: Found },
    /// A page of open transactions is read for a new owner.
    Recover { coordinator: usize, run: u32, reading: Reading },
    /// An engine's timer is due.
    Tick { coordinator: usize, run: u32 },
    /// Leases are renewed and wished for.
    Leases { coordinator: usize, run: u32 },
    /// Owners look for what is due.
    Scan { coordinator: usize, run: u32 },
    /// A healer looks at what is open.
    Examine { coordinator: usize, run: u32 },
    /// What a healer found reaches its coordinator.
    Orphan { coordinator: usize, run: u32, record: Box<TxRecord>, store_now: Timestamp },
    /// An operator moves some transaction.
    Move,
    /// Somebody wrote to a transaction: its owner is told.
    Poke(TxId),
    /// A signal is given: its transaction is read.
    Signal { client: usize, entry: Box<SignalEntry> },
    /// The write of a signal reaches the store.
    SignalWrite { client: usize, entry: Box<SignalEntry>, write: Box<TxWrite> },
    /// A built-in participant takes up what has come for a scope.
    Work { host: usize, run: u32, jobs: Vec<Job> },
    /// What a participant has handled kills it.
    Poisoned { host: usize, down: u64 },
    /// The write of a built-in participant reaches its store.
    HostWrite(Box<crate::host::HostWrite>),
    /// A detached handler has its effect.
    Effect(Box<Run>),
    /// A detached handler's answer is stored.
    Finish(Box<Run>),
    /// A participant asks about what it holds for too long.
    Ask { host: usize, run: u32 },
    /// An inquiry arrives at a coordinator.
    Inquiry { coordinator: usize, inquiry: Box<Inquiry> },
    /// The going back that an inquiry needs reaches the store.
    InquiryWrite { coordinator: usize, inquiry: Box<Inquiry>, write: Box<TxWrite> },
    /// The answer to an inquiry arrives.
    InquiryAnswer { host: usize, answer: Box<InquiryAnswer> },
    /// A participant forgets what it may.
    Collect { host: usize },
    /// Something breaks, or is repaired.
    Trouble(Trouble),
    /// Faults stop and everything is up.
    Heal,
    /// Whether everything has ended is looked at.
    Settle,
}

/// Where a new owner is that reads what is open in its shard.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) cursor: Option<Cursor>,
    /// It is not the first time.
    pub(crate) again: bool,
}

/// A record as a read found it, with the store's clock then.
pub(crate) type Found = Option<(Option<Box<TxRecord>>, Timestamp)>;

/// An answer of the store to a batch.
#[derive(Debug)]
pub(crate) struct StoreAnswer {
    pub(crate) coordinator: usize,
    pub(crate) run: u32,
    pub(crate) lane: usize,
    pub(crate) results: Vec<(TxWriteKey, CommitResult)>,
}

/// Which write an answer is about.
pub(crate) type TxWriteKey = (ShardId, TxId, WriteId, RecordKind);

/// What breaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    CrashCoordinator,
    PoisonCoordinator(usize),
    RestartCoordinator(usize),
    StallCoordinator,
    HandOver,
    CrashParticipant,
    RestartParticipant(usize),
    StepClock,
    Partition,
    Outage,
    LoseRegion,
}

impl Trouble {
    /// What it is called in a history; `None` for what repairs.
    pub(crate) fn fault(self) -> Option<&'static str> {
        Some(match self {
            Self::CrashCoordinator => "coordinator-crash",
            Self::PoisonCoordinator(_) => "poison",
            Self::StallCoordinator => "stall",
            Self::HandOver => "handover",
            Self::CrashParticipant => "participant-crash",
            Self::StepClock => "clock",
            Self::Partition => "partition",
            Self::Outage => "store-outage",
            Self::LoseRegion => "region-loss",
            Self::RestartCoordinator(_) | Self::RestartParticipant(_) => return None,
        })
    }
}

/// Which operation.
pub(crate) type OperationKey = (TxId, OperationIndex);

#[derive(Debug)]
struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    /// The earliest is the greatest, as the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// The events to come.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Scheduled>,
    order: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.heap.push(Scheduled { at, order: self.order, event });
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|scheduled| (scheduled.at, scheduled.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_of_insertion() {
        let mut queue = Queue::default();
        for (at, client) in [(5, 0), (3, 1), (5, 2), (3, 3)] {
            queue.push(at, Event::Submit(client));
        }
        let mut order = Vec::new();
        while let Some((at, Event::Submit(client))) = queue.pop() {
            order.push((at, client));
        }
        assert_eq!(order, [(3, 1), (3, 3), (5, 0), (5, 2)]);
    }
}
