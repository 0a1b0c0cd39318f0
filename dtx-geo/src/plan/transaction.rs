//! How one transaction over regions is carried out soonest.

use std::time::Duration;

use thiserror::Error;

use crate::model::{MAP_REGIONS_MAX, RttMap};

/// The most operations of one plan.
pub const OPERATIONS_MAX: usize = 64;

/// What is durable where before the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In most of the regions that hold a copy: it survives the loss of a region.
    StrongGlobal,
    /// In most of the zones of its home: it survives the loss of a zone.
    StrongRegional,
    /// In the zones of the nearest copy; the others follow.
    EventualGlobal,
}

/// One operation, and where its data lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataOperation<'a> {
    /// Whether it changes something.
    pub write: bool,
    /// The region that decides on its data.
    pub home: usize,
    /// The regions with a copy, without its home.
    pub copies: &'a [usize],
    /// How old may be what it reads.
    pub staleness: Duration,
}

/// A transaction that is to be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape<'a> {
    /// The region of who waits for it.
    pub client: usize,
    /// What must be durable where.
    pub mode: Mode,
    /// What it does.
    pub operations: &'a [DataOperation<'a>],
    /// The regions that may hold and coordinate it, by index; a copy elsewhere is not used.
    pub allowed: &'a [bool],
}

/// How a transaction is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All of it in the one home of its data.
    Local,
    /// Only reads, each at its nearest copy that is fresh enough.
    ReadReplica,
    /// Each write at its nearest copy, the others later.
    Eventual,
    /// Two-phase commit.
    TwoPhase,
}

/// A plan. Its mode is the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionPlan {
    /// How it is carried out.
    pub kind: Kind,
    /// From where.
    pub coordinator: usize,
    /// The region that serves each operation.
    pub served_by: Vec<usize>,
    /// How long the client waits.
    pub latency: Duration,
}

/// A transaction that cannot be carried out as it was asked for. It is never weakened instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// No operation, or more than [`OPERATIONS_MAX`].
    #[error("{0} operations: give 1 to {OPERATIONS_MAX}")]
    Operations(usize),
    /// A region that is not in the map, or a list of allowed regions of another length.
    #[error("a region is not in the map, or `allowed` does not have one entry for each region")]
    Region,
    /// The home of an operation is not allowed.
    #[error("the home of operation {0} is not among the allowed regions")]
    Home(usize),
    /// Too few allowed regions hold a copy of what an operation changes for `StrongGlobal`.
    #[error("operation {0} changes data of fewer than three allowed regions")]
    Copies(usize),
    /// A region holds two copies of the data of an operation: they would be lost together.
    #[error("two copies of the data of operation {0} are in one region")]
    Twice(usize),
    /// There are too few allowed regions for a log that survives the loss of one.
    #[error("fewer than three allowed regions: a decision would not survive the loss of one")]
    Log,
}

/// A map that plans are made on.
#[derive(Clone, Debug)]
pub struct PlanMap {
    regions: usize,
    direct: Vec<u64>,
    closed: Vec<u64>,
    pub(crate) zones: u64,
    lag: Duration,
}

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

struct Cells<'a> {
    cells: &'a [u64],
    map: &'a PlanMap,
    /// Does not depend on the coordinator, so it is computed once.
    durable: [u64; OPERATIONS_MAX],
}

impl<'a> Cells<'a> {
    fn new(map: &'a PlanMap, cells: &'a [u64], shape: &Shape<'_>) -> Self {
        let mut trips = Self { cells, map, durable: [0; OPERATIONS_MAX] };
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
        self.cells[from * self.map.regions + to]
    }

    fn zones(&mut self) -> u64 {
        self.map.zones
    }

    fn durable(&mut self, _: &Shape<'_>, operation: usize) -> u64 {
        self.durable[operation]
    }
}

impl PlanMap {
    /// Takes the round trips of `map`, the round trip to most `zones` of a region, and the `lag` of
    /// copies behind their home. `None` when a pair of the map is not known.
    pub fn new(map: &RttMap, zones: Duration, lag: Duration) -> Option<Self> {
        let regions = map.regions().len();
        let cells = |map: &RttMap| -> Option<Vec<u64>> {
            let cell = |cell| map.rtt(cell / regions, cell % regions);
            (0..regions * regions).map(|at| Some(cell(at)?.value.as_micros() as u64)).collect()
        };
        let (direct, closed) = (cells(map)?, cells(&map.closure())?);
        Some(Self { regions, direct, closed, zones: zones.as_micros() as u64, lag })
    }

    /// The plan of the kinds above with the least latency; of equal ones that with the first
    /// coordinator. All are looked at, so it is exact.
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

    fn check(&self, shape: &Shape<'_>) -> Result<(), PlanError> {
        let operations = shape.operations;
        if operations.is_empty() || operations.len() > OPERATIONS_MAX {
            return Err(PlanError::Operations(operations.len()));
        }
        let mut regions = operations
            .iter()
            .flat_map(|operation| operation.copies.iter().chain([&operation.home]));
        let known = regions.all(|region| *region < self.regions) && shape.client < self.regions;
        if !known || shape.allowed.len() != self.regions {
            return Err(PlanError::Region);
        }
        for (index, operation) in operations.iter().enumerate() {
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

    fn best(&self, shape: &Shape<'_>, cells: &[u64]) -> Result<TransactionPlan, PlanError> {
        let kind = self.kind(shape);
        let mut trips = Cells::new(self, cells, shape);
        let home = shape.operations[0].home;
        let coordinators = match kind {
            Kind::Local => home..home + 1,
            Kind::ReadReplica | Kind::Eventual => shape.client..shape.client + 1,
            Kind::TwoPhase => 0..self.regions,
        };
        let mut best: Option<(u64, usize)> = None;
        for coordinator in coordinators {
            if kind == Kind::TwoPhase && !shape.allowed[coordinator] {
                continue;
            }
            let limit = best.map_or(u64::MAX, |best| best.0);
            let at = (coordinator, limit);
            if let Some(micros) = self.latency(shape, kind, at, cells, &mut trips)? {
                best = Some((micros, coordinator));
            }
        }
        // The home of the first operation is allowed, so there is one.
        let (micros, coordinator) = best.ok_or(PlanError::Region)?;
        let served_by = shape.operations.iter();
        let served_by =
            served_by.map(|operation| self.server(shape, kind, operation, coordinator, cells));
        let served_by = served_by.collect();
        Ok(TransactionPlan { kind, coordinator, served_by, latency: Duration::from_micros(micros) })
    }

    /// Only one kind is possible for each transaction: reads alone need no commit, eventual writes
    /// need no agreement, one home needs one round.
    fn kind(&self, shape: &Shape<'_>) -> Kind {
        let home = shape.operations[0].home;
        if shape.operations.iter().all(|operation| !operation.write) {
            Kind::ReadReplica
        } else if shape.mode == Mode::EventualGlobal {
            Kind::Eventual
        } else if shape.operations.iter().all(|operation| operation.home == home) {
            Kind::Local
        } else {
            Kind::TwoPhase
        }
    }

    /// The region that serves an operation when `from` asks.
    fn server(
        &self,
        shape: &Shape<'_>,
        kind: Kind,
        operation: &DataOperation<'_>,
        from: usize,
        cells: &[u64],
    ) -> usize {
        let anywhere =
            if operation.write { kind == Kind::Eventual } else { operation.staleness >= self.lag };
        if !anywhere || kind == Kind::Local {
            return operation.home;
        }
        let copies = operation.copies.iter().filter(|copy| shape.allowed[**copy]);
        let micros_to = |to: usize| cells[from * self.regions + to];
        let (mut nearest, mut found) = (micros_to(operation.home), operation.home);
        for copy in copies {
            let micros = micros_to(*copy);
            if micros < nearest {
                (nearest, found) = (micros, *copy);
            }
        }
        found
    }

    /// How long the client waits, in microseconds, when regions are chosen by `cells`; `None` when
    /// that is not below the limit.
    fn latency(
        &self,
        shape: &Shape<'_>,
        kind: Kind,
        (coordinator, limit): (usize, u64),
        cells: &[u64],
        trips: &mut impl RoundTrips,
    ) -> Result<Option<u64>, PlanError> {
        let client = match kind {
            Kind::Local | Kind::TwoPhase => trips.between(shape.client, coordinator),
            Kind::ReadReplica | Kind::Eventual => 0,
        };
        let mut all = 0;
        for (index, operation) in shape.operations.iter().enumerate() {
            let server = self.server(shape, kind, operation, coordinator, cells);
            let durable = if operation.write { trips.durable(shape, index) } else { 0 };
            // Where all is in one home, the way there is the client's.
            let there = if kind == Kind::Local { 0 } else { trips.between(coordinator, server) };
            all = all.max(there + durable);
            if client + all >= limit {
                return Ok(None);
            }
        }
        let decision =
            if kind == Kind::TwoPhase { self.logged(shape, coordinator, cells, trips)? } else { 0 };
        Ok(Some(client + all + decision).filter(|micros| *micros < limit))
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
        let mut trips = Cells::new(self, &self.direct, shape);
        let at = (coordinator, u64::MAX);
        let micros = self.latency(shape, Kind::TwoPhase, at, &self.direct, &mut trips)?;
        Ok(Duration::from_micros(micros.expect("without a limit there is a latency")))
    }

    /// The latency of a plan over round trips that are drawn, in microseconds.
    pub(crate) fn carry_out(
        &self,
        shape: &Shape<'_>,
        plan: &TransactionPlan,
        trips: &mut impl RoundTrips,
    ) -> Result<u64, PlanError> {
        let at = (plan.coordinator, u64::MAX);
        let micros = self.latency(shape, plan.kind, at, &self.direct, trips)?;
        Ok(micros.expect("without a limit there is a latency"))
    }

    /// How long a decision takes to be durable: most of the zones, or the nearest of two others of
    /// the allowed regions.
    fn logged(
        &self,
        shape: &Shape<'_>,
        coordinator: usize,
        cells: &[u64],
        trips: &mut impl RoundTrips,
    ) -> Result<u64, PlanError> {
        if shape.mode != Mode::StrongGlobal {
            return Ok(trips.zones());
        }
        let others = || (0..self.regions).filter(|o| *o != coordinator && shape.allowed[*o]);
        if others().count() < 2 {
            return Err(PlanError::Log);
        }
        let nearest = others().min_by_key(|other| cells[coordinator * self.regions + other]);
        Ok(nearest.map_or(0, |other| trips.between(coordinator, other)))
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
    ways[..count].sort_unstable();
    ways[count.div_ceil(2) - 1]
}
