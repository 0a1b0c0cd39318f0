//! Which kinds of plans a transaction can have.

use crate::plan::{
    latency::Cells,
    map::{Grid, PlanMap},
    transaction::{Kind, Mode, Shape},
};

impl PlanMap {
    /// Where only one kind is possible for a transaction: reads alone need no commit, eventual
    /// writes need no agreement, one home needs one round. `None` for one that takes units from a
    /// pool: a pool can say no, so what takes units from it and writes elsewhere besides needs
    /// agreement, and where it takes them is to be chosen.
    pub(super) fn kind(&self, shape: &Shape<'_>) -> Option<Kind> {
        let home = shape.operations[0].home;
        if shape.takes_any_units() {
            None
        } else if shape.operations.iter().all(|operation| !operation.write) {
            Some(Kind::ReadReplica)
        } else if shape.mode == Mode::EventualGlobal {
            Some(Kind::Eventual)
        } else if shape.operations.iter().all(|operation| operation.home == home) {
            Some(Kind::Local)
        } else {
            Some(Kind::TwoPhase)
        }
    }

    /// The regions each of which alone can serve a transaction that takes units, in order. Where
    /// each write may be served by any holder, it serves all writes. Where one may not, all that
    /// takes no units has its home there, as everywhere else.
    pub(super) fn alone<'a>(
        &self,
        shape: &'a Shape<'a>,
    ) -> impl Iterator<Item = (Kind, usize)> + 'a {
        let mut writes = shape.operations.iter().filter(|operation| operation.write);
        let is_free = writes.all(|operation| shape.is_free(operation));
        let kind = if is_free { Kind::Pool } else { Kind::Local };
        let serves = move |region: usize| {
            shape.operations.iter().all(|operation| {
                let may_hold = if is_free { operation.write } else { shape.takes_units(operation) };
                if may_hold {
                    operation.is_held_in(region)
                } else {
                    is_free || operation.home == region
                }
            })
        };
        let regions = (0..shape.allowed.len()).filter(|region| shape.allowed[*region]);
        regions.filter(move |region| serves(*region)).map(move |region| (kind, region))
    }

    /// Whether a transaction can still be carried out in a way that it could be.
    pub(super) fn is_possible(&self, shape: &Shape<'_>, kind: Kind, coordinator: usize) -> bool {
        let is_allowed = || shape.allowed.get(coordinator).is_some_and(|allowed| *allowed);
        match (self.kind(shape), kind) {
            (None, Kind::TwoPhase) => is_allowed(),
            (None, _) => self.alone(shape).any(|alone| alone == (kind, coordinator)),
            (Some(only), _) if only != kind => false,
            (Some(_), Kind::TwoPhase) => is_allowed(),
            (Some(_), Kind::Local) => shape.operations[0].home == coordinator,
            (Some(_), _) => shape.client == coordinator,
        }
    }

    /// How a transaction that takes units is carried out soonest, from where, and how long its
    /// client waits, in microseconds: each region alone and each two-phase commit is looked at.
    pub(super) fn soonest_with_units(
        &self,
        shape: &Shape<'_>,
        grid: &Grid,
        trips: &Cells<'_>,
    ) -> (Kind, usize, u64) {
        let (coordinator, micros) = self.soonest(shape, grid, trips);
        let alone = self.alone(shape).map(|(kind, region)| {
            let micros = self.latency(shape, kind, region, trips);
            (kind, region, micros)
        });
        let alone = alone.min_by_key(|(_, _, micros)| *micros);
        alone.filter(|alone| alone.2 <= micros).unwrap_or((Kind::TwoPhase, coordinator, micros))
    }
}
