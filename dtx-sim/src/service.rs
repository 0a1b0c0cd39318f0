//! The shared store as a service that may be slow, lose requests, lose answers, and apply late.

use dtx_core::{
    error::{ErrorKind, StoreError},
    ids::{ShardId, Version},
    store::{CommitResult, Expect, RecordKind, TxWrite},
};

use crate::{
    event::{Event, StoreAnswer, TxWriteKey},
    mutation::Mutation,
    network::Node,
    swarm::{MS, SECOND},
    world::World,
};

/// Batches on their way to the store.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    waiting: Vec<Option<Batch>>,
    free: Vec<usize>,
}

/// One commit call.
#[derive(Debug)]
pub(crate) struct Batch {
    coordinator: usize,
    run: u32,
    lane: usize,
    writes: Vec<TxWrite>,
    /// Answered when it lands; else the answer has left already, or never will.
    answers: bool,
}

impl Batches {
    fn put(&mut self, batch: Batch) -> usize {
        match self.free.pop() {
            Some(slot) => {
                self.waiting[slot] = Some(batch);
                slot
            }
            None => {
                self.waiting.push(Some(batch));
                self.waiting.len() - 1
            }
        }
    }

    fn take(&mut self, slot: usize) -> Option<Batch> {
        let batch = self.waiting.get_mut(slot)?.take();
        if batch.is_some() {
            self.free.push(slot);
        }
        batch
    }
}

fn key(shard: ShardId, write: &TxWrite) -> TxWriteKey {
    (shard, write.tx, write.id, write.kind)
}

pub(crate) fn unknown(operation: &'static str) -> StoreError {
    StoreError::new(ErrorKind::Timeout, "sim", operation)
}

fn unavailable(operation: &'static str) -> StoreError {
    StoreError::new(ErrorKind::Unavailable, "sim", operation)
}

impl World {
    fn store_delay(&mut self) -> u64 {
        let most = match self.is_healed() {
            true => 2 * MS,
            false if self.store_slow_until > self.now => 2 * SECOND,
            false => self.swarm.store_us.max(2),
        };
        self.rng.range(1, most)
    }

    /// Sends a batch of one lane to the store.
    pub(crate) fn send_batch(&mut self, coordinator: usize, lane: usize, writes: Vec<TxWrite>) {
        let run = self.coordinators[coordinator].run;
        let travel = self.store_delay() + self.way_to_store(coordinator);
        self.counters.commits += 1;
        if self.is_healed() || !self.rng.chance(self.swarm.store_faults) {
            let batch = self.batches.put(Batch { coordinator, run, lane, writes, answers: true });
            return self.after(travel, Event::Land { batch });
        }
        self.counters.store_faults += 1;
        let wait = self.rng.range(20 * MS, SECOND / 2);
        match self.rng.below(4) {
            // The request is lost, and that is known.
            0 => self.fail(wait, coordinator, lane, &writes, |_| unavailable("commit")),
            // The request is lost, and nobody knows.
            1 => self.fail(wait, coordinator, lane, &writes, |_| unknown("commit")),
            // It lands at once or, in the last case, long after it was answered.
            fate => {
                let late = fate == 3;
                self.counters.late_landings += u64::from(late);
                self.fail(wait, coordinator, lane, &writes, |_| unknown("commit"));
                let travel = if late { self.rng.range(wait, 4 * SECOND) } else { travel };
                // Each item is atomic by itself: some may have been lost on the way.
                let writes = if self.rng.chance(300) { self.some(writes) } else { writes };
                let batch =
                    self.batches.put(Batch { coordinator, run, lane, writes, answers: false });
                self.after(travel, Event::Land { batch });
            }
        }
    }

    fn some(&mut self, writes: Vec<TxWrite>) -> Vec<TxWrite> {
        writes.into_iter().filter(|_| self.rng.chance(500)).collect()
    }

    fn fail(
        &mut self,
        delay: u64,
        coordinator: usize,
        lane: usize,
        writes: &[TxWrite],
        error: impl Fn(&TxWrite) -> StoreError,
    ) {
        let run = self.coordinators[coordinator].run;
        let shards = self.store.info().shards;
        let results = writes
            .iter()
            .map(|write| (key(write.tx.shard(shards), write), CommitResult::Failed(error(write))))
            .collect();
        self.answer(delay, StoreAnswer { coordinator, run, lane, results });
    }

    /// A batch does not reach the store now: its writes fail, and with `late` they are applied so
    /// much later, long after that was said.
    pub(crate) fn miss(&mut self, slot: usize, wait: u64, late: Option<u64>) {
        let Some(mut batch) = self.batches.take(slot) else { return };
        let error = if late.is_some() { unknown } else { unavailable };
        if batch.answers {
            self.fail(wait, batch.coordinator, batch.lane, &batch.writes, |_| error("commit"));
        }
        if let Some(late) = late {
            batch.answers = false;
            let batch = self.batches.put(batch);
            self.after(late, Event::Land { batch });
        }
    }

    /// A batch reaches the store.
    pub(crate) fn land(&mut self, slot: usize) {
        let Some(mut batch) = self.batches.take(slot) else { return };
        let (shards, node) = (self.store.info().shards, Node::Coordinator(batch.coordinator));
        if !self.reaches(node, Node::Store) {
            return self.unheard(&batch);
        }
        self.forget(&mut batch);
        if self.is_mutant(Mutation::NotFenced) {
            batch.writes.iter_mut().for_each(|write| self.unfence(write));
        }
        if self.is_mutant(Mutation::KeyNotClaimed) {
            batch.writes.iter_mut().for_each(|write| write.key = None);
        }
        let results = self.commit(&batch.writes);
        if !self.reaches(Node::Store, node) {
            return self.unheard(&batch);
        }
        if !batch.answers {
            return;
        }
        let results =
            batch.writes.iter().map(|write| key(write.tx.shard(shards), write)).zip(results);
        let answer = StoreAnswer {
            coordinator: batch.coordinator,
            run: batch.run,
            lane: batch.lane,
            results: results.collect(),
        };
        let delay = self.store_delay() + self.way_from_store(batch.coordinator);
        self.answer(delay, answer);
    }

    /// No answer comes to a coordinator that waits for one: after a while it stops waiting.
    fn unheard(&mut self, batch: &Batch) {
        if batch.answers {
            let wait = self.rng.range(20 * MS, SECOND / 2);
            self.fail(wait, batch.coordinator, batch.lane, &batch.writes, |_| unknown("commit"));
        }
    }

    /// A store that loses what it has acknowledged.
    fn forget(&mut self, batch: &mut Batch) {
        if self.is_healed() || !batch.answers || !self.rng.chance(self.swarm.amnesia) {
            return;
        }
        batch.answers = false;
        let shards = self.store.info().shards;
        let lost = std::mem::take(&mut batch.writes);
        let results = lost.iter().map(|write| {
            let version = match write.expect {
                Expect::Version(version) => version.next(),
                Expect::Absent => Version(1),
            };
            (key(write.tx.shard(shards), write), CommitResult::Committed(version))
        });
        let Batch { coordinator, run, lane, .. } = *batch;
        let answer = StoreAnswer { coordinator, run, lane, results: results.collect() };
        self.answer(1, answer);
    }

    /// Rule taken out: a write under an old lease is let in, whatever version it expects.
    fn unfence(&mut self, write: &mut TxWrite) {
        let shard = write.tx.shard(self.store.info().shards);
        let newest = self.coordinators.iter().filter_map(|c| c.seats.get(&shard));
        let Some(newest) = newest.map(|seat| seat.engine.fence()).max_by_key(|f| f.epoch) else {
            return;
        };
        let is_stale = write.fence.is_some_and(|fence| fence.epoch < newest.epoch);
        if !is_stale || write.kind == RecordKind::Accepted {
            return;
        }
        let old = write.fence;
        write.fence = Some(newest);
        if let Some(Some(record)) = self.store.load(&[write.tx]).pop() {
            write.expect = Expect::Version(record.version);
            let result = self.store.commit(std::slice::from_ref(write), self.store_now()).pop();
            if let Some(CommitResult::Committed(version)) = result {
                write.fence = old;
                let write = write.clone();
                self.landed(&write, version);
            }
        }
        write.fence = Some(newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_taken_once() {
        let mut batches = Batches::default();
        let batch = || Batch { coordinator: 0, run: 1, lane: 0, writes: Vec::new(), answers: true };
        let (first, second) = (batches.put(batch()), batches.put(batch()));
        assert_ne!(first, second);
        assert!(batches.take(first).is_some());
        assert!(batches.take(first).is_none());
        assert_eq!(batches.put(batch()), first);
    }
}
