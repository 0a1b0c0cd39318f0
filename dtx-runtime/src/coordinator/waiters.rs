//! Who waits for what.

use std::sync::Arc;

use dtx_core::{
    answer::PhaseAnswer,
    engine::{Notice, Refused},
    ids::{OperationIndex, ShardId, TxId},
    name::ParticipantName,
    pattern::Phase,
    store::Outcome,
};
use foldhash::{HashMap, HashSet};
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::stats::Counters;

/// An answer of a participant, as `Handle::events` gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct TxEvent {
    /// Which operation.
    pub operation: OperationIndex,
    /// Who answered.
    pub participant: ParticipantName,
    /// In which phase.
    pub phase: Phase,
    /// What was answered.
    pub answer: PhaseAnswer,
}

/// What became of a submit.
#[derive(Debug)]
pub(super) enum Accepted {
    Yes,
    DuplicateKey(TxId),
    /// The shard went to another coordinator before anything was written.
    NotOwned,
    Failed(dtx_core::error::StoreError),
}

/// Whoever submits a transaction.
#[derive(Debug)]
pub(super) struct Submitter {
    pub(super) accepted: oneshot::Sender<Accepted>,
    pub(super) outcome: oneshot::Sender<Outcome>,
    /// Its room while it is in memory.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Submitter {
    /// It was not even tried to accept the transaction.
    pub(super) fn not_owned(self) {
        drop(self.accepted.send(Accepted::NotOwned));
    }
}

/// Somebody who waits for a transaction that was accepted before.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    pub(super) outcome: Option<oneshot::Sender<Outcome>>,
    pub(super) closed: Option<oneshot::Sender<()>>,
    pub(super) events: Option<mpsc::Sender<TxEvent>>,
}

impl Waiter {
    pub(super) fn wants_events(&self) -> bool {
        self.events.is_some()
    }

    /// Nothing is left to do.
    pub(super) fn ended(mut self, outcome: Outcome) {
        if let Some(waits) = self.outcome.take() {
            let _ = waits.send(outcome);
        }
        if let Some(waits) = self.closed.take() {
            let _ = waits.send(());
        }
    }

    /// Whether somebody is still at the other side.
    fn is_awaited(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| !outcome.is_closed())
            || self.closed.as_ref().is_some_and(|closed| !closed.is_closed())
            || self.events.as_ref().is_some_and(|events| !events.is_closed())
    }

    /// Its channels close, which tells the other side to look in the store.
    pub(super) fn lost(self) {}
}

/// All who wait at one lane, and the room that the transactions in its memory take.
#[derive(Debug)]
pub(super) struct Waiters {
    /// Those whose accept is on its way.
    accepting: HashMap<TxId, oneshot::Sender<Accepted>>,
    /// Transactions in memory that were submitted here, and who waits for their outcome. Kept
    /// small: everything else that can be waited for is in `more`.
    submitted: HashMap<TxId, Option<oneshot::Sender<Outcome>>>,
    /// Whoever asked later: rare.
    more: HashMap<TxId, Vec<Waiter>>,
    /// Transactions in memory that were found in the store.
    taken_up: HashSet<TxId>,
    /// One permit of `in_flight` for each transaction in memory, as far as there were any.
    permits: Option<OwnedSemaphorePermit>,
    in_flight: Arc<Semaphore>,
    counters: Arc<Counters>,
}

impl Waiters {
    pub(super) fn new(counters: Arc<Counters>, in_flight: Arc<Semaphore>) -> Self {
        Self {
            accepting: HashMap::default(),
            submitted: HashMap::default(),
            more: HashMap::default(),
            taken_up: HashSet::default(),
            permits: None,
            in_flight,
            counters,
        }
    }

    pub(super) fn submit(&mut self, tx: TxId, submitter: Submitter) {
        self.accepting.insert(tx, submitter.accepted);
        self.submitted.insert(tx, Some(submitter.outcome));
        self.hold(submitter.permit);
    }

    /// A transaction that was found in the store is in memory now. It takes room if there is any;
    /// else the next room that becomes free is its own.
    pub(super) fn take_up(&mut self, tx: TxId) {
        if self.taken_up.insert(tx)
            && let Ok(permit) = self.in_flight.clone().try_acquire_owned()
        {
            self.hold(permit);
        }
    }

    fn hold(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.permits {
            Some(permits) => permits.merge(permit),
            permits => *permits = Some(permit),
        }
    }

    /// Gives the room back that is not needed any more.
    fn make_room(&mut self) {
        let needed = self.submitted.len() + self.taken_up.len();
        let Some(permits) = &mut self.permits else { return };
        let unused = permits.num_permits().saturating_sub(needed);
        drop(permits.split(unused));
    }

    /// Adds one more. `told` is the outcome, when it was told before.
    pub(super) fn attach(&mut self, tx: TxId, mut waiter: Waiter, told: Option<Outcome>) {
        if let Some(outcome) = told
            && let Some(waits) = waiter.outcome.take()
        {
            let _ = waits.send(outcome);
        }
        let others = self.more.entry(tx).or_default();
        // Those whose handles are gone make room, so that asking again and again costs nothing.
        others.retain(Waiter::is_awaited);
        others.push(waiter);
    }

    /// Those who wait for these learn that they must look in the store.
    pub(super) fn lose(&mut self, lost: impl Fn(TxId) -> bool) {
        self.accepting.retain(|tx, _| !lost(*tx));
        self.submitted.retain(|tx, _| !lost(*tx));
        self.more.retain(|tx, _| !lost(*tx));
        self.taken_up.retain(|tx| !lost(*tx));
        self.make_room();
    }

    pub(super) fn stop(&mut self) {
        self.lose(|_| true);
    }

    fn each(&mut self, tx: TxId, act: impl FnMut(&mut Waiter)) {
        if !self.more.is_empty() {
            self.more.get_mut(&tx).into_iter().flatten().for_each(act);
        }
    }

    /// The transaction has left the memory: there is room for another.
    fn remove(&mut self, tx: TxId) {
        if self.submitted.remove(&tx).is_none() {
            self.taken_up.remove(&tx);
        }
        self.make_room();
        if !self.more.is_empty() {
            self.more.remove(&tx);
        }
    }

    pub(super) fn tell(&mut self, notice: Notice, lost: &mut Vec<ShardId>) {
        match notice {
            Notice::Accepted(tx) => {
                Counters::add(&self.counters.accepted, 1);
                self.accepted(tx, Accepted::Yes);
            }
            Notice::NotAccepted(tx, refused) => {
                let answer = match refused {
                    Refused::DuplicateKey(other) => Accepted::DuplicateKey(other),
                    Refused::Store(error) => Accepted::Failed(error),
                };
                self.accepted(tx, answer);
                self.remove(tx);
            }
            Notice::Told(tx, outcome) => {
                self.counters.told(outcome);
                if let Some(told) = self.submitted.get_mut(&tx).and_then(Option::take) {
                    let _ = told.send(outcome);
                }
                self.each(tx, |waiter| {
                    if let Some(told) = waiter.outcome.take() {
                        let _ = told.send(outcome);
                    }
                });
            }
            Notice::Closed(tx) => {
                self.each(tx, |waiter| {
                    if let Some(closed) = waiter.closed.take() {
                        let _ = closed.send(());
                    }
                });
                self.remove(tx);
            }
            // Whoever waits goes on waiting by looking in the store.
            Notice::Parked(tx) => self.remove(tx),
            Notice::NeedsAttention(tx) => {
                Counters::add(&self.counters.needs_attention, 1);
                tracing::warn!(%tx, "transaction needs attention");
            }
            Notice::Quarantined(tx, reason) => {
                Counters::add(&self.counters.quarantined, 1);
                tracing::error!(%tx, reason, "record cannot be read; it is left as it is");
                // Whoever waits learns from the store what became of it.
                self.accepting.remove(&tx);
                self.remove(tx);
            }
            Notice::LeaseLost(shard) => lost.push(shard),
            Notice::Progress { tx, operation, participant, phase, answer } => {
                let counters = self.counters.clone();
                let event = TxEvent { operation, participant, phase, answer };
                self.each(tx, |waiter| {
                    // A reader that is slower than `events_max` misses some.
                    if let Some(events) = &waiter.events
                        && let Err(TrySendError::Full(_)) = events.try_send(event.clone())
                    {
                        Counters::add(&counters.events_missed, 1);
                    }
                });
            }
            Notice::DeadLetter(tx, operation) => {
                Counters::add(&self.counters.dead_letters, 1);
                tracing::warn!(%tx, %operation, "operation ended in the dead letters");
            }
        }
    }

    fn accepted(&mut self, tx: TxId, answer: Accepted) {
        if let Some(accepted) = self.accepting.remove(&tx) {
            drop(accepted.send(answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    #[test]
    fn whoever_went_away_leaves_nothing_behind() {
        let mut waiters = Waiters::new(Arc::default(), Arc::new(Semaphore::new(1)));
        let tx = TxId::from_parts(1, [1; 10]);
        let (outcome, mut stays) = oneshot::channel();
        waiters.attach(tx, Waiter { outcome: Some(outcome), ..Waiter::default() }, None);
        for _ in 0..100 {
            let (outcome, gone) = oneshot::channel();
            drop(gone);
            waiters.attach(tx, Waiter { outcome: Some(outcome), ..Waiter::default() }, None);
        }
        assert_eq!(waiters.more[&tx].len(), 2, "the one that waits, and the newest");
        waiters.tell(Notice::Told(tx, Outcome::Committed), &mut Vec::new());
        assert_eq!(stays.try_recv(), Ok(Outcome::Committed));
        waiters.tell(Notice::Closed(tx), &mut Vec::new());
        assert!(waiters.more.is_empty() && waiters.submitted.is_empty());
    }

    #[test]
    fn what_is_quarantined_gives_its_room_back_and_lets_its_waiters_go() {
        let room = Arc::new(Semaphore::new(1));
        let mut waiters = Waiters::new(Arc::default(), room.clone());
        let tx = TxId::from_parts(1, [1; 10]);
        let permit = room.clone().try_acquire_owned().expect("there is room");
        let (accepted, mut told_accepted) = oneshot::channel();
        let (outcome, mut told_outcome) = oneshot::channel();
        waiters.submit(tx, Submitter { accepted, outcome, permit });
        waiters.tell(Notice::Quarantined(tx, "odd".into()), &mut Vec::new());
        assert_eq!(room.available_permits(), 1);
        assert_eq!(told_accepted.try_recv().err(), Some(TryRecvError::Closed));
        assert_eq!(told_outcome.try_recv().err(), Some(TryRecvError::Closed));
    }

    #[test]
    fn what_is_taken_up_takes_room_and_past_it_the_next_that_is_free() {
        let room = Arc::new(Semaphore::new(2));
        let mut waiters = Waiters::new(Arc::default(), room.clone());
        let [own, a, b, c] = [1, 2, 3, 4].map(|n| TxId::from_parts(n, [1; 10]));
        let permit = room.clone().try_acquire_owned().expect("there is room");
        let (accepted, outcome) = (oneshot::channel().0, oneshot::channel().0);
        waiters.submit(own, Submitter { accepted, outcome, permit });
        for tx in [a, a, b, c] {
            waiters.take_up(tx);
        }
        let mut free = |tx, notice: fn(TxId) -> Notice| {
            waiters.tell(notice(tx), &mut Vec::new());
            room.available_permits()
        };
        assert_eq!(room.available_permits(), 0, "four in memory");
        assert_eq!(free(own, Notice::Closed), 0, "three");
        assert_eq!(free(a, Notice::Parked), 0, "two");
        assert_eq!(free(b, Notice::Closed), 1, "one");
        assert_eq!(free(b, Notice::Closed), 1, "it had left already");
        waiters.lose(|tx| tx == c);
        assert_eq!(room.available_permits(), 2, "none");
    }
}
