//! Messages that nobody expects any more, or not yet: inquiries of participants that hold nothing,
//! and copies of commands that come when everything about them is forgotten.

use std::sync::Arc;

use dtx_core::{
    ids::{OperationIndex, TxId},
    pattern::Pattern,
    transaction::Transaction,
    transport::{Command, Inquiry},
};

use crate::{
    event::Event,
    swarm::{MS, SECOND},
    world::World,
};

/// How late a copy is: later than anything is remembered for its sake.
const ANCIENT_US: (u64, u64) = (9 * SECOND, 25 * SECOND);

/// For how long somebody asks about what is left to its only participant, in seconds.
const ALONE_SECONDS: u64 = 14;

impl World {
    /// Somebody asks about a transaction that was just handed in: before it is accepted, or at
    /// any time after that.
    pub(crate) fn stray_inquiries(&mut self, tx: TxId, client: usize) {
        if self.is_healed() || self.swarm.strays == 0 {
            return;
        }
        let transaction = self.clients[client].plan.transaction.clone();
        while self.strays_rng.chance(self.swarm.strays) {
            let soon = self.strays_rng.chance(500);
            let latest = if soon { 40 * MS } else { 20 * SECOND };
            let delay = self.strays_rng.range(1, latest);
            self.stray_inquiry(tx, &transaction, delay);
        }
        // What is left to its only participant hangs for as long as that is away: it is asked
        // about all the time.
        if transaction.pattern() == Pattern::TwoPhaseCommit && transaction.operations().len() == 1 {
            for second in 0..ALONE_SECONDS {
                let delay = second * SECOND + self.strays_rng.range(1, SECOND);
                self.stray_inquiry(tx, &transaction, delay);
            }
        }
    }

    fn stray_inquiry(&mut self, tx: TxId, transaction: &Transaction, delay: u64) {
        let operation = self.strays_rng.below(transaction.operations().len() as u64) as u16;
        let operation = OperationIndex(operation);
        let participant = transaction.operation(operation).participant().clone();
        let pattern = transaction.pattern();
        let Some(&host) = self.names.get(&participant) else { return };
        let host = self.hosts[host].instances[0];
        let inquiry = Box::new(Inquiry { tx, pattern, operation, participant, host });
        let coordinator = self.strays_rng.below(self.coordinators.len() as u64) as usize;
        self.after(delay, Event::Inquiry { coordinator, inquiry });
    }

    /// Another copy of a command that comes very late. What has no inbox is left alone: there an
    /// old copy may do harm, and the docs say so (rule 13).
    pub(crate) fn ancient_copy(&mut self, host: usize, command: &Arc<Command>) {
        if self.is_healed() || self.hosts[host].is_foreign() {
            return;
        }
        if self.strays_rng.chance(self.swarm.ancient) {
            let delay = self.strays_rng.range(ANCIENT_US.0, ANCIENT_US.1);
            self.after(delay, Event::Command { host, command: command.clone() });
        }
    }
}
