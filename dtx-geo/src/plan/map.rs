//! A map that plans are made on, and the plan with the least latency.

use std::time::Duration;

use crate::{
    model::{MAP_REGIONS_MAX, RttMap},
    plan::{
        latency::Cells,
        transaction::{
            DataOperation, Kind, Mode, OPERATIONS_MAX, PlanError, ROUNDS_MAX, Shape,
            TransactionPlan,
        },
    },
};

/// A map that plans are made on.
#[derive(Clone, Debug)]
pub struct PlanMap {
    pub(super) direct: Grid,
    closed: Grid,
    pub(crate) zones: u64,
    lag: Duration,
}

/// Round trips between all pairs, in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub(super) regions: usize,
    /// By where they begin, and by where they end.
    rows: Vec<u64>,
    columns: Vec<u64>,
    /// For each region the others, the nearest first.
    near: Vec<u8>,
}

impl Grid {
    fn new(map: &RttMap) -> Option<Self> {
        let regions = map.regions().len();
        let micros = |from, to| Some(map.rtt(from, to)?.value.as_micros() as u64);
        let all = 0..regions * regions;
        let rows: Option<Vec<u64>> =
            all.clone().map(|at| micros(at / regions, at % regions)).collect();
        let columns: Option<Vec<u64>> = all.map(|at| micros(at % regions, at / regions)).collect();
        let (rows, columns) = (rows?, columns?);
        let mut near = Vec::with_capacity(rows.len());
        for (from, row) in rows.chunks(regions.max(1)).enumerate() {
            let mut others: Vec<usize> = (0..regions).filter(|to| *to != from).collect();
            others.sort_by_key(|to| row[*to]);
            // A map has at most `MAP_REGIONS_MAX` regions.
            near.extend(others.into_iter().map(|to| to as u8));
        }
        Some(Self { regions, rows, columns, near })
    }

    /// The round trips from a region.
    pub(super) fn row(&self, from: usize) -> &[u64] {
        &self.rows[from * self.regions..(from + 1) * self.regions]
    }

    /// The round trips to a region.
    fn column(&self, to: usize) -> &[u64] {
        &self.columns[to * self.regions..(to + 1) * self.regions]
    }

    /// The other regions, the nearest first; of equal ones the first.
    pub(super) fn near(&self, from: usize) -> impl Iterator<Item = usize> {
        let others = self.regions - 1;
        self.near[from * others..(from + 1) * others].iter().map(|to| usize::from(*to))
    }

    /// The nearest other region that is allowed, and the round trip to it; of equal ones the first.
    pub(super) fn nearest(&self, from: usize, allowed: &[bool]) -> Option<(usize, u64)> {
        let found = self.near(from).find(|to| allowed[*to])?;
        Some((found, self.row(from)[found]))
    }

    /// From each region to the nearest allowed one with the data of an operation.
    fn nearest_of(
        &self,
        operation: &DataOperation<'_>,
        allowed: &[bool],
    ) -> [u64; MAP_REGIONS_MAX] {
        let mut nearest = [u64::MAX; MAP_REGIONS_MAX];
        for held in operation.holders(allowed) {
            for (near, way) in nearest.iter_mut().zip(self.column(held)) {
                *near = (*near).min(*way);
            }
        }
        nearest
    }
}

impl PlanMap {
    /// Takes the round trips of `map`, the round trip to most `zones` of a region, and the `lag` of
    /// copies behind their home. `None` when a pair of the map is not known.
    pub fn new(map: &RttMap, zones: Duration, lag: Duration) -> Option<Self> {
        let (direct, closed) = (Grid::new(map)?, Grid::new(&map.closure())?);
        Some(Self { direct, closed, zones: zones.as_micros() as u64, lag })
    }

    /// The plan of the kinds above with the least latency; of equal ones that of one region alone,
    /// then that with the first coordinator. All are looked at, so it is exact.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn plan(&self, shape: &Shape<'_>) -> Result<TransactionPlan, PlanError> {
        self.check(shape)?;
        self.best(shape, &self.direct)
    }

    /// With messages passed on over the shortest ways, no plan of the kinds above is below this.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn bound(&self, shape: &Shape<'_>) -> Result<Duration, PlanError> {
        self.check(shape)?;
        Ok(self.best(shape, &self.closed)?.latency)
    }

    /// How long the client waits when a two-phase commit is coordinated from a region, for
    /// comparison with [`plan`](Self::plan).
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn at(&self, shape: &Shape<'_>, coordinator: usize) -> Result<Duration, PlanError> {
        self.check(shape)?;
        if !shape.allowed.get(coordinator).is_some_and(|allowed| *allowed) {
            return Err(PlanError::Region);
        }
        self.check_log(shape)?;
        Ok(self.expected(shape, Kind::TwoPhase, coordinator))
    }

    pub(super) fn check(&self, shape: &Shape<'_>) -> Result<(), PlanError> {
        let (operations, count) = (shape.operations, self.direct.regions);
        if operations.is_empty() || operations.len() > OPERATIONS_MAX {
            return Err(PlanError::Operations(operations.len()));
        }
        if !(1..=ROUNDS_MAX).contains(&shape.rounds) {
            return Err(PlanError::Rounds(shape.rounds));
        }
        let mut regions = operations
            .iter()
            .flat_map(|operation| operation.copies.iter().chain([&operation.home]));
        let known = regions.all(|region| *region < count) && shape.client < count;
        if !known || shape.allowed.len() != count {
            return Err(PlanError::Region);
        }
        for (index, operation) in operations.iter().enumerate() {
            if operation.pooled && !operation.write {
                return Err(PlanError::Pooled(index));
            }
            if !shape.allowed[operation.home] {
                return Err(PlanError::Home(index));
            }
            let mut others = operation.copies.iter().enumerate();
            if others
                .any(|(at, copy)| *copy == operation.home || operation.copies[..at].contains(copy))
            {
                return Err(PlanError::Twice(index));
            }
            let copies = operation.copies.iter().filter(|copy| shape.allowed[**copy]).count();
            if shape.mode == Mode::StrongGlobal && operation.write && copies < 2 {
                return Err(PlanError::Copies(index));
            }
        }
        Ok(())
    }

    /// A decision that survives the loss of a region is in two others.
    pub(super) fn check_log(&self, shape: &Shape<'_>) -> Result<(), PlanError> {
        let allowed = || shape.allowed.iter().filter(|allowed| **allowed);
        if shape.mode == Mode::StrongGlobal && allowed().nth(2).is_none() {
            return Err(PlanError::Log);
        }
        Ok(())
    }

    fn best(&self, shape: &Shape<'_>, grid: &Grid) -> Result<TransactionPlan, PlanError> {
        let trips = Cells::new(self, grid, shape);
        let (kind, coordinator, micros) = match self.kind(shape) {
            None => self.soonest_with_units(shape, grid, &trips),
            Some(Kind::TwoPhase) => {
                self.check_log(shape)?;
                let (coordinator, micros) = self.soonest(shape, grid, &trips);
                (Kind::TwoPhase, coordinator, micros)
            }
            Some(kind) => {
                let is_local = kind == Kind::Local;
                let from = if is_local { shape.operations[0].home } else { shape.client };
                (kind, from, self.latency(shape, kind, from, &trips))
            }
        };
        let served_by = self.servers(shape, kind, coordinator, grid);
        let (mode, latency) = (shape.mode, Duration::from_micros(micros));
        Ok(TransactionPlan { mode, kind, coordinator, served_by, latency })
    }

    /// The region that serves each operation.
    pub(super) fn servers(
        &self,
        shape: &Shape<'_>,
        kind: Kind,
        coordinator: usize,
        grid: &Grid,
    ) -> Vec<usize> {
        let operations = shape.operations.iter();
        operations.map(|operation| self.server(shape, kind, operation, coordinator, grid)).collect()
    }

    /// Whether another region than its home may serve an operation that is asked for by its way.
    fn is_anywhere(&self, shape: &Shape<'_>, operation: &DataOperation<'_>) -> bool {
        if operation.write { shape.is_free(operation) } else { operation.staleness >= self.lag }
    }

    /// The region that serves an operation when a region coordinates it.
    pub(super) fn server(
        &self,
        shape: &Shape<'_>,
        kind: Kind,
        operation: &DataOperation<'_>,
        coordinator: usize,
        grid: &Grid,
    ) -> usize {
        if kind == Kind::Local || (kind == Kind::Pool && operation.write) {
            return coordinator;
        }
        let row = grid.row(coordinator);
        let (mut nearest, mut found) = (row[operation.home], operation.home);
        if !self.is_anywhere(shape, operation) {
            return found;
        }
        for copy in operation.copies.iter().filter(|copy| shape.allowed[**copy]) {
            if row[*copy] < nearest {
                (nearest, found) = (row[*copy], *copy);
            }
        }
        // Nothing is nearer than what the region of a pool does itself.
        let is_own = kind == Kind::Pool && operation.is_held_in(coordinator);
        if is_own { coordinator } else { found }
    }

    /// The region from which a two-phase commit ends soonest, and how long its client waits, in
    /// microseconds. All are looked at, one operation after the other, so that the loops run over
    /// memory in its order.
    pub(super) fn soonest(
        &self,
        shape: &Shape<'_>,
        grid: &Grid,
        trips: &Cells<'_>,
    ) -> (usize, u64) {
        let mut farthest = [0; MAP_REGIONS_MAX];
        for (index, operation) in shape.operations.iter().enumerate() {
            let durable = trips.durable[index];
            if self.is_anywhere(shape, operation) {
                let nearest = grid.nearest_of(operation, shape.allowed);
                for (far, way) in farthest.iter_mut().zip(&nearest[..grid.regions]) {
                    *far = (*far).max(way + durable);
                }
            } else {
                for (far, way) in farthest.iter_mut().zip(grid.column(operation.home)) {
                    *far = (*far).max(way + durable);
                }
            }
        }
        if shape.rounds > 1 {
            for far in &mut farthest[..grid.regions] {
                *far *= u64::from(shape.rounds);
            }
        }
        let mut best = (shape.operations[0].home, u64::MAX);
        let ways = grid.row(shape.client).iter().zip(farthest).zip(shape.allowed);
        for (coordinator, ((client, farthest), allowed)) in ways.enumerate() {
            if !allowed || client + farthest >= best.1 {
                continue;
            }
            let decision = match shape.mode {
                Mode::StrongGlobal => grid.nearest(coordinator, shape.allowed).map(|other| other.1),
                Mode::StrongRegional | Mode::EventualGlobal => Some(self.zones),
            };
            let Some(decision) = decision else { continue };
            if client + farthest + decision < best.1 {
                best = (coordinator, client + farthest + decision);
            }
        }
        best
    }
}
