//! Plans of which none is better in everything: sooner, cheaper, safer.

use std::cmp::Ordering;

use crate::{
    model::{Prices, RttMap},
    plan::{
        map::PlanMap,
        risk::Risk,
        transaction::{Kind, PlanError, Shape, TransactionPlan},
    },
};

/// A plan, and what it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// The plan, with its latency.
    pub plan: TransactionPlan,
    /// The transfer, in US dollars; `None` where a price is not known.
    pub usd: Option<f64>,
    /// The probability that it cannot be carried out at a given moment, or a little more.
    pub failure: f64,
}

/// What is known of regions besides round trips.
#[derive(Clone, Copy, Debug)]
pub struct Market<'a> {
    /// Names the regions.
    pub map: &'a RttMap,
    /// What transfer costs.
    pub prices: &'a Prices,
    /// What fails.
    pub risk: Risk,
}

/// What a plan is chosen by. Of equal ones the sooner, then the cheaper, then the safer is taken,
/// then that with the first coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Criterion {
    /// The least latency.
    #[default]
    Latency,
    /// The least transfer.
    Money,
    /// The least probability of failure.
    Failure,
}

impl Offer {
    /// Whether another offer is as good in everything and better in something. An unknown price is
    /// as good as none: all offers have one, or it is not compared.
    fn is_beaten_by(&self, other: &Self) -> bool {
        let usd = self.usd.zip(other.usd).map_or(Ordering::Equal, |(own, usd)| usd.total_cmp(&own));
        let orders = [
            other.plan.latency.cmp(&self.plan.latency),
            usd,
            other.failure.total_cmp(&self.failure),
        ];
        orders.iter().all(|order| order.is_le()) && orders.iter().any(|order| order.is_lt())
    }

    fn compare(&self, other: &Self, by: Criterion) -> Ordering {
        let latency = self.plan.latency.cmp(&other.plan.latency);
        let usd = self.usd.unwrap_or(f64::INFINITY).total_cmp(&other.usd.unwrap_or(f64::INFINITY));
        let failure = self.failure.total_cmp(&other.failure);
        let first = match by {
            Criterion::Latency => latency,
            Criterion::Money => usd,
            Criterion::Failure => failure,
        };
        let rest = latency.then(usd).then(failure);
        first.then(rest).then(self.plan.coordinator.cmp(&other.plan.coordinator))
    }
}

impl PlanMap {
    /// The plans of which none is better in everything, the best by a criterion first.
    ///
    /// A two-phase commit can be coordinated from each allowed region; each is looked at. What takes
    /// units from pools besides can be served by each region that can do so alone. The other kinds
    /// have one plan. All of them are in the mode that was asked for.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn offers(
        &self,
        shape: &Shape<'_>,
        market: &Market<'_>,
        by: Criterion,
    ) -> Result<Vec<Offer>, PlanError> {
        let soonest = self.plan(shape)?;
        let plans = self.plans(shape, soonest);
        let offers: Vec<Offer> = plans
            .into_iter()
            .map(|plan| Offer {
                usd: self.usd(shape, &plan, market.map, market.prices),
                failure: self.failure(shape, &plan, &market.risk),
                plan,
            })
            .collect();
        let priced = offers.iter().all(|offer| offer.usd.is_some());
        let compared = |offer: &Offer| Offer { usd: offer.usd.filter(|_| priced), ..offer.clone() };
        let compared: Vec<Offer> = offers.iter().map(compared).collect();
        let is_best = |at: &usize| !compared.iter().any(|other| compared[*at].is_beaten_by(other));
        let mut best: Vec<Offer> =
            (0..offers.len()).filter(is_best).map(|at| offers[at].clone()).collect();
        best.sort_by(|one, other| one.compare(other, by));
        Ok(best)
    }

    /// All plans of a transaction of which this is the soonest.
    fn plans(&self, shape: &Shape<'_>, soonest: TransactionPlan) -> Vec<TransactionPlan> {
        let takes_units = shape.takes_any_units();
        let alone = self.alone(shape).filter(|_| takes_units);
        let is_two_phase = takes_units || soonest.kind == Kind::TwoPhase;
        let coordinators = (0..shape.allowed.len())
            .filter(|region| is_two_phase && shape.allowed[*region])
            .map(|region| (Kind::TwoPhase, region));
        let found = (soonest.kind, soonest.coordinator);
        let others = alone.chain(coordinators).filter(|other| *other != found);
        let others = others.map(|(kind, coordinator)| TransactionPlan {
            mode: shape.mode,
            kind,
            coordinator,
            served_by: self.servers(shape, kind, coordinator, &self.direct),
            latency: self.expected(shape, kind, coordinator),
        });
        let others: Vec<TransactionPlan> = others.collect();
        std::iter::once(soonest).chain(others).collect()
    }
}
