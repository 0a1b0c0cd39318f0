//! The engine of one shard: where inputs come in.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
};

use crate::{
    answer::Reason,
    engine::{
        Context, EngineSettings, Input, Notice, Outputs, StoredState, Unreadable,
        open::{End, OpenTx, Record, Resume, ResumeCount},
        operate, readable,
        write::Turn,
    },
    ids::{AcceptSequence, ShardId, TxId, WriteId},
    mutant,
    pattern::Effect,
    store::{Expect, Fence, Outcome, RecordKind, Status, TxRecord, TxWrite},
    time::Timestamp,
    transaction::Transaction,
};

/// All open transactions of one shard, under one lease.
#[derive(Clone, Debug)]
pub struct ShardEngine {
    pub(super) shared: Shared,
    pub(super) open: BTreeMap<TxId, Box<OpenTx>>,
    /// Finished ones whose last, lazy write is not settled.
    pub(super) closing: BTreeMap<TxId, Closing>,
}

/// What the turns of all transactions of the shard share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) fence: Fence,
    pub(super) settings: Arc<EngineSettings>,
    pub(super) next_write: u64,
    pub(super) next_number: u64,
    /// Those of the open ones, in the order in which they were first seen.
    pub(super) sequences: BTreeSet<AcceptSequence>,
    /// Whether `sequences` holds all open transactions of the shard.
    pub(super) complete: bool,
    /// Whether a record of the shard could not be read, so that its sequence is not known.
    pub(super) unreadable: bool,
    pub(super) timers: BinaryHeap<Reverse<(Timestamp, TxId)>>,
    /// Room for the effects of a step, kept so that a step allocates nothing.
    pub(super) effects: Vec<Effect>,
    /// What the answer said that is being acted on, should it be the last one that is awaited.
    pub(super) last_failure: Option<Reason>,
    /// How many attempts there were of the phase that was given up last.
    pub(super) last_attempts: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Closing {
    pub(super) write: TxWrite,
    pub(super) sequence: AcceptSequence,
    pub(super) again_at: Timestamp,
}

impl Shared {
    /// Every transaction of the shard with a smaller sequence is durably finished (rule 14).
    /// Nothing is claimed before all open ones are known.
    pub(super) fn watermark(&self) -> AcceptSequence {
        if (!self.complete || self.unreadable) && !mutant!(WatermarkBeforeRecovery) {
            return AcceptSequence::default();
        }
        let next = AcceptSequence { epoch: self.fence.epoch, number: self.next_number };
        if mutant!(WatermarkTooHigh) {
            return next;
        }
        self.sequences.first().copied().unwrap_or(next)
    }

    pub(super) fn write_id(&mut self) -> WriteId {
        self.next_write += 1;
        // The epoch makes the ids of this holder's engines of different leases differ, and the
        // shard those of its engines side by side.
        let number =
            (self.fence.epoch.0 << 48) ^ (u64::from(self.fence.shard.0) << 36) ^ self.next_write;
        WriteId { writer: self.fence.holder, number }
    }

    pub(super) fn set_timer(&mut self, at: Timestamp, tx: TxId) {
        self.timers.push(Reverse((at, tx)));
    }

    /// A transaction has another sequence than the one under which it was taken up.
    pub(super) fn resequence(&mut self, from: AcceptSequence, to: AcceptSequence) {
        self.sequences.remove(&from);
        self.sequences.insert(to);
    }

    fn sequence(&mut self) -> AcceptSequence {
        let sequence = AcceptSequence { epoch: self.fence.epoch, number: self.next_number };
        self.next_number += 1;
        self.sequences.insert(sequence);
        sequence
    }
}

impl Shared {
    /// The transaction with this sequence is durably finished, or never was.
    fn forget(&mut self, sequence: AcceptSequence) {
        self.sequences.remove(&sequence);
    }
}

impl ShardEngine {
    /// An engine for a shard that was just leased. Hand in every open transaction of the shard
    /// and then [`Input::RecoveryComplete`].
    pub fn new(fence: Fence, settings: Arc<EngineSettings>) -> Self {
        Self {
            shared: Shared {
                fence,
                settings,
                next_write: 0,
                next_number: 1,
                sequences: BTreeSet::new(),
                complete: false,
                unreadable: false,
                timers: BinaryHeap::new(),
                effects: Vec::new(),
                last_failure: None,
                last_attempts: 0,
            },
            open: BTreeMap::new(),
            closing: BTreeMap::new(),
        }
    }

    /// Which shard it is.
    pub fn shard(&self) -> ShardId {
        self.shared.fence.shard
    }

    /// The lease under which it writes.
    pub fn fence(&self) -> Fence {
        self.shared.fence
    }

    /// How many transactions are in memory.
    pub fn open_count(&self) -> usize {
        self.open.len() + self.closing.len()
    }

    /// Whether a transaction is in memory.
    pub fn holds(&self, tx: TxId) -> bool {
        self.open.contains_key(&tx) || self.closing.contains_key(&tx)
    }

    /// Whether something is still to be told of a transaction.
    pub fn is_open(&self, tx: TxId) -> bool {
        self.open.contains_key(&tx)
    }

    /// The outcome that was told of a transaction in memory.
    pub fn told(&self, tx: TxId) -> Option<Outcome> {
        let closing = || match self.closing.get(&tx)?.write.summary.status {
            Status::Finished(outcome) => Some(outcome),
            _ => None,
        };
        self.open.get(&tx).map_or_else(closing, |open| open.told)
    }

    /// When [`Input::Tick`] is wanted next. May be earlier than anything that is due.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.shared.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes an input and adds what follows from it to `out`.
    pub fn handle(&mut self, input: Input, cx: &mut Context<'_>, out: &mut Outputs) {
        match input {
            Input::Submit { tx, transaction, observed } => {
                self.submit(tx, transaction, observed, cx, out);
            }
            Input::Recovered { record, store_now } => self.recover(*record, store_now, cx, out),
            Input::RecoveryComplete => self.shared.complete = true,
            Input::Written { tx, id, result } => {
                if self.closing.contains_key(&tx) {
                    self.closing_written(tx, id, result, cx, out);
                } else {
                    self.turn(tx, cx, out, |turn| turn.written(id, result));
                }
            }
            Input::Loaded { tx, record, store_now } => match record {
                Ok(Some(record)) if self.open.contains_key(&tx) => {
                    self.turn(tx, cx, out, |turn| turn.adopt(*record));
                }
                Ok(Some(record)) if self.closing.contains_key(&tx) => {
                    self.closing_loaded(&record, out);
                }
                Ok(Some(record)) => self.recover(*record, store_now, cx, out),
                // What could not be read now is found by the next write or the next scan.
                Ok(None) | Err(_) => self.turn(tx, cx, out, |turn| turn.not_loaded()),
            },
            Input::Reply(reply) => {
                if reply.epoch == self.shared.fence.epoch || mutant!(StaleReplyHeard) {
                    self.turn(reply.tx, cx, out, |turn| turn.hear(reply));
                }
            }
            Input::Poke(tx) => {
                if !self.closing.contains_key(&tx) {
                    out.loads.push(tx);
                }
            }
            Input::Observe(tx) => self.turn(tx, cx, out, |turn| turn.open.observed = true),
            Input::Tick => self.tick(cx, out),
        }
    }

    fn submit(
        &mut self,
        tx: TxId,
        transaction: Arc<Transaction>,
        observed: bool,
        cx: &mut Context<'_>,
        out: &mut Outputs,
    ) {
        let deadline = transaction.deadline_or(self.shared.settings.deadline);
        let state =
            StoredState { sequence: self.shared.sequence(), deadline, ..StoredState::default() };
        let mut open = OpenTx::new(transaction, state, cx.now, cx.now + deadline);
        open.observed = observed;
        self.open.insert(tx, Box::new(open));
        self.turn(tx, cx, out, |turn| turn.record(Record::of(RecordKind::Accepted)));
    }

    /// Takes an open transaction up. What is undecided runs forward from the start: the
    /// participants' stored answers make it the same run (rule 6).
    fn recover(
        &mut self,
        record: TxRecord,
        store_now: Timestamp,
        cx: &mut Context<'_>,
        out: &mut Outputs,
    ) {
        let tx = record.tx;
        if let Some(open) = self.open.get(&tx) {
            // It is in memory, and was found due all the same: somebody wrote to it, who may
            // have been unable to say so.
            if record.version > open.version {
                self.turn(tx, cx, out, |turn| turn.adopt(record));
            }
            return;
        }
        if self.holds(tx) || record.due.is_none() {
            return;
        }
        let (mut state, transaction) = match readable(&record) {
            Ok(decoded) => decoded,
            Err(Unreadable(reason)) => {
                // Its sequence cannot be known, so nothing may be forgotten below it.
                self.shared.unreadable = true;
                out.notices.push(Notice::Quarantined(tx, reason));
                return;
            }
        };
        if state.sequence == AcceptSequence::default() {
            state.sequence = self.shared.sequence();
        } else {
            self.shared.sequences.insert(state.sequence);
        }
        let age = store_now.since(record.accepted_at);
        let left = state.deadline.saturating_sub(age);
        let accepted_at = Timestamp::from_micros(
            cx.now.as_micros().saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX)),
        );
        let count = match record.summary.status {
            Status::Parked => ResumeCount::WasParked,
            _ => ResumeCount::Again,
        };
        let moves_made = state.signals_heard;
        operate::moves_without_owner(&mut state);
        let mut open = OpenTx::new(Arc::new(transaction), state, accepted_at, cx.now + left);
        open.moves_made = moves_made;
        open.version = record.version;
        open.exceptions = record.summary.exceptions.into();
        open.dead_letters = 0;
        let resume = Resume { verdict: record.verdict, count };
        self.open.insert(tx, Box::new(open));
        self.turn(tx, cx, out, |turn| turn.take_up(resume));
    }

    fn tick(&mut self, cx: &mut Context<'_>, out: &mut Outputs) {
        while let Some(Reverse((at, tx))) = self.shared.timers.peek().copied()
            && at <= cx.now
        {
            self.shared.timers.pop();
            if let Some(closing) = self.closing.get_mut(&tx) {
                if closing.again_at <= cx.now {
                    closing.again_at = Timestamp::MAX;
                    out.writes.push(closing.write.clone());
                }
                continue;
            }
            if let Some(open) = self.open.get_mut(&tx) {
                open.timer_at = Timestamp::MAX;
                self.turn(tx, cx, out, |turn| turn.time_passed());
            }
        }
    }

    /// Gives one transaction its turn and cleans up after it.
    fn turn(
        &mut self,
        tx: TxId,
        cx: &mut Context<'_>,
        out: &mut Outputs,
        act: impl FnOnce(&mut Turn<'_, '_>),
    ) {
        let Some(open) = self.open.get_mut(&tx) else { return };
        let mut turn = Turn { tx, open, shared: &mut self.shared, cx, out };
        act(&mut turn);
        turn.settle();
        let Some(end) = open.end else { return };
        let Some(mut open) = self.open.remove(&tx) else { return };
        let sequence = open.state.sequence;
        match end {
            End::Closed => {
                out.notices.push(Notice::Closed(tx));
                match open.unsettled.take() {
                    Some(write) => {
                        let again_at = open.write_again_at;
                        self.closing.insert(tx, Closing { write: *write, sequence, again_at });
                    }
                    None => self.shared.forget(sequence),
                }
            }
            End::Parked => out.notices.push(Notice::Parked(tx)),
            End::NotAccepted => self.shared.forget(sequence),
            End::SetAside => {}
        }
    }

    /// The last, lazy write of a transaction that has left the memory.
    fn closing_written(
        &mut self,
        tx: TxId,
        id: WriteId,
        result: crate::store::CommitResult,
        cx: &mut Context<'_>,
        out: &mut Outputs,
    ) {
        use crate::store::CommitResult::{Committed, Conflict, DuplicateKey, Failed, Fenced};
        let Some(closing) = self.closing.get(&tx) else { return };
        if closing.write.id != id {
            return;
        }
        match result {
            // Somebody wrote in between: see what. The write is sent again if that stays unknown.
            Conflict { found: Some(_), .. } => {
                out.loads.push(tx);
                self.close_later(tx, cx);
            }
            Committed(_) | Conflict { .. } | DuplicateKey { .. } => self.closed(tx),
            Fenced => out.notices.push(Notice::LeaseLost(self.shared.fence.shard)),
            Failed(_) => self.close_later(tx, cx),
        }
    }

    fn close_later(&mut self, tx: TxId, cx: &Context<'_>) {
        let Some(closing) = self.closing.get_mut(&tx) else { return };
        let at = cx.now + self.shared.settings.write_retry;
        closing.again_at = at;
        self.shared.set_timer(at, tx);
    }

    fn closed(&mut self, tx: TxId) {
        if let Some(closing) = self.closing.remove(&tx) {
            self.shared.forget(closing.sequence);
        }
    }

    /// The record that the last write of a transaction has met. A signal or an inquiry changes
    /// nothing about what is decided: the write takes their version. What is finished already is
    /// left as it is, with what an operator has cleared there.
    fn closing_loaded(&mut self, record: &TxRecord, out: &mut Outputs) {
        let Some(closing) = self.closing.get_mut(&record.tx) else { return };
        let write = &mut closing.write;
        let contradicts = record.verdict.is_some() && record.verdict != write.verdict;
        if record.due.is_none() || contradicts {
            self.closed(record.tx);
        } else if let Expect::Version(expected) = write.expect
            && record.version > expected
        {
            write.id = self.shared.write_id();
            write.expect = Expect::Version(record.version);
            closing.again_at = Timestamp::MAX;
            out.writes.push(closing.write.clone());
        }
    }
}
