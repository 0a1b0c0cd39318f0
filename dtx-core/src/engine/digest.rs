//! What decides how an engine goes on, for searches of all its states: two engines that hand the
//! same to a hasher do the same from then on.
//!
//! Times are left out but for whether they have passed. That is enough for a driver that lets
//! all attempts time out together and jumps over deadlines; the timeline, which is only told to
//! people, is left out as well.

use std::hash::{Hash, Hasher};

use crate::{
    engine::{ShardEngine, open::OpenTx},
    ids::{OperationIndex, TxId, WriteId},
    store::TxWrite,
    time::Timestamp,
};

impl ShardEngine {
    /// Hands the engine to hashers: what belongs to one operation to the hasher of that operation,
    /// and the rest to `whole`, so that operations can be compared in any order. For an engine
    /// that holds one transaction with so many operations, or none.
    #[doc(hidden)]
    pub fn digest<H: Hasher>(&self, now: Timestamp, whole: &mut H, operations: &mut [H]) {
        let shared = &self.shared;
        (shared.fence, shared.next_write, shared.next_number, shared.complete).hash(whole);
        for closing in self.closing.values() {
            write(&closing.write, whole);
            (closing.again_at == Timestamp::MAX).hash(whole);
        }
        for open in self.open.values() {
            one(open, now, whole, operations);
        }
    }

    /// The write of a transaction that is not settled.
    #[doc(hidden)]
    pub fn unsettled(&self, tx: TxId) -> Option<WriteId> {
        let closing = || self.closing.get(&tx).map(|closing| closing.write.id);
        let open = self.open.get(&tx).and_then(|open| open.unsettled.as_ref());
        open.map(|write| write.id).or_else(closing)
    }

    /// Whether a deadline or a caller can still turn a transaction.
    #[doc(hidden)]
    pub fn is_undecided(&self, tx: TxId) -> bool {
        self.open.get(&tx).is_some_and(|open| open.machine.is_undecided() && open.resume.is_none())
    }

    /// Whether a transaction waits for an answer of a participant.
    #[doc(hidden)]
    pub fn awaits_answers(&self, tx: TxId) -> bool {
        self.open.get(&tx).is_some_and(|open| open.flights.iter().any(|f| f.phase.is_some()))
    }
}

fn write(write: &TxWrite, whole: &mut impl Hasher) {
    (write.id, write.kind, write.expect, write.verdict, write.lazy).hash(whole);
    (write.summary.status, write.due.is_none()).hash(whole);
}

fn one<H: Hasher>(open: &OpenTx, now: Timestamp, whole: &mut H, operations: &mut [H]) {
    open.machine.whole().hash(whole);
    (open.version, open.status, open.told, open.queue.len(), open.end.is_some()).hash(whole);
    let undecided = open.machine.is_undecided();
    (undecided && open.deadline_at <= now, open.write_again_at == Timestamp::MAX).hash(whole);
    (open.signals_seen, open.moves_made, open.exceptions.len(), open.dead_letters).hash(whole);
    open.resume.map(|resume| (resume.verdict, resume.count)).hash(whole);
    open.queue.iter().for_each(|record| record.hash(whole));
    if let Some(unsettled) = &open.unsettled {
        write(unsettled, whole);
    }
    let state = &open.state;
    (state.sequence, state.resumes, state.point_of_no_return, state.verified).hash(whole);
    (state.signals.len(), state.signals_heard, state.approval_within.is_some()).hash(whole);
    if let Some(gate) = &open.gate {
        (gate.wake_at <= now, gate.asked.is_some()).hash(whole);
    }
    for event in &open.after_progress {
        // Rare: answers that wait for a record.
        format!("{event:?}").hash(whole);
    }
    for (index, hasher) in operations.iter_mut().enumerate() {
        let operation = OperationIndex(index as u16);
        open.machine.progress(operation).hash(hasher);
        let flight = &open.flights[index];
        (flight.phase, flight.attempt, flight.sent, flight.one_phase).hash(hasher);
        (
            flight.extensions,
            flight.next_at == Timestamp::MAX,
            undecided && flight.expires_at <= now,
        )
            .hash(hasher);
        let asked = open.gate.as_ref().and_then(|gate| gate.asked.as_ref());
        asked.is_some_and(|asked| asked.contains(&operation)).hash(hasher);
        for (_, phase) in open.state.stuck.iter().filter(|(stuck, _)| *stuck == operation) {
            phase.hash(hasher);
        }
        for (_, output) in open.outputs.iter().filter(|(of, _)| *of == operation) {
            output.hash(hasher);
        }
        for (_, phase, answer) in state.answers.iter().filter(|(of, _, _)| *of == operation) {
            (phase, answer.is_ok()).hash(hasher);
        }
        for (_, phase, count) in state.attempts.iter().filter(|(of, _, _)| *of == operation) {
            (phase, count).hash(hasher);
        }
    }
}
