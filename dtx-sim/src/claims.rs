//! What claims on pools and locks may be given, counted again from the rows before and after a
//! write (design section 3, reservations and locks).

use std::collections::BTreeMap;

use dtx_core::{
    answer::PhaseAnswer,
    pattern::Phase,
    resource::{ClaimFacts, LockFacts, LockKey, PoolFacts},
    store::{RowSet, Scope},
    time::Timestamp,
    transport::Command,
};

use crate::{view::Broken, world::World};

/// What the rows of pools and locks said last.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pools: BTreeMap<Scope, PoolFacts>,
    locks: BTreeMap<Scope, LockFacts>,
}

impl Claims {
    /// Takes in a write. `alone` is the one command that it is about, with its answer; a batch of
    /// several says nothing about what each of them found.
    fn see(&mut self, set: &RowSet, alone: Option<(&Command, &PhaseAnswer)>) -> Option<Broken> {
        let mut broken = None;
        for change in &set.changes {
            let value = change.value.clone().unwrap_or_default();
            if let Some(Ok(after)) = PoolFacts::of(&change.key, &value) {
                let before = self.pools.insert(set.scope.clone(), after);
                let after = &self.pools[&set.scope];
                broken = broken.or_else(|| outlived(&after.claims, after.latest));
                if let (Some(before), Some((command, Ok(_)))) = (before, alone) {
                    broken = broken.or_else(|| admitted(&before, after, command));
                }
            } else if let Some(found) = LockFacts::of(&change.key, &value) {
                // A lock that is free has no row.
                let after = found.unwrap_or_default();
                let before = self.locks.insert(set.scope.clone(), after).unwrap_or_default();
                let after = &self.locks[&set.scope];
                broken = broken.or_else(|| outlived(&after.holders, after.latest));
                if let Some((command, Ok(_))) = alone {
                    broken = broken.or_else(|| locked(&before, after, command));
                }
            }
        }
        broken
    }
}

fn is_live(claim: &ClaimFacts, now: Timestamp) -> bool {
    claim.pinned || claim.expires_at > now
}

/// Whether a claim that a clock may release is still there after its time.
fn outlived(claims: &[ClaimFacts], latest: Timestamp) -> Option<Broken> {
    let is_over = claims.iter().any(|claim| !is_live(claim, latest));
    is_over.then_some("clocks: a claim outlived its time")
}

fn is_of(command: &Command) -> impl Fn(&&ClaimFacts) -> bool {
    let owner = (command.tx, command.operation);
    move |claim| (claim.tx, claim.operation) == owner
}

/// Whether a pool said yes to what does not fit.
fn admitted(before: &PoolFacts, after: &PoolFacts, command: &Command) -> Option<Broken> {
    let live = || before.claims.iter().filter(|claim| is_live(claim, after.latest));
    let others = || live().filter(|claim| !is_of(command)(claim) && !claim.incoming);
    let firm = |claim: &&ClaimFacts| claim.pinned || claim.strict;
    let sum = |claims: &mut dyn Iterator<Item = &ClaimFacts>| -> u128 {
        claims.map(|claim| u128::from(claim.amount)).sum()
    };
    let (own, made) = (live().find(is_of(command)), after.claims.iter().find(is_of(command)));
    let (needed, broken) = match (command.phase, own, made) {
        (Phase::Reserve | Phase::Prepare, None, Some(made)) if !made.incoming => {
            let beside = match made.strict && !made.pinned {
                true => sum(&mut others()),
                false => sum(&mut others().filter(firm)),
            };
            (beside + u128::from(made.amount), "reservations: a claim was given beside too many")
        }
        (Phase::Validate, Some(own), Some(_)) if !own.incoming => {
            let earlier = live().take_while(|claim| !is_of(command)(claim));
            let earlier = earlier.filter(|claim| !claim.incoming && !firm(claim));
            let beside = sum(&mut others().filter(firm)) + sum(&mut { earlier });
            (beside + u128::from(own.amount), "reservations: a validation counted too few")
        }
        (phase, None, None) if !phase.is_backward() => {
            let taken = before.level.saturating_sub(after.level);
            let beside = if taken == 0 { 0 } else { sum(&mut others().filter(firm)) };
            (beside + u128::from(taken), "reservations: what others were promised was taken")
        }
        _ => return None,
    };
    (needed > u128::from(before.level)).then_some(broken)
}

/// Whether a lock was given to somebody who had to wait for it.
fn locked(before: &LockFacts, after: &LockFacts, command: &Command) -> Option<Broken> {
    let owner = (command.tx, command.operation);
    let now = after.latest;
    let is_new = !before.holders.iter().any(|claim| is_of(command)(&claim))
        && after.holders.iter().any(|claim| is_of(command)(&claim));
    if !is_new || !matches!(command.phase, Phase::Prepare | Phase::Reserve) {
        return None;
    }
    let is_shared = serde_json::from_slice::<LockKey>(&command.payload).is_ok_and(|k| k.shared);
    if !is_shared && before.holders.iter().any(|claim| is_live(claim, now)) {
        return Some("locks: an exclusive lock is shared");
    }
    let first = before.queue.iter().find(|waiter| waiter.until > now);
    let is_overtaken = first.is_some_and(|waiter| (waiter.tx, waiter.operation) != owner);
    is_overtaken.then_some("locks: somebody who waits was overtaken")
}

impl World {
    /// Looks at what a write of a participant has given.
    pub(crate) fn judge_claims(&mut self, set: &RowSet, alone: Option<(&Command, &PhaseAnswer)>) {
        if let Some(broken) = self.claims.see(set, alone) {
            self.broken(alone.map(|(command, _)| command.tx), broken);
        }
    }
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
