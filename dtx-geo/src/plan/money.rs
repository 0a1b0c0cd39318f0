//! What a plan costs in transfer.

use crate::{
    model::{Destination, Prices, RttMap},
    plan::{
        map::PlanMap,
        transaction::{Kind, Shape, TransactionPlan},
    },
};

/// The bytes that a plan sends from one region to another, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Where they leave.
    pub from: usize,
    /// Where they arrive.
    pub to: usize,
    /// How many.
    pub bytes: u64,
}

impl PlanMap {
    /// What a plan sends between different regions: what is written goes from the client over the
    /// coordinator to its server and from there to each allowed copy, soon or late; what is read
    /// goes back. What takes units from a pool is sent on to no copy, and data are sent in one of
    /// several rounds. Messages without data are not counted.
    pub fn transfers(&self, shape: &Shape<'_>, plan: &TransactionPlan) -> Vec<Transfer> {
        let mut transfers = Vec::new();
        let mut send = |from: usize, to: usize, bytes: u64| {
            if from != to && bytes > 0 {
                transfers.push(Transfer { from, to, bytes });
            }
        };
        let through = match plan.kind {
            Kind::Local | Kind::Pool | Kind::TwoPhase => plan.coordinator,
            Kind::ReadReplica | Kind::Eventual => shape.client,
        };
        for (operation, server) in shape.operations.iter().zip(&plan.served_by) {
            let bytes = operation.bytes;
            if !operation.write {
                send(*server, through, bytes);
                send(through, shape.client, bytes);
                continue;
            }
            send(shape.client, through, bytes);
            send(through, *server, bytes);
            if shape.takes_units(operation) {
                continue;
            }
            for holder in operation.holders(shape.allowed) {
                send(*server, holder, bytes);
            }
        }
        transfers
    }

    /// What the transfers of a plan cost, in US dollars; `None` where a price is not known. `map`
    /// names the regions.
    pub fn usd(
        &self,
        shape: &Shape<'_>,
        plan: &TransactionPlan,
        map: &RttMap,
        prices: &Prices,
    ) -> Option<f64> {
        let name = |region: usize| map.regions().get(region).map(|name| name.as_str());
        let transfers = self.transfers(shape, plan).into_iter();
        let usd = transfers.map(|Transfer { from, to, bytes }| {
            prices.usd(name(from)?, Destination::Region(name(to)?), bytes)
        });
        usd.sum()
    }
}
