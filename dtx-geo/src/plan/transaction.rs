//! How one transaction over regions is carried out soonest.

use std::time::Duration;

use thiserror::Error;

/// The most operations of one plan.
pub const OPERATIONS_MAX: usize = 64;
/// The most rounds of one plan.
pub const ROUNDS_MAX: u32 = 3;

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
    /// How many bytes it reads or writes.
    pub bytes: u64,
    /// Whether it takes units from a regional pool ([`pool`](crate::pool)), of which its home and
    /// its copies hold a part each. Any of them can serve it, for each spends its own part alone;
    /// it is sent on to no other. In [`Mode::StrongGlobal`] it is a write as any other: a part that
    /// is in one region would be lost with it. Only with `write`.
    pub pooled: bool,
}

impl DataOperation<'_> {
    /// The allowed regions with its data: the copies, and its home at the end.
    pub(super) fn holders<'a>(&'a self, allowed: &'a [bool]) -> impl Iterator<Item = usize> + 'a {
        let copies = self.copies.iter().copied().filter(|copy| allowed[*copy]);
        copies.chain([self.home])
    }

    /// Whether a region holds its data.
    pub(super) fn is_held_in(&self, region: usize) -> bool {
        self.home == region || self.copies.contains(&region)
    }
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
    /// How often its coordinator asks its participants before it decides, from 1 to
    /// [`ROUNDS_MAX`]: once for `2pc` and `2ps`, twice for `3ps`. It matters to a two-phase commit
    /// alone. What one region does alone has its rounds inside of that region, which count as
    /// nothing beside ways between regions, and is durable once; reads at copies and eventual
    /// writes have no coordinator that asks again.
    pub rounds: u32,
}

impl Shape<'_> {
    /// Whether an operation takes units that its server alone has to have.
    pub(super) fn takes_units(&self, operation: &DataOperation<'_>) -> bool {
        operation.pooled && self.mode != Mode::StrongGlobal
    }

    /// Whether any operation does.
    pub(super) fn takes_any_units(&self) -> bool {
        self.mode != Mode::StrongGlobal && self.operations.iter().any(|one| one.pooled)
    }

    /// Whether another region than its home may serve a write.
    pub(super) fn is_free(&self, operation: &DataOperation<'_>) -> bool {
        self.mode == Mode::EventualGlobal || self.takes_units(operation)
    }
}

/// How a transaction is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All of it in the one home of its data, which also holds a part of each pool.
    Local,
    /// All writes in one region, which holds a part of each pool that units are taken from, without
    /// agreement between regions; each read at its nearest copy that is fresh enough.
    Pool,
    /// Only reads, each at its nearest copy that is fresh enough.
    ReadReplica,
    /// Each write at its nearest copy, the others later.
    Eventual,
    /// Two-phase commit.
    TwoPhase,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionPlan {
    /// What is durable where before the client is told: as it was asked for, never less.
    pub mode: Mode,
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
    /// An operation that only reads is said to take units from a pool.
    #[error("operation {0} takes units from a pool, but does not write")]
    Pooled(usize),
    /// No round, or more than [`ROUNDS_MAX`].
    #[error("{0} rounds: give 1 to {ROUNDS_MAX}")]
    Rounds(u32),
}
