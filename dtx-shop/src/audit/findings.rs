//! What an audit finds.

use std::collections::{HashMap, HashSet};

use dtx::{name::Namespace, pattern::Pattern, store::Outcome};

use super::{
    books::{Books, Ops, read_books},
    records::{Record, records},
    verdicts::{is_mixed, net},
};
use crate::{
    checkout::PAYMENT,
    error::ShopError,
    orders::{Order, Orders},
    report::Invariants,
    services::opening_balance,
    store::{Shelves, ShopStore},
};

/// What the audit of a run found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Orders with an outcome.
    pub(crate) transactions: u64,
    /// Of those: committed.
    pub(crate) committed: u64,
    /// Aborted.
    pub(crate) aborted: u64,
    /// Compensated.
    pub(crate) compensated: u64,
    /// Dispatched.
    pub(crate) dispatched: u64,
    /// Messages that could not be delivered.
    pub(crate) dead_letters: u64,
    /// Transactions that wait for an operator.
    pub(crate) needs_attention: u64,
    /// Units that were sold.
    pub(crate) sold_units: u64,
    /// Units that are left.
    pub(crate) left_units: u64,
    /// The smallest order that was refused while no other one held a claim on the stock.
    pub(crate) smallest_refused_alone: Option<u64>,
    /// What must hold.
    pub(crate) invariants: Invariants,
}

/// Counts a run again. Nothing of it may be on its way.
///
/// # Errors
/// When a store cannot be read.
pub(crate) async fn audit(
    store: &impl ShopStore,
    shelves: &Shelves,
    run: &Namespace,
    pattern: Pattern,
    orders: &Orders,
    stock: u64,
) -> Result<Findings, ShopError> {
    let records = records(store, run).await?;
    let books = read_books(shelves, run.as_str(), pattern).await?;
    let by_key: HashMap<&str, &Record> =
        records.iter().map(|record| (record.order.as_str(), record)).collect();
    let mut found = Findings::default();
    let mut sold = Sold::default();
    for order in &orders.orders {
        match by_key.get(order.id.as_str()) {
            Some(record) => found.add_order(order, record, &books.ops, &mut sold),
            None => found.invariants.unfinished += 1,
        }
    }
    found.compare(&books, &records, orders, stock, &sold);
    Ok(found)
}

/// What the orders that went through come to.
#[derive(Default)]
struct Sold {
    cents: i128,
    units: i128,
    slots: i128,
}

impl Findings {
    fn add_order(&mut self, order: &Order, record: &Record, ops: &Ops, sold: &mut Sold) {
        self.dead_letters += u64::from(record.dead_letters);
        self.needs_attention += u64::from(record.needs_attention);
        let Some(outcome) = record.outcome else {
            self.invariants.unfinished += 1;
            return;
        };
        self.transactions += 1;
        let count = match outcome {
            Outcome::Committed => &mut self.committed,
            Outcome::Aborted => &mut self.aborted,
            Outcome::Compensated => &mut self.compensated,
            Outcome::Dispatched => &mut self.dispatched,
            // Nobody can give an order up here; that one is there says that something is wrong.
            Outcome::Abandoned => &mut self.needs_attention,
        };
        *count += 1;
        self.invariants.mixed_outcomes += u64::from(is_mixed(order, record, outcome, ops));
        let went = |operation: u16| match outcome {
            Outcome::Committed => 1,
            // What was dispatched arrived or is a dead letter, each part by itself.
            Outcome::Dispatched => i128::from(net(ops, record.tx, operation).clamp(0, 1)),
            Outcome::Aborted | Outcome::Compensated | Outcome::Abandoned => 0,
        };
        sold.cents += i128::from(order.cents) * went(PAYMENT);
        sold.units += i128::from(order.quantity) * went(PAYMENT + 1);
        sold.slots += went(PAYMENT + 2);
    }

    fn compare(
        &mut self,
        books: &Books,
        records: &[Record],
        orders: &Orders,
        stock: u64,
        sold: &Sold,
    ) {
        let balances: u64 = orders.cents_by_customer().values().map(|c| opening_balance(*c)).sum();
        let slots = orders.orders.len() as u64;
        let pools = [&books.money, &books.stock, &books.slots];
        self.invariants.money_conserved =
            books.money.opened == balances && books.money.is_conserved(sold.cents);
        self.invariants.stock_conserved = books.stock.opened == stock
            && books.stock.is_conserved(sold.units)
            && books.slots.opened == slots
            && books.slots.is_conserved(sold.slots);
        self.invariants.oversold = books.stock.oversold() + books.slots.oversold();
        self.invariants.double_effects =
            pools.iter().map(|pool| pool.sum.double_effects).sum::<u64>() + books.double_messages;
        self.invariants.leaked_reservations = pools.iter().map(|pool| pool.sum.holds).sum();
        // An effect of a transaction that is none of the run's is of no order at all.
        let known: HashSet<_> = records.iter().map(|record| record.tx).collect();
        let strangers: HashSet<_> =
            books.ops.keys().map(|(tx, _)| tx).filter(|tx| !known.contains(tx)).collect();
        self.invariants.mixed_outcomes += strangers.len() as u64;
        self.sold_units = u64::try_from(books.stock.sum.taken()).unwrap_or(0);
        self.left_units = books.stock.sum.level;
        let quantities: HashMap<_, _> =
            orders.orders.iter().map(|order| (order.id.as_str(), order.quantity)).collect();
        let refused = records.iter().filter(|record| books.refused_alone.contains(&record.tx));
        self.smallest_refused_alone =
            refused.filter_map(|record| quantities.get(record.order.as_str()).copied()).min();
    }
}
