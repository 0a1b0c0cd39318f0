//! An open transaction in memory.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thin_vec::ThinVec;

use crate::{
    answer::Reason,
    engine::{StoredState, gate::GateRun, timeline::Timeline},
    ids::{OperationIndex, Version},
    mutant,
    pattern::{Event, Machine, Phase},
    store::{Outcome, RecordKind, Status, TxWrite, Verdict},
    time::Timestamp,
    transaction::Transaction,
    transport::Headers,
};

/// A transaction that is on its way. What most transactions never have takes a pointer each.
#[derive(Clone, Debug)]
pub(super) struct OpenTx {
    pub(super) transaction: Arc<Transaction>,
    pub(super) machine: Machine,
    pub(super) flights: Box<[Flight]>,
    pub(super) version: Version,
    pub(super) state: StoredState,
    /// The one write that is not settled. The very same write is sent again until it is.
    pub(super) unsettled: Option<Box<TxWrite>>,
    /// When the unsettled write is sent again; `MAX` while an answer to it is on its way.
    pub(super) write_again_at: Timestamp,
    /// Records that wait for the unsettled write.
    pub(super) queue: ThinVec<Record>,
    /// Events that wait until no write is unsettled.
    pub(super) after_progress: ThinVec<Event>,
    pub(super) journal: Timeline,
    pub(super) accepted_at: Timestamp,
    pub(super) deadline_at: Timestamp,
    /// The earliest moment for which a timer is set.
    pub(super) timer_at: Timestamp,
    pub(super) signals_seen: u16,
    /// Operators' moves before this one were made before the transaction was taken up, or while
    /// it waited for that.
    pub(super) moves_made: u16,
    pub(super) status: Status,
    pub(super) dead_letters: u16,
    pub(super) exceptions: ThinVec<Reason>,
    pub(super) observed: bool,
    /// An operator wants it to end where it is. Nothing but the record of that is to be done.
    pub(super) abandoned: bool,
    pub(super) told: Option<Outcome>,
    pub(super) outputs: ThinVec<(OperationIndex, Bytes)>,
    pub(super) gate: Option<Box<GateRun>>,
    pub(super) resume: Option<Resume>,
    pub(super) end: Option<End>,
    /// Shared by all of its messages.
    pub(super) headers: Option<Arc<Headers>>,
}

/// How a transaction is to be taken up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resume {
    pub(super) verdict: Option<Verdict>,
    pub(super) count: ResumeCount,
}

/// How a resume counts among those of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ResumeCount {
    /// Its wait in the store is over. Should that kill its owner, the next one counts it.
    WasParked,
    /// It may have killed its owner.
    Again,
    /// An operator wants it to be tried anew.
    Anew,
}

impl ResumeCount {
    pub(super) fn of(self, before: u16) -> u16 {
        match self {
            Self::WasParked => before,
            Self::Again if mutant!(ResumeNotCounted) => before,
            Self::Again => before.saturating_add(1),
            Self::Anew => 1,
        }
    }
}

/// Why a transaction leaves the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing is left to do.
    Closed,
    /// It waits in the store.
    Parked,
    /// It never was.
    NotAccepted,
    /// An operator must look at its record; it is left alone.
    SetAside,
}

/// A record that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) kind: RecordKind,
    pub(super) verdict: Option<Verdict>,
    pub(super) lazy: bool,
    pub(super) last: Option<Outcome>,
}

impl Record {
    /// Something that must survive, and no more.
    pub(super) const PROGRESS: Self = Self::of(RecordKind::Progress);

    pub(super) const fn of(kind: RecordKind) -> Self {
        Self { kind, verdict: None, lazy: false, last: None }
    }
}

/// A command on its way, or one that waits for its next attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    /// `None`: nothing is on its way.
    pub(super) phase: Option<Phase>,
    pub(super) attempt: u32,
    /// Whether an answer is awaited; else the next attempt is.
    pub(super) sent: bool,
    pub(super) one_phase: bool,
    pub(super) extensions: u8,
    /// When it was begun, in milliseconds since the accept: there are many flights.
    pub(super) begun: u32,
    /// When the attempt was sent, in microseconds since it was begun.
    pub(super) sent_after: u32,
    /// When the next attempt is due.
    pub(super) next_at: Timestamp,
    /// When the phase has expired.
    pub(super) expires_at: Timestamp,
}

impl Flight {
    pub(super) const LANDED: Self = Self {
        phase: None,
        attempt: 0,
        sent: false,
        one_phase: false,
        extensions: 0,
        begun: 0,
        sent_after: 0,
        next_at: Timestamp::MAX,
        expires_at: Timestamp::MAX,
    };
}

impl OpenTx {
    pub(super) fn new(
        transaction: Arc<Transaction>,
        state: StoredState,
        accepted_at: Timestamp,
        deadline_at: Timestamp,
    ) -> Self {
        Self {
            machine: Machine::new(&transaction),
            flights: vec![Flight::LANDED; transaction.operations().len()].into(),
            headers: Headers::of(&transaction),
            transaction,
            version: Version::default(),
            state,
            unsettled: None,
            write_again_at: Timestamp::MAX,
            queue: ThinVec::new(),
            after_progress: ThinVec::new(),
            journal: Timeline::default(),
            accepted_at,
            deadline_at,
            timer_at: Timestamp::MAX,
            signals_seen: 0,
            moves_made: 0,
            status: Status::Open,
            dead_letters: 0,
            exceptions: ThinVec::new(),
            observed: false,
            abandoned: false,
            told: None,
            outputs: ThinVec::new(),
            gate: None,
            resume: None,
            end: None,
        }
    }

    /// The next moment at which something is due; `MAX` if nothing is.
    pub(super) fn next_due(&self) -> Timestamp {
        let mut due = self.write_again_at;
        let may_end = self.machine.is_undecided() && self.resume.is_none();
        if may_end && self.unsettled.is_none() {
            due = due.min(self.deadline_at);
        }
        for flight in &self.flights {
            if flight.phase.is_some() {
                due = due.min(flight.next_at).min(flight.expires_at);
            }
        }
        if let Some(gate) = &self.gate
            && self.unsettled.is_none()
        {
            due = due.min(gate.wake_at);
        }
        due
    }

    /// A flight that begins now.
    pub(super) fn flight(&self, phase: Phase, now: Timestamp) -> Flight {
        let begun = now.since(self.accepted_at).as_millis();
        let begun = u32::try_from(begun).unwrap_or(u32::MAX);
        Flight { phase: Some(phase), begun, ..Flight::LANDED }
    }

    /// When a flight was begun.
    pub(super) fn begun_at(&self, flight: &Flight) -> Timestamp {
        self.accepted_at + Duration::from_millis(u64::from(flight.begun))
    }

    /// Notes that an attempt is sent now.
    pub(super) fn sent_now(&mut self, operation: OperationIndex, now: Timestamp) {
        let begun_at = self.begun_at(&self.flights[operation.get()]);
        let sent = u32::try_from(now.since(begun_at).as_micros()).unwrap_or(u32::MAX);
        let flight = &mut self.flights[operation.get()];
        flight.sent = true;
        flight.sent_after = sent;
    }

    /// How long ago the last attempt was sent; `None` when that is too far from the beginning of
    /// the flight to be known.
    pub(super) fn sent_ago(&self, flight: &Flight, now: Timestamp) -> Option<Duration> {
        let after = Duration::from_micros(u64::from(flight.sent_after));
        (flight.sent_after != u32::MAX).then(|| now.since(self.begun_at(flight) + after))
    }

    pub(super) fn has_foreign(
        &self,
        without_inbox: &std::collections::BTreeSet<crate::name::ParticipantName>,
    ) -> bool {
        !without_inbox.is_empty()
            && self.transaction.operations().iter().any(|o| without_inbox.contains(o.participant()))
    }
}
