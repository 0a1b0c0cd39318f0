//! What decides how an engine goes on, for searches of all its states: two engines that hand the
//! same to a hasher do the same from then on.
//!
//! Times are left out but for whether they have passed. That is enough for a driver that lets
//! all attempts time out together and jumps over deadlines; the timeline, which is only told to
//! people, is left out as well.

use std::hash::{Hash, Hasher};

use crate::{
    engine::{
        ShardEngine, StoredState,
        gate::GateRun,
        open::{Flight, OpenTx},
        shard::{Closing, Shared},
    },
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
        let Self { shared, open, closing } = self;
        let Shared {
            fence,
            settings: _,
            next_write,
            next_number,
            sequences,
            complete,
            unreadable,
            timers: _,
            effects: _,
            last_failure: _,
            last_attempts: _,
        } = shared;
        (fence, next_write, next_number, sequences, complete, unreadable).hash(whole);
        for closing in closing.values() {
            let Closing { write: last, sequence, again_at } = closing;
            write(last, whole);
            (sequence, *again_at == Timestamp::MAX).hash(whole);
        }
        for open in open.values() {
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

/// One transaction. Every field has its name here, so that one that is added is decided about.
fn one<H: Hasher>(open: &OpenTx, now: Timestamp, whole: &mut H, operations: &mut [H]) {
    let OpenTx {
        transaction: _,
        machine,
        flights,
        version,
        state,
        unsettled,
        write_again_at,
        queue,
        after_progress,
        journal: _,
        accepted_at: _,
        deadline_at,
        timer_at: _,
        signals_seen,
        moves_made,
        status,
        dead_letters,
        exceptions,
        observed: _,
        told,
        outputs,
        gate,
        resume,
        end,
        abandoned,
        headers: _,
    } = open;
    let undecided = machine.is_undecided();
    (machine.whole(), version, write_again_at == &Timestamp::MAX, queue.as_slice()).hash(whole);
    (undecided && *deadline_at <= now, signals_seen, moves_made, status).hash(whole);
    (dead_letters, exceptions.len(), told, end.is_some(), abandoned).hash(whole);
    resume.map(|resume| (resume.verdict, resume.count)).hash(whole);
    if let Some(unsettled) = unsettled {
        write(unsettled, whole);
    }
    for event in after_progress {
        // Rare: answers that wait for a record.
        format!("{event:?}").hash(whole);
    }
    stored(state, whole, operations);
    if let Some(gate) = gate {
        gated(gate, now, whole, operations);
    }
    for (index, hasher) in operations.iter_mut().enumerate() {
        machine.progress(OperationIndex(index as u16)).hash(hasher);
        flying(&flights[index], undecided, now, hasher);
    }
    for (operation, output) in outputs {
        output.hash(&mut operations[operation.get()]);
    }
}

fn stored<H: Hasher>(state: &StoredState, whole: &mut H, operations: &mut [H]) {
    let StoredState {
        sequence,
        deadline: _,
        resumes,
        point_of_no_return,
        verified,
        signals,
        signals_heard,
        attempts,
        answers,
        approval_within,
        stuck,
    } = state;
    (sequence, resumes, point_of_no_return, verified).hash(whole);
    (signals.len(), signals_heard, approval_within).hash(whole);
    for (operation, phase, count) in attempts {
        (0_u8, phase, count).hash(&mut operations[operation.get()]);
    }
    for (operation, phase, answer) in answers {
        (1_u8, phase, answer.is_ok()).hash(&mut operations[operation.get()]);
    }
    for (operation, phase) in stuck {
        (2_u8, phase).hash(&mut operations[operation.get()]);
    }
}

fn gated<H: Hasher>(gate: &GateRun, now: Timestamp, whole: &mut H, operations: &mut [H]) {
    let GateRun { wake_at, asked, approval_until } = gate;
    let is_late = approval_until.is_some_and(|until| until <= now);
    (*wake_at <= now, asked.is_some(), approval_until.is_some(), is_late).hash(whole);
    for operation in asked.iter().flatten() {
        operations[operation.get()].write_u8(3);
    }
}

fn flying(flight: &Flight, undecided: bool, now: Timestamp, hasher: &mut impl Hasher) {
    let Flight {
        phase,
        attempt,
        sent,
        one_phase,
        extensions,
        begun: _,
        sent_after: _,
        next_at,
        expires_at,
    } = flight;
    (phase, attempt, sent, one_phase, extensions).hash(hasher);
    (*next_at == Timestamp::MAX, undecided && *expires_at <= now).hash(hasher);
}
