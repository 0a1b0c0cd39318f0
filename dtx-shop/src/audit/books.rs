//! The rows of the participants, counted again.

use std::collections::{HashMap, HashSet};

use dtx::{
    ids::{OperationIndex, TxId},
    pattern::Pattern,
    resource::{Audit, EffectRow, audit},
    store::{PAGE_ITEMS_MAX, ParticipantStore, RowKey, Scope, ScopeRead, StoredRow},
    time::Timestamp,
};

use crate::{
    checkout::Checkout,
    error::ShopError,
    faults::Refusal,
    messages::{counted, entry_of, log_prefix},
    store::Shelves,
};

/// What the rows say of each operation.
pub(super) type Ops = HashMap<(TxId, OperationIndex), Op>;

/// What the rows say of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) executed: u64,
    pub(super) reversed: u64,
    /// The sum of its changes.
    pub(super) change: i64,
}

/// What the rows of one participant come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    pub(super) opened: u64,
    pub(super) sum: Audit,
    /// Whether each of its accounts or items is as its effects say, and can be read.
    is_exact: bool,
    short_of: u64,
}

impl Pool {
    /// Whether exactly this much left it, and nothing is unexplained.
    pub(super) fn is_conserved(&self, gone: i128) -> bool {
        self.is_exact && self.sum.taken() == gone
    }

    /// What was promised or taken beyond what was there.
    pub(super) fn oversold(&self) -> u64 {
        self.short_of + self.sum.overcommitted
    }

    fn add(&mut self, found: &Audit) {
        self.opened += found.opened;
        self.sum.add(found);
        self.is_exact &= i128::from(found.level) == found.level_by_effects
            && found.unfounded_reversals == 0
            && found.miscounted_effects == 0
            && found.damaged == 0;
        let short = (-found.level_by_effects).max(0);
        self.short_of += u64::try_from(short).unwrap_or(u64::MAX);
    }
}

/// Everything that the participants know of a run.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) money: Pool,
    pub(super) stock: Pool,
    pub(super) slots: Pool,
    pub(super) ops: Ops,
    /// Entries of a log beyond the first of one order.
    pub(super) double_messages: u64,
    /// Whose order was refused while no rival held anything.
    pub(super) refused_alone: HashSet<TxId>,
}

/// Reads all rows of a run.
pub(super) async fn read_books(
    shelves: &Shelves,
    run: &str,
    pattern: Pattern,
) -> Result<Books, ShopError> {
    let mut books = Books::default();
    let place = |service| (shelves.of(service).as_ref(), format!("{service}/{run}/"));
    let (store, prefix) = place("payment");
    books.money = read_pool(store, &prefix, &mut books.ops, None).await?;
    let mut stock = StockLog::default();
    let (store, prefix) = place("inventory");
    books.stock = read_pool(store, &prefix, &mut books.ops, Some(&mut stock)).await?;
    let (store, prefix) = place("shipping");
    books.slots = read_pool(store, &prefix, &mut books.ops, None).await?;
    books.refused_alone = stock.refused_alone();
    if Checkout::has_messages(pattern) {
        for participant in ["notification", "analytics"] {
            let (store, prefix) = (shelves.of(participant).as_ref(), log_prefix(participant, run));
            books.double_messages += read_log(store, &prefix, &mut books.ops).await?;
        }
    }
    Ok(books)
}

async fn read_pool(
    store: &dyn ParticipantStore,
    prefix: &str,
    ops: &mut Ops,
    mut log: Option<&mut StockLog>,
) -> Result<Pool, ShopError> {
    let mut pool = Pool { is_exact: true, ..Pool::default() };
    for scope in scopes(store, prefix).await? {
        let rows = rows(store, &scope).await?;
        let read = [ScopeRead { scope, keys: Vec::new() }];
        let now = store.read(&read).await?.pop().map(|rows| rows.now).unwrap_or_default();
        pool.add(&audit(rows.iter().map(|(key, row)| (key, row)), now));
        for (key, row) in &rows {
            // A row that cannot be read is counted by the audit.
            if let Some(Ok(effect)) = EffectRow::of(key, row) {
                let op = ops.entry((effect.tx, effect.operation)).or_default();
                op.change += effect.change;
                *(if effect.is_reversal { &mut op.reversed } else { &mut op.executed }) += 1;
                if let Some(log) = &mut log {
                    log.add_effect(&effect);
                }
            }
            if let Some(log) = &mut log
                && let Some(((tx, _), refusal)) = Refusal::of(key, row)
            {
                log.refusals.push((tx, refusal));
            }
        }
    }
    Ok(pool)
}

/// The entries of the logs beyond the first of each order.
async fn read_log(
    store: &dyn ParticipantStore,
    prefix: &str,
    ops: &mut Ops,
) -> Result<u64, ShopError> {
    let mut doubles = 0;
    for scope in scopes(store, prefix).await? {
        let rows = rows(store, &scope).await?;
        let count: u64 = rows.iter().filter_map(|(key, row)| counted(key, row)).sum();
        let mut entries = 0;
        for operation in rows.iter().filter_map(|(key, _)| entry_of(key)) {
            ops.entry(operation).or_default().executed += 1;
            entries += 1;
        }
        doubles += count.max(entries).saturating_sub(1) + count.abs_diff(entries);
    }
    Ok(doubles)
}

async fn scopes(store: &dyn ParticipantStore, prefix: &str) -> Result<Vec<Scope>, ShopError> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.scopes(prefix, cursor.as_ref(), PAGE_ITEMS_MAX).await?;
        found.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

async fn rows(
    store: &dyn ParticipantStore,
    scope: &Scope,
) -> Result<Vec<(RowKey, StoredRow)>, ShopError> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.scan(scope, &[], cursor.as_ref(), PAGE_ITEMS_MAX).await?;
        found.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

/// What happened to the stock, in time.
#[derive(Debug, Default)]
struct StockLog {
    refusals: Vec<(TxId, Refusal)>,
    taken_at: HashMap<TxId, Timestamp>,
    /// From when until when something was taken that was put back later: a rival's for as long.
    borrowed: Vec<(Timestamp, Timestamp)>,
}

impl StockLog {
    /// Effects come in the order in which they happened.
    fn add_effect(&mut self, effect: &EffectRow) {
        if !effect.is_reversal {
            self.taken_at.insert(effect.tx, effect.at);
        } else if let Some(taken_at) = self.taken_at.remove(&effect.tx) {
            self.borrowed.push((taken_at, effect.at));
        }
    }

    /// Those that were refused while nobody held a claim, nor anything that came back later.
    fn refused_alone(&self) -> HashSet<TxId> {
        let is_borrowed =
            |at: Timestamp| self.borrowed.iter().any(|(from, until)| *from <= at && at <= *until);
        let alone = self.refusals.iter().filter(|(_, refusal)| refusal.alone);
        alone.filter(|(_, refusal)| !is_borrowed(refusal.at)).map(|(tx, _)| *tx).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tx(number: u8) -> TxId {
        TxId::from_bytes([number; 16])
    }

    fn effect(number: u8, at: u64, is_reversal: bool) -> EffectRow {
        EffectRow {
            tx: tx(number),
            operation: OperationIndex(1),
            change: if is_reversal { 1 } else { -1 },
            is_reversal,
            at: Timestamp::from_millis(at),
        }
    }

    #[test]
    fn a_refusal_beside_what_comes_back_is_not_alone() {
        let mut log = StockLog::default();
        for found in [effect(1, 10, false), effect(2, 11, false), effect(1, 20, true)] {
            log.add_effect(&found);
        }
        let at = |at, alone| Refusal { alone, at: Timestamp::from_millis(at) };
        log.refusals = vec![(tx(3), at(15, true)), (tx(4), at(21, true)), (tx(5), at(21, false))];
        assert_eq!(log.refused_alone(), HashSet::from([tx(4)]));
    }

    #[test]
    fn a_pool_is_conserved_only_if_every_part_of_it_is() {
        let sound = Audit { opened: 10, level: 7, level_by_effects: 7, ..Audit::default() };
        let wrong = Audit { opened: 10, level: 7, level_by_effects: 8, ..Audit::default() };
        let pool = |parts: &[Audit]| {
            let mut pool = Pool { is_exact: true, ..Pool::default() };
            parts.iter().for_each(|part| pool.add(part));
            pool
        };
        assert!(pool(&[sound.clone(), sound.clone()]).is_conserved(6));
        assert!(!pool(std::slice::from_ref(&sound)).is_conserved(4));
        assert!(!pool(&[sound, wrong]).is_conserved(6));
        let short = Audit { level_by_effects: -3, ..Audit::default() };
        assert_eq!(pool(&[short]).oversold(), 3);
    }
}
