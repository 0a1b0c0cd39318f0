//! What must hold of stock and money.

use std::collections::BTreeMap;

use super::line::{Change, Claim, Pool};

/// A rule about pools.
#[derive(Clone, Copy, Debug)]
pub struct PoolRule {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
}

/// What is there follows from what was opened and every effect, also at the end.
pub(super) const LEDGER: PoolRule = PoolRule {
    name: "ledger",
    says: "what is there is what was opened and every effect, and never less than nothing",
};
/// What is firmly promised is there.
pub(super) const PROMISED: PoolRule = PoolRule {
    name: "promised",
    says: "strict and pinned claims together never exceed what is there",
};
/// A pinned claim leaves only by the decision.
pub(super) const PINNED: PoolRule = PoolRule {
    name: "pinned",
    says: "a pinned claim leaves only with its execution or its way back",
};
/// What has ended holds nothing.
pub(super) const NOTHING_HELD: PoolRule =
    PoolRule { name: "nothing-held", says: "at the end nothing is held by what has ended" };
/// The leases of a shard are counted upwards.
pub(super) const LEASES: PoolRule =
    PoolRule { name: "leases", says: "every new lease of a shard has a higher epoch" };

/// The rules that are not about one transaction.
pub const POOL_RULES: [PoolRule; 5] = [LEDGER, PROMISED, PINNED, NOTHING_HELD, LEASES];

/// What is known of one pool.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolPast {
    last: Option<Pool>,
    /// The number of the incarnation that wrote it last: another one may have written unseen.
    incarnation: u64,
    /// Everything that changed it, by the final tables.
    final_change: i128,
}

/// What is broken by the next write of a pool; `left` are the pinned claims that went.
pub(super) struct Written {
    pub(super) ledger: bool,
    pub(super) promised: bool,
    pub(super) left: Vec<Claim>,
}

impl PoolPast {
    /// The next write.
    pub(super) fn write(&mut self, incarnation: u64, pool: &Pool, effects: &[Change]) -> Written {
        let changed: i128 = effects.iter().map(|effect| i128::from(effect.change)).sum();
        let follows = |before: &Pool| match (before.version, pool.version) {
            // Two writers may be noted in the other order than they landed in.
            (Some(before), Some(now)) => before + 1 == now,
            _ => true,
        };
        let is_known = self.incarnation == incarnation && self.last.as_ref().is_none_or(follows);
        let before = self.last.take();
        let ledger = match before.as_ref().filter(|_| is_known) {
            Some(before) => i128::from(before.level) + changed != i128::from(pool.level),
            None => false,
        };
        let opened = before.as_ref().is_some_and(|before| before.opened != pool.opened);
        let claims = before.filter(|_| is_known).map(|before| before.claims).unwrap_or_default();
        let is_there = |claim: &Claim| pool.claims.iter().any(|now| owner(now) == owner(claim));
        let left = claims.into_iter().filter(|claim| claim.pinned && !is_there(claim)).collect();
        self.last = Some(pool.clone());
        self.incarnation = incarnation;
        Written { ledger: ledger || opened, promised: is_overcommitted(pool), left }
    }

    /// The tables at the end were not those of the end.
    pub(super) fn forget_the_end(&mut self) {
        self.final_change = 0;
    }

    /// A row of the final tables.
    pub(super) fn final_effect(&mut self, change: i64) {
        self.final_change += i128::from(change);
    }

    /// The pool of the final tables, after its effects.
    pub(super) fn is_wrong_at_the_end(&self, pool: &Pool) -> bool {
        i128::from(pool.opened) + self.final_change != i128::from(pool.level)
    }
}

fn owner(claim: &Claim) -> (dtx_core::ids::TxId, dtx_core::ids::OperationIndex) {
    (claim.tx, claim.operation)
}

/// Whether a claim still counts.
pub(super) fn is_live(claim: &Claim, now_us: u64) -> bool {
    claim.pinned || claim.expires_us > now_us
}

/// Whether more is firmly promised than is there.
pub(super) fn is_overcommitted(pool: &Pool) -> bool {
    let firm = pool.claims.iter().filter(|claim| {
        !claim.incoming && (claim.pinned || claim.strict) && is_live(claim, pool.latest_us)
    });
    let firm: u128 = firm.map(|claim| u128::from(claim.amount)).sum();
    firm > u128::from(pool.level)
}

/// All pools, by scope.
pub(super) type Pools = BTreeMap<String, PoolPast>;
