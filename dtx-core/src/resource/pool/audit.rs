//! What the rows of a pool say when everything is counted again.

use std::collections::BTreeMap;

use crate::{
    ids::{OperationIndex, TxId},
    resource::{
        barrier::{INBOX_PREFIX, InboxRow, parse_inbox_key},
        pool::row::{EffectRow, PoolRow, effect_key, pool_key},
    },
    store::{RowKey, StoredRow},
    time::Timestamp,
};

/// The findings of [`audit`] for one scope, or for many when added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// What the pools were opened with.
    pub opened: u64,
    /// What the rows say is there.
    pub level: u64,
    /// What must be there: what was opened, changed by every effect.
    pub level_by_effects: i128,
    /// How many effect rows there are.
    pub effects: u64,
    /// Executions of one operation beyond the first, and reversals beyond the first.
    pub double_effects: u64,
    /// Reversals of what was never executed.
    pub unfounded_reversals: u64,
    /// Effect rows that the counter says were written and that are not there, or are beyond it.
    pub miscounted_effects: u64,
    /// Claims that are live.
    pub holds: u64,
    /// Of those, the pinned ones.
    pub pinned: u64,
    /// Claims of an operation that was executed or taken back, or that the inbox does not know;
    /// unpinned ones that have expired are not counted.
    pub leaked_holds: u64,
    /// Pools of which more is firmly promised than is there.
    pub overcommitted: u64,
    /// Rows that cannot be read.
    pub damaged: u64,
}

impl Audit {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        i128::from(self.level) == self.level_by_effects
            && self.double_effects == 0
            && self.unfounded_reversals == 0
            && self.miscounted_effects == 0
            && self.leaked_holds == 0
            && self.overcommitted == 0
            && self.damaged == 0
    }

    /// What was taken and not put back: positive when less is there than was opened.
    pub fn taken(&self) -> i128 {
        i128::from(self.opened) - i128::from(self.level)
    }

    /// Adds the findings of another scope.
    pub fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.level += other.level;
        self.level_by_effects += other.level_by_effects;
        self.effects += other.effects;
        self.double_effects += other.double_effects;
        self.unfounded_reversals += other.unfounded_reversals;
        self.miscounted_effects += other.miscounted_effects;
        self.holds += other.holds;
        self.pinned += other.pinned;
        self.leaked_holds += other.leaked_holds;
        self.overcommitted += other.overcommitted;
        self.damaged += other.damaged;
    }
}

/// Counts all rows of one scope of a pool again. `now` is the store's clock.
pub fn audit<'a>(
    rows: impl IntoIterator<Item = (&'a RowKey, &'a StoredRow)>,
    now: Timestamp,
) -> Audit {
    let mut found = Audit::default();
    let mut pool = None;
    let mut inbox = BTreeMap::new();
    let mut effects: BTreeMap<(TxId, OperationIndex), (u64, u64)> = BTreeMap::new();
    let mut largest = RowKey(bytes::Bytes::new());
    for (key, stored) in rows {
        if *key == pool_key() {
            pool = PoolRow::decode(stored).ok();
            found.damaged += u64::from(pool.is_none());
        } else if let Some(effect) = EffectRow::of(key, stored) {
            let Ok(effect) = effect else {
                found.damaged += 1;
                continue;
            };
            found.effects += 1;
            found.level_by_effects += i128::from(effect.change);
            let counts = effects.entry((effect.tx, effect.operation)).or_default();
            if effect.is_reversal {
                counts.1 += 1
            } else {
                counts.0 += 1
            }
            largest = largest.max(key.clone());
        } else if key.0.starts_with(INBOX_PREFIX) {
            match (parse_inbox_key(key), InboxRow::decode(&stored.value)) {
                (Some(owner), Ok(row)) => drop(inbox.insert(owner, row)),
                _ => found.damaged += 1,
            }
        }
    }
    for (executed, reversed) in effects.into_values() {
        found.double_effects += executed.saturating_sub(1) + reversed.saturating_sub(1);
        found.unfounded_reversals += reversed.saturating_sub(executed);
    }
    if let Some(pool) = pool {
        found.opened = pool.opened;
        found.level = pool.level;
        found.level_by_effects += i128::from(pool.opened);
        found.miscounted_effects = pool.effect_count.abs_diff(found.effects)
            + u64::from(found.effects > 0 && largest != effect_key(pool.effect_count));
        count_holds(&mut found, &pool, &inbox, now);
    }
    found
}

fn count_holds(
    found: &mut Audit,
    pool: &PoolRow,
    inbox: &BTreeMap<(TxId, OperationIndex), InboxRow>,
    now: Timestamp,
) {
    use crate::resource::holds::HoldKind;
    let mut firm = 0_u128;
    for hold in &pool.holds {
        if !hold.pinned && hold.expires_at <= now {
            continue;
        }
        found.holds += 1;
        found.pinned += u64::from(hold.pinned);
        let is_open =
            inbox.get(&hold.owner).is_some_and(|row| !row.is_executed() && !row.is_undone());
        found.leaked_holds += u64::from(!is_open);
        if hold.kind == HoldKind::Strict || (hold.pinned && hold.kind == HoldKind::Optimistic) {
            firm += u128::from(hold.amount);
        }
    }
    found.overcommitted = u64::from(firm > u128::from(pool.level));
}
