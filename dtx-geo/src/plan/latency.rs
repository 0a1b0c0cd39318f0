//! How long the client of a plan waits.

use std::time::Duration;

use crate::{
    model::MAP_REGIONS_MAX,
    plan::{
        map::{Grid, PlanMap},
        transaction::{DataOperation, Kind, Mode, OPERATIONS_MAX, Shape},
    },
};

/// The round trips of a map in microseconds, between regions by index.
pub(super) struct Cells<'a> {
    grid: &'a Grid,
    zones: u64,
    /// Does not depend on the coordinator, so it is computed once.
    pub(super) durable: [u64; OPERATIONS_MAX],
}

impl<'a> Cells<'a> {
    pub(super) fn new(map: &PlanMap, grid: &'a Grid, shape: &Shape<'_>) -> Self {
        let mut trips = Self { grid, zones: map.zones, durable: [0; OPERATIONS_MAX] };
        for (index, operation) in shape.operations.iter().enumerate() {
            if operation.write {
                trips.durable[index] = trips.copied(shape, operation);
            }
        }
        trips
    }

    pub(super) fn between(&self, from: usize, to: usize) -> u64 {
        self.grid.row(from)[to]
    }

    /// How long a write takes to be durable once its home has it.
    fn copied(&self, shape: &Shape<'_>, operation: &DataOperation<'_>) -> u64 {
        if shape.mode != Mode::StrongGlobal {
            return self.zones;
        }
        let copies = || operation.copies.iter().filter(|copy| shape.allowed[**copy]);
        let mut ways = [u64::MAX; MAP_REGIONS_MAX];
        let mut count = 0;
        for (way, copy) in ways.iter_mut().zip(copies()) {
            *way = self.between(operation.home, *copy);
            count += 1;
        }
        // With its home, half of the others make most of them.
        let (_, most, _) = ways[..count].select_nth_unstable(count.div_ceil(2) - 1);
        *most
    }
}

impl PlanMap {
    /// How long the client waits, in microseconds, when messages take what `trips` says.
    pub(super) fn latency(
        &self,
        shape: &Shape<'_>,
        kind: Kind,
        coordinator: usize,
        trips: &Cells<'_>,
    ) -> u64 {
        let client = match kind {
            Kind::Local | Kind::Pool | Kind::TwoPhase => trips.between(shape.client, coordinator),
            Kind::ReadReplica | Kind::Eventual => 0,
        };
        let is_alone = matches!(kind, Kind::Local | Kind::Pool);
        let mut all = 0;
        for (index, operation) in shape.operations.iter().enumerate() {
            let server = self.server(shape, kind, operation, coordinator, trips.grid);
            let durable = trips.durable[index];
            // What the coordinator's region does alone is asked for on the client's way.
            let is_there = is_alone && server == coordinator;
            let there = if is_there { 0 } else { trips.between(coordinator, server) };
            all = all.max(there + durable);
        }
        let decision = match (kind, shape.mode) {
            (Kind::TwoPhase, Mode::StrongGlobal) => {
                trips.grid.nearest(coordinator, shape.allowed).map_or(0, |other| other.1)
            }
            (Kind::TwoPhase, _) => trips.zones,
            _ => 0,
        };
        let rounds = if kind == Kind::TwoPhase { u64::from(shape.rounds) } else { 1 };
        client + rounds * all + decision
    }

    /// How long the client waits on this map, when a transaction is carried out so.
    pub(super) fn expected(&self, shape: &Shape<'_>, kind: Kind, coordinator: usize) -> Duration {
        let trips = Cells::new(self, &self.direct, shape);
        Duration::from_micros(self.latency(shape, kind, coordinator, &trips))
    }
}
