//! Operators who move transactions while faults last, and the healer of each coordinator.

use std::time::Duration;

use dtx_core::{
    answer::Reason,
    engine::{
        Condition, HEALER, HealSettings, Input, Signal, SignalEntry, Verb, examine, legal_moves,
    },
    store::TxRecord,
    time::Timestamp,
};

use crate::{
    event::Event,
    history::What,
    swarm::{MS, SECOND},
    world::World,
};

/// How often a healer looks.
pub(crate) const EXAMINE_US: u64 = 2 * SECOND;
/// More transactions than there are in a run.
const RECORDS_MAX: usize = 64;

fn heal_settings() -> HealSettings {
    HealSettings {
        orphan_age: Duration::from_secs(5),
        stuck_retry_after: Duration::from_secs(3),
        ..HealSettings::default()
    }
}

impl World {
    /// Operators come at any time while faults last.
    pub(crate) fn plan_moves(&mut self, lasts: u64) {
        for _ in 0..self.swarm.moves {
            let at = self.moves_rng.below(lasts);
            self.after(at, Event::Move);
        }
    }

    /// An operator looks at some transaction, and makes one of the moves that it takes.
    pub(crate) fn operator_move(&mut self) {
        let client = self.moves_rng.below(self.clients.len() as u64) as usize;
        let record = self.durable_tx(client).and_then(|tx| self.store.load(&[tx]).pop().flatten());
        let Some(record) = record.filter(|record| record.due.is_some()) else { return };
        let moves = match legal_moves(&record) {
            Ok(moves) => moves,
            Err(unreadable) => {
                return self.broken(Some(record.tx), format!("unreadable: {}", unreadable.0));
            }
        };
        let moves: Vec<_> = moves.into_iter().filter(|m| m.verb.is_operator_move()).collect();
        if moves.is_empty() {
            return;
        }
        let chosen = self.moves_rng.pick(&moves);
        let input = chosen.operation.map(|of| {
            let definition = self.clients[client].plan.transaction.operation(of);
            (of, definition.payload().clone())
        });
        let signal = match (chosen.verb, input) {
            (Verb::Skip, Some((of, _))) => Signal::Skip(of),
            // The same again: what was done with the old input stays, and would count twice.
            (Verb::EditInput, Some((operation, payload))) => {
                Signal::EditInput { operation, payload }
            }
            (Verb::ForceCommit, _) => Signal::ForceCommit,
            (Verb::ForceAbort, _) => Signal::ForceAbort,
            (Verb::Abandon, _) => Signal::Abandon,
            (Verb::ClearExceptions, _) => Signal::ClearExceptions,
            _ => Signal::Retry,
        };
        self.counters.operator_moves += 1;
        let decided = matches!(
            signal,
            Signal::Skip(_) | Signal::ForceCommit | Signal::ForceAbort | Signal::Abandon
        );
        if decided {
            self.operators_decided = true;
            self.trace.note(self.now, ("operator", "operator"), None, || What::Moved);
        }
        self.give(client, signal, "operator");
    }

    fn give(&mut self, client: usize, signal: Signal, by: &str) {
        let (by, reason) = (Reason::new(by), Reason::new("it seemed right"));
        self.signal(client, Box::new(SignalEntry { signal, by, reason }));
    }

    /// A healer looks at everything that is open in its shards.
    pub(crate) fn examine(&mut self, coordinator: usize, run: u32) {
        match self.may_act(coordinator, run) {
            None => return,
            Some(until) if until > self.now => {
                return self.queue.push(until, Event::Examine { coordinator, run });
            }
            Some(_) => {}
        }
        self.after(EXAMINE_US, Event::Examine { coordinator, run });
        if !self.reaches_store(coordinator) {
            return;
        }
        let shards: Vec<_> = self.coordinators[coordinator].seats.keys().copied().collect();
        let now = self.store_now();
        for shard in shards {
            let page = self.store.open(shard, Timestamp::MAX, None, RECORDS_MAX, now);
            for record in page.expect("the shard exists").records {
                self.look_after(coordinator, run, record, now);
            }
        }
    }

    fn look_after(&mut self, coordinator: usize, run: u32, record: TxRecord, now: Timestamp) {
        match examine(&record, now, &heal_settings()) {
            Condition::Orphan { .. } => {
                self.counters.orphans += 1;
                let slow = self.moves_rng.chance(100);
                let delay = self.moves_rng.range(1, if slow { SECOND } else { 20 * MS });
                let record = Box::new(record);
                self.after(delay, Event::Orphan { coordinator, run, record, store_now: now });
            }
            Condition::RetryStuck { .. } => {
                if let Some(client) = self.owners.get(&record.tx).copied() {
                    self.counters.heal_retries += 1;
                    self.give(client, Signal::Retry, HEALER);
                }
            }
            Condition::Quarantined(why) => {
                self.broken(Some(record.tx), format!("unreadable: {}", why.0));
            }
            Condition::Ended | Condition::Healthy | Condition::NeedsOperator => {}
        }
    }

    /// What a healer found reaches its coordinator, which may have it in memory all the same.
    pub(crate) fn orphan(
        &mut self,
        coordinator: usize,
        run: u32,
        record: Box<TxRecord>,
        store_now: Timestamp,
    ) {
        match self.may_act(coordinator, run) {
            None => return,
            Some(until) if until > self.now => {
                let event = Event::Orphan { coordinator, run, record, store_now };
                return self.queue.push(until, event);
            }
            Some(_) => {}
        }
        let shard = record.tx.shard(self.store.info().shards);
        self.feed(coordinator, shard, Input::Recovered { record, store_now });
    }
}
