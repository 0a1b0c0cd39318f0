//! Pools as participants of transactions.

use std::{collections::HashMap, sync::Arc};

use dtx_core::{
    answer::{Answer, NotDone, Refusal, rejected},
    ids::{OperationIndex, TxId, mix},
    name::NameError,
    store::Detached,
    transaction::Action,
};
use dtx_geo::pool::{Answer as Pool, HoldId, NUMBER_MAX};
use dtx_runtime::participant::{Context, Execute, Participant, Reserve, Validate};
use serde::{Deserialize, Serialize};

use crate::{PoolHandle, Told};

/// What is taken from which pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolUnits {
    /// The name of the pool.
    pub pool: String,
    /// How many units; at least 1.
    pub units: u64,
}

/// What was sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSold {
    /// How many units.
    pub units: u64,
    /// The region that gave them.
    pub region: String,
    /// Whether that is another region than the one whose participant was asked.
    pub crossed: bool,
}

/// Takes units from a pool, in three phases: `reserve` holds them, here or in another region,
/// `validate` pins the hold so that no clock ends it any more, `execute` sells them, and `release`
/// frees them.
///
/// The hold is named by the transaction and the operation, so each phase may come again, and
/// finds the same hold. `SoldOut` alone is a no of `reserve`: certified for all regions at once. If
/// some cannot be reached, or units move too fast to tell, the answer is `Unknown` and says which;
/// the coordinator asks again until its deadline.
#[derive(Clone, Debug)]
pub struct TakeFromPool {
    pools: Arc<HashMap<String, PoolHandle>>,
}

/// The pools that one participant offers, each by its region in this process.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    pools: HashMap<String, PoolHandle>,
}

impl Pools {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more. Of two with the same name the later one stands.
    #[must_use]
    pub fn with(mut self, pool: &PoolHandle) -> Self {
        self.pools.insert(pool.spec().name().to_owned(), pool.clone());
        self
    }

    /// The participant under this name, to be hosted. Its home is the region of the pools; it may
    /// have the same name in every region whose coordinators have a transport of their own.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn participant(self, name: impl AsRef<str>) -> Result<Participant, NameError> {
        let action = TakeFromPool { pools: Arc::new(self.pools) };
        Ok(Participant::new(name)?.three_phase(action))
    }
}

/// The hold of an operation: the same in all its phases, and of no other operation.
fn hold_id(tx: TxId, operation: OperationIndex) -> HoldId {
    let apart = match operation.0 {
        0 => 0,
        other => u128::from(mix(u64::from(other))),
    };
    HoldId(u128::from_be_bytes(*tx.as_bytes()) ^ apart)
}

impl TakeFromPool {
    /// The pool of an operation that may have a hold there. It may have moved to another process
    /// since.
    fn reserved(&self, units: &PoolUnits) -> Answer<&PoolHandle> {
        let missing = || NotDone::unknown(format!("pool {:?} is not here", units.pool));
        self.pools.get(&units.pool).ok_or_else(missing)
    }
}

fn id(cx: &Context<'_>) -> HoldId {
    hold_id(cx.tx_id(), cx.operation())
}

/// An answer to another question than the one that was asked: not known what came of that.
fn unexpected<T>(answer: Pool) -> Answer<T> {
    Err(NotDone::unknown(format!("the pool says {answer:?}")))
}

impl Action for TakeFromPool {
    const NAME: &'static str = "take-from-pool";
    type Input = PoolUnits;
    type Output = PoolSold;
}

impl Reserve<Detached> for TakeFromPool {
    async fn reserve(&self, cx: &mut Context<'_>, input: &PoolUnits) -> Answer<()> {
        let Some(pool) = self.pools.get(&input.pool) else {
            return rejected(format!("there is no pool {:?}", input.pool));
        };
        if input.units == 0 || input.units >= NUMBER_MAX {
            return rejected(format!("{} units cannot be taken", input.units));
        }
        let ttl = cx.ttl().unwrap_or_else(|| pool.spec().settings.hold_total_max);
        match pool.reserve(id(cx), input.units, ttl).await?.answer {
            Pool::Reserved { .. } => Ok(()),
            Pool::SoldOut { left } => {
                rejected(format!("sold out: {left} units of {:?} are left", input.pool))
            }
            Pool::Unavailable { known_free, unreachable } => {
                let regions = pool.spec().names(unreachable);
                let text =
                    format!("none here, {known_free} known elsewhere; cannot reach {regions}");
                Err(NotDone::unknown(text))
            }
            Pool::Busy => Err(NotDone::unknown("too much waits for units, or they move too fast")),
            Pool::Cancelled | Pool::Expired => rejected("the hold has ended"),
            other => unexpected(other),
        }
    }

    async fn release(&self, cx: &mut Context<'_>, input: &PoolUnits) -> Answer<()> {
        match self.reserved(input)?.cancel(id(cx)).await?.answer {
            Pool::Cancelled | Pool::Expired | Pool::NotHere => Ok(()),
            Pool::Confirmed => Err(NotDone::Refused(Refusal::Executed)),
            other => unexpected(other),
        }
    }
}

impl Validate<Detached> for TakeFromPool {
    async fn validate(&self, cx: &mut Context<'_>, input: &PoolUnits) -> Answer<()> {
        match self.reserved(input)?.pin(id(cx)).await?.answer {
            Pool::Pinned | Pool::Confirmed => Ok(()),
            Pool::Cancelled | Pool::Expired | Pool::NotHere => rejected("the hold has ended"),
            other => unexpected(other),
        }
    }
}

impl Execute<Detached> for TakeFromPool {
    async fn execute(&self, cx: &mut Context<'_>, input: &PoolUnits) -> Answer<PoolSold> {
        let pool = self.reserved(input)?;
        let Told { answer, at } = pool.confirm(id(cx)).await?;
        match answer {
            // A validated hold is pinned, and a pinned one is forgotten only after it has ended;
            // nothing but this ends it without a release. So it was sold, and long ago.
            Pool::Confirmed | Pool::NotHere => {
                let region = pool.spec().region(at).map(ToString::to_string).unwrap_or_default();
                let crossed = at != pool.spec().own;
                Ok(PoolSold { units: input.units, region, crossed })
            }
            Pool::Cancelled | Pool::Expired => Err(NotDone::Refused(Refusal::Expired)),
            other => unexpected(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_one_transaction_have_holds_of_their_own() {
        let tx = TxId::from_bytes([7; 16]);
        let ids: std::collections::BTreeSet<_> =
            (0..1_000).map(|operation| hold_id(tx, OperationIndex(operation))).collect();
        assert_eq!(ids.len(), 1_000);
        assert_eq!(hold_id(tx, OperationIndex(3)), hold_id(tx, OperationIndex(3)));
    }
}
