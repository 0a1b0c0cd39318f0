//! Moving the homes of what a transaction writes before it is repeated.

use std::time::Duration;

use crate::{
    model::{Destination, Prices, RttMap},
    plan::{
        map::PlanMap,
        transaction::{DataOperation, PlanError, Shape, TransactionPlan},
    },
};

/// What homes are moved for, and over what.
#[derive(Clone, Copy, Debug)]
pub struct HomeMove<'a> {
    /// How many such transactions are expected before the data is needed elsewhere, one after the
    /// other.
    pub repeats: u64,
    /// How many bytes the data of each operation has in all: what a region without a copy has to
    /// be sent. Where there is no entry it is what the operation itself writes.
    pub data: &'a [u64],
    /// Names the regions.
    pub map: &'a RttMap,
    /// What transfer costs.
    pub prices: &'a Prices,
}

/// A transaction with the homes of what it writes in one region, and what it takes to move them.
#[derive(Clone, Debug, PartialEq)]
pub struct Remaster {
    /// The new home.
    pub region: usize,
    /// The operations whose homes move, by index. The old homes stay as copies.
    pub moved: Vec<usize>,
    /// The plan after the move, in the same mode.
    pub plan: TransactionPlan,
    /// How long the data is at rest: a round trip between the farthest old home and the new one,
    /// all at once. Before that transactions go on at the old homes, while what is not in the new
    /// one is sent there and its copies catch up.
    pub takes: Duration,
    /// What sending the data costs where the region holds no copy, in US dollars: each from its
    /// home, and nothing else is counted. `None` where a price is not known.
    pub usd: Option<f64>,
    /// By how much the client of each transaction waits less; zero when it does not.
    pub saving: Duration,
    /// After so many transactions the move has paid for its time; `None` when nothing is saved.
    pub break_even: Option<u64>,
}

impl Remaster {
    /// The move and so many transactions after it, in nanoseconds.
    fn total(&self, repeats: u64) -> u128 {
        self.takes.as_nanos() + u128::from(repeats) * self.plan.latency.as_nanos()
    }
}

impl PlanMap {
    /// The move of homes with which so many transactions end soonest, the move included; of equal
    /// ones that to the first region. `None` when they end no sooner than without one. The
    /// transaction is judged by its soonest plans before and after.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn remaster(
        &self,
        shape: &Shape<'_>,
        wanted: &HomeMove<'_>,
    ) -> Result<Option<Remaster>, PlanError> {
        let now = u128::from(wanted.repeats) * self.plan(shape)?.latency.as_nanos();
        let moves = self.remasters(shape, wanted)?.into_iter();
        let best = moves.min_by_key(|found| found.total(wanted.repeats));
        Ok(best.filter(|found| found.total(wanted.repeats) < now))
    }

    /// What it would be like with the homes of all that is written, and takes no units from a pool,
    /// in one region: for each allowed region in which they are not already, in order. Parts of
    /// pools do not move, their own regions see to that.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn remasters(
        &self,
        shape: &Shape<'_>,
        wanted: &HomeMove<'_>,
    ) -> Result<Vec<Remaster>, PlanError> {
        let now = self.plan(shape)?.latency;
        let regions = (0..shape.allowed.len()).filter(|region| shape.allowed[*region]);
        let moves = regions.filter_map(|region| {
            let operations = shape.operations.iter().enumerate();
            let moved = operations
                .filter(|(_, one)| one.write && !shape.takes_units(one) && one.home != region);
            let moved: Vec<usize> = moved.map(|(index, _)| index).collect();
            (!moved.is_empty()).then(|| self.moved(shape, wanted, now, (region, moved)))
        });
        moves.collect()
    }

    fn moved(
        &self,
        shape: &Shape<'_>,
        wanted: &HomeMove<'_>,
        now: Duration,
        (region, moved): (usize, Vec<usize>),
    ) -> Result<Remaster, PlanError> {
        let copies = shape.operations.iter().map(|operation| with_home_as_copy(operation, region));
        let copies: Vec<Vec<usize>> = copies.collect();
        let mut operations = shape.operations.to_vec();
        for index in &moved {
            operations[*index].home = region;
            operations[*index].copies = &copies[*index];
        }
        let plan = self.plan(&Shape { operations: &operations, ..*shape })?;
        let homes = moved.iter().map(|index| shape.operations[*index].home);
        let takes = homes.map(|home| self.direct.row(home)[region]).max().unwrap_or(0);
        let takes = Duration::from_micros(takes);
        let saving = now.saturating_sub(plan.latency);
        let break_even =
            (!saving.is_zero()).then(|| takes.as_nanos().div_ceil(saving.as_nanos()) as u64);
        let usd = moved.iter().map(|index| sent(shape, wanted, *index, region)).sum();
        Ok(Remaster { region, moved, plan, takes, usd, saving, break_even })
    }
}

/// The copies of an operation whose home moves to a region.
fn with_home_as_copy(operation: &DataOperation<'_>, region: usize) -> Vec<usize> {
    let others = operation.copies.iter().copied().filter(|copy| *copy != region);
    others.chain([operation.home]).collect()
}

/// What it costs to send the data of an operation to its new home, in US dollars.
fn sent(shape: &Shape<'_>, wanted: &HomeMove<'_>, index: usize, region: usize) -> Option<f64> {
    let operation = &shape.operations[index];
    if operation.copies.contains(&region) {
        return Some(0.0);
    }
    let bytes = wanted.data.get(index).copied().unwrap_or(operation.bytes);
    let names = wanted.map.regions();
    let from = names.get(operation.home)?.as_str();
    wanted.prices.usd(from, Destination::Region(names.get(region)?.as_str()), bytes)
}
