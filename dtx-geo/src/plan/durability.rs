//! What has to be durable where before the client of a plan is told.

use crate::plan::{
    map::PlanMap,
    transaction::{DataOperation, Kind, Mode, Shape, TransactionPlan},
};

/// Regions beside the coordinator that a decision in `StrongGlobal` is sent to; one of them is
/// enough.
pub(super) const LOG_OTHERS: usize = 2;

/// Regions, of which so many must have something before it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// By index. The first one takes it and must have it; the others get it from there.
    pub regions: Vec<usize>,
    /// How many of them must have it, the first one included.
    pub needed: usize,
}

impl Quorum {
    /// Whether enough regions have it, by what is known of each.
    pub fn is_met(&self, has: impl Fn(usize) -> bool) -> bool {
        let first = self.regions.first().is_some_and(|region| has(*region));
        first && self.regions.iter().filter(|region| has(**region)).count() >= self.needed
    }
}

/// What has to be durable where before the client of a plan is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// For each operation; `None` for one that only reads.
    pub writes: Vec<Option<Quorum>>,
    /// The decision of a two-phase commit. The other kinds have none.
    pub decision: Option<Quorum>,
}

impl PlanMap {
    /// What has to be durable where before the client is told, so that the plan keeps the mode that
    /// it is for. The regions are all allowed ones.
    ///
    /// | mode | a write | a decision |
    /// |---|---|---|
    /// | `StrongGlobal` | most of its home and the allowed copies | the coordinator and one of the two regions nearest to it |
    /// | `StrongRegional` | its home | the coordinator |
    /// | `EventualGlobal` | the region that serves it | the coordinator |
    ///
    /// What takes units from a pool is durable in the region that serves it, for they are of its own
    /// part; in `StrongGlobal` it is a write as any other.
    ///
    /// A region alone has to have it in most of its zones; of several regions each has it in one
    /// place at least, and the loss of one region loses nothing.
    pub fn durability(&self, shape: &Shape<'_>, plan: &TransactionPlan) -> Durability {
        let servers = shape.operations.iter().zip(&plan.served_by);
        let writes = servers.map(|(operation, server)| {
            operation.write.then(|| written(shape, plan.mode, operation, *server))
        });
        let decision = (plan.kind == Kind::TwoPhase).then(|| {
            let mut regions = vec![plan.coordinator];
            if plan.mode == Mode::StrongGlobal {
                regions.extend(self.log_others(shape, plan.coordinator));
            }
            let needed = regions.len() / 2 + 1;
            Quorum { regions, needed }
        });
        Durability { writes: writes.collect(), decision }
    }

    /// The nearest other regions, which a decision is sent to in `StrongGlobal`.
    pub(super) fn log_others(
        &self,
        shape: &Shape<'_>,
        coordinator: usize,
    ) -> impl Iterator<Item = usize> {
        let near = self.direct.near(coordinator);
        near.filter(|region| shape.allowed[*region]).take(LOG_OTHERS)
    }
}

fn written(shape: &Shape<'_>, mode: Mode, operation: &DataOperation<'_>, server: usize) -> Quorum {
    if mode != Mode::StrongGlobal {
        return Quorum { regions: vec![server], needed: 1 };
    }
    let copies = operation.copies.iter().copied().filter(|copy| shape.allowed[*copy]);
    let regions: Vec<usize> = std::iter::once(operation.home).chain(copies).collect();
    let needed = regions.len() / 2 + 1;
    Quorum { regions, needed }
}
