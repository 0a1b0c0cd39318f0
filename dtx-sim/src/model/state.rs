//! A state of the whole: the store, the coordinators, the participants and what is on its way.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use dtx_core::{engine::ShardEngine, ids::Epoch, time::Timestamp};

use super::{
    case::{Case, DEADLINE, START},
    digest::{Digest, digest_of, unordered},
    participant::Participant,
    store::{Flying, Row},
};
use crate::view::{Broken, View};

/// How many coordinators there are.
pub(super) const SEATS: usize = 2;

/// What a read of the store has found.
pub(super) type Snapshot = Option<Arc<Row>>;

/// A coordinator, or the place of one that has crashed.
#[derive(Clone, Debug, Default)]
pub(super) struct Seat {
    pub(super) engine: Option<ShardEngine>,
    pub(super) epoch: Epoch,
    pub(super) now: Timestamp,
    /// What it found open when it got the lease, and has not taken up.
    pub(super) recovering: Option<Snapshot>,
    /// The record that it asked for, as it was then.
    pub(super) loading: Option<Snapshot>,
    whole: u64,
    operations: Vec<u64>,
}

impl Seat {
    /// A coordinator that has just got a lease.
    pub(super) fn new(engine: ShardEngine, epoch: Epoch, now: Timestamp) -> Self {
        Self { engine: Some(engine), epoch, now, ..Self::default() }
    }

    /// Whether the deadline has passed on its clock.
    pub(super) fn is_overdue(&self) -> bool {
        self.now > START + DEADLINE
    }

    fn seal(&mut self, operations: usize) {
        let mut whole = Digest::default();
        let mut columns = vec![Digest::default(); operations];
        let of = |snapshot: &Option<Snapshot>| {
            snapshot.as_ref().map(|row| row.as_ref().map(|row| row.digest))
        };
        self.epoch.hash(&mut whole);
        (of(&self.recovering), of(&self.loading)).hash(&mut whole);
        if let Some(engine) = &self.engine {
            engine.digest(self.now, &mut whole, &mut columns);
        }
        self.whole = whole.finish();
        self.operations = columns.iter().map(Digest::finish).collect();
    }
}

/// A state. Two states with the same number go on in the same way.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) row: Option<Arc<Row>>,
    /// The newest lease.
    pub(super) newest: Epoch,
    pub(super) seats: [Arc<Seat>; SEATS],
    pub(super) participants: Vec<Arc<Participant>>,
    pub(super) writes: Vec<Flying>,
    pub(super) crashes_left: u8,
    /// What landed, for the checks.
    pub(super) view: Arc<View>,
    /// The first rule that was broken.
    pub(super) broken: Option<Broken>,
    digest: u64,
}

impl State {
    pub(super) fn new(case: &Case) -> Self {
        let operations = case.transaction.operations().len();
        let mut state = Self {
            row: None,
            newest: Epoch(0),
            seats: Default::default(),
            participants: vec![Arc::default(); operations],
            writes: Vec::new(),
            crashes_left: case.crashes,
            view: Arc::new(View::new(case.transaction.clone(), case.shard)),
            broken: None,
            digest: 0,
        };
        state.open_seat(case, 0);
        state.submit(case);
        state.seal(case);
        state
    }

    /// The number of the state.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn seat(&mut self, seat: usize) -> &mut Seat {
        Arc::make_mut(&mut self.seats[seat])
    }

    pub(super) fn participant(&mut self, operation: usize) -> &mut Participant {
        Arc::make_mut(&mut self.participants[operation])
    }

    /// Computes the number of a seat that was changed.
    pub(super) fn seal_seat(&mut self, seat: usize) {
        let operations = self.participants.len();
        self.seat(seat).seal(operations);
    }

    /// Computes the number of the state, in which operations that are alike may be swapped, and
    /// so may coordinators.
    pub(super) fn seal(&mut self, case: &Case) {
        let mut seats: Vec<&Arc<Seat>> = self.seats.iter().collect();
        seats.sort_by_key(|seat| (seat.epoch, seat.whole));
        let mut columns: Vec<u64> = (0..self.participants.len())
            .map(|index| {
                let mut column = Digest::default();
                self.participants[index].digest().hash(&mut column);
                for seat in &seats {
                    seat.operations.get(index).hash(&mut column);
                }
                column.finish()
            })
            .collect();
        if case.is_symmetric {
            columns.sort_unstable();
        }
        let seats: Vec<u64> = seats.iter().map(|seat| seat.whole).collect();
        let row = self.row.as_ref().map(|row| row.digest);
        let writes = unordered(self.writes.iter().map(Flying::digest));
        let store = (row, self.newest, writes, self.crashes_left);
        let seen = (&self.view.epochs, self.view.told, self.broken);
        self.digest = digest_of((columns, seats, store, seen));
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.digest);
    }
}
