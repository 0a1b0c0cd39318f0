//! Plans that stay when the map changes a little.

use std::time::Duration;

use crate::plan::{
    map::PlanMap,
    transaction::{PlanError, Shape, TransactionPlan},
};

/// A plan is left for one that is sooner by more than this share...
pub const GAIN_MIN: f64 = 0.05;
/// ...so many times in a row.
pub const LOOKS: u32 = 3;

/// The plan of one kind of transaction over a map that changes.
///
/// A plan that is left for every small gain would change with the noise of the measurements, and
/// each change costs: connections, caches, locks held at two places. One that cannot be carried
/// out any more is left at once.
#[derive(Clone, Debug)]
pub struct Keeper {
    held: TransactionPlan,
    better: u32,
}

impl Keeper {
    /// Holds the best plan of a map.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(map: &PlanMap, shape: &Shape<'_>) -> Result<Self, PlanError> {
        Ok(Self { held: map.plan(shape)?, better: 0 })
    }

    /// The plan.
    pub fn held(&self) -> &TransactionPlan {
        &self.held
    }

    /// Looks at a newer map of the same regions, and at the transaction as it is asked for then. The
    /// latency of the plan is that on the newer map.
    ///
    /// # Errors
    /// [`PlanError`], when nothing can be planned; the plan stays as it was.
    pub fn look(
        &mut self,
        map: &PlanMap,
        shape: &Shape<'_>,
    ) -> Result<&TransactionPlan, PlanError> {
        let best = map.plan(shape)?;
        let Some(now) = map.again(shape, &self.held) else {
            (self.held, self.better) = (best, 0);
            return Ok(&self.held);
        };
        let gains = best.latency < now.mul_f64(1.0 - GAIN_MIN);
        self.better = if gains { self.better + 1 } else { 0 };
        if self.better >= LOOKS {
            (self.held, self.better) = (best, 0);
        } else {
            let served_by = map.servers(shape, self.held.kind, self.held.coordinator, &map.direct);
            (self.held.served_by, self.held.latency) = (served_by, now);
        }
        Ok(&self.held)
    }
}

impl PlanMap {
    /// How long the client of an earlier plan waits on this map; `None` when that plan is none for
    /// the transaction any more.
    fn again(&self, shape: &Shape<'_>, plan: &TransactionPlan) -> Option<Duration> {
        let same = shape.mode == plan.mode && self.is_possible(shape, plan.kind, plan.coordinator);
        same.then(|| self.expected(shape, plan.kind, plan.coordinator))
    }
}
