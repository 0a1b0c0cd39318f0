//! How long the client of a plan waits.

use std::time::Duration;

use crate::{
    model::MAP_REGIONS_MAX,
    plan::{
        map::{Grid, PlanMap},
        transaction::{DataOperation, Kind, Mode, OPERATIONS_MAX, Shape, TransactionPlan},
    },
};

/// Round trips in microseconds, between regions by index.
pub(crate) trait RoundTrips {
    fn between(&mut self, from: usize, to: usize) -> u64;
    /// To most of the zones of a region.
    fn zones(&mut self) -> u64;
    /// How long a write takes to be durable once its server has it.
    fn durable(&mut self, shape: &Shape<'_>, operation: usize) -> u64
    where
        Self: Sized,
    {
        copied(shape, &shape.operations[operation], self)
    }
}

/// The round trips of a map.
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
                trips.durable[index] = copied(shape, operation, &mut trips);
            }
        }
        trips
    }
}

impl RoundTrips for Cells<'_> {
    fn between(&mut self, from: usize, to: usize) -> u64 {
        self.grid.row(from)[to]
    }

    fn zones(&mut self) -> u64 {
        self.zones
    }

    fn durable(&mut self, _: &Shape<'_>, operation: usize) -> u64 {
        self.durable[operation]
    }
}

impl PlanMap {
    /// How long the client waits, in microseconds, when regions are chosen by `grid` and messages
    /// take what `trips` says.
    pub(super) fn latency(
        &self,
        shape: &Shape<'_>,
        kind: Kind,
        coordinator: usize,
        grid: &Grid,
        trips: &mut impl RoundTrips,
    ) -> u64 {
        let client = match kind {
            Kind::Local | Kind::TwoPhase => trips.between(shape.client, coordinator),
            Kind::ReadReplica | Kind::Eventual => 0,
        };
        let row = grid.row(coordinator);
        let mut all = 0;
        for (index, operation) in shape.operations.iter().enumerate() {
            let server = self.server(shape, kind, operation, row);
            let durable = if operation.write { trips.durable(shape, index) } else { 0 };
            // Where all is in one home, the way there is the client's.
            let there = if kind == Kind::Local { 0 } else { trips.between(coordinator, server) };
            all = all.max(there + durable);
        }
        let decision = match (kind, shape.mode) {
            (Kind::TwoPhase, Mode::StrongGlobal) => grid
                .nearest(coordinator, shape.allowed)
                .map_or(0, |other| trips.between(coordinator, other.0)),
            (Kind::TwoPhase, _) => trips.zones(),
            _ => 0,
        };
        client + all + decision
    }

    /// The latency of a plan on this map.
    pub(super) fn expected(&self, shape: &Shape<'_>, plan: &TransactionPlan) -> Duration {
        let mut trips = Cells::new(self, &self.direct, shape);
        Duration::from_micros(self.carry_out(shape, plan, &mut trips))
    }

    /// The latency of a plan over round trips that are drawn, in microseconds.
    pub(crate) fn carry_out(
        &self,
        shape: &Shape<'_>,
        plan: &TransactionPlan,
        trips: &mut impl RoundTrips,
    ) -> u64 {
        self.latency(shape, plan.kind, plan.coordinator, &self.direct, trips)
    }
}

/// How long a write takes to be durable once its home has it.
fn copied(shape: &Shape<'_>, operation: &DataOperation<'_>, trips: &mut impl RoundTrips) -> u64 {
    if shape.mode != Mode::StrongGlobal {
        return trips.zones();
    }
    let copies = || operation.copies.iter().filter(|copy| shape.allowed[**copy]);
    let mut ways = [u64::MAX; MAP_REGIONS_MAX];
    let mut count = 0;
    for (way, copy) in ways.iter_mut().zip(copies()) {
        *way = trips.between(operation.home, *copy);
        count += 1;
    }
    // With its home, half of the others make most of them.
    let (_, most, _) = ways[..count].select_nth_unstable(count.div_ceil(2) - 1);
    *most
}
