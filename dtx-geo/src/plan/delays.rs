//! When the coordinator of a plan asks each of its servers.

use std::time::Duration;

use crate::plan::{
    latency::Cells,
    map::PlanMap,
    transaction::{Kind, Shape, TransactionPlan},
};

impl PlanMap {
    /// How long the coordinator of a plan waits before it asks the server of each operation, so
    /// that all of them have answered, and made durable what they promise, at the same time. Only a
    /// two-phase commit waits: elsewhere nothing is held until the others have answered. Of several
    /// rounds the first one waits for all; the others follow at each server's own pace.
    ///
    /// These are the times of the map. A coordinator that carries a plan out takes them from what
    /// it measures ([`GeoPlacement`](crate::phase::GeoPlacement)).
    pub fn delays(&self, shape: &Shape<'_>, plan: &TransactionPlan) -> Vec<Duration> {
        let operations = shape.operations.iter().enumerate();
        if plan.kind != Kind::TwoPhase {
            return operations.map(|_| Duration::ZERO).collect();
        }
        let trips = Cells::new(self, &self.direct, shape);
        let servers = operations.zip(&plan.served_by);
        let times: Vec<u64> = servers
            .map(|((index, _), server)| {
                trips.between(plan.coordinator, *server) + trips.durable[index]
            })
            .collect();
        let rounds = u64::from(shape.rounds);
        let longest = times.iter().copied().max().unwrap_or(0);
        times.into_iter().map(|time| Duration::from_micros(rounds * (longest - time))).collect()
    }
}
