//! Whether an order happened as a whole or not at all.

use dtx::{
    ids::{OperationIndex, TxId},
    store::Outcome,
};

use super::{
    books::{Op, Ops},
    records::Record,
};
use crate::{
    checkout::{PAYMENT, RESOURCES},
    orders::Order,
};

fn op(ops: &Ops, tx: TxId, operation: u16) -> Op {
    ops.get(&(tx, OperationIndex(operation))).copied().unwrap_or_default()
}

/// How often an operation happened and was not reversed.
pub(super) fn net(ops: &Ops, tx: TxId, operation: u16) -> i64 {
    let op = op(ops, tx, operation);
    op.executed.cast_signed() - op.reversed.cast_signed()
}

/// Whether the rows of an order say something else than its outcome, or a part of it.
pub(super) fn is_mixed(order: &Order, record: &Record, outcome: Outcome, ops: &Ops) -> bool {
    // A payment of nothing leaves no row.
    let first = if order.cents == 0 { PAYMENT + 1 } else { PAYMENT };
    let amounts = [order.cents, order.quantity, 1];
    let is_whole = |operation: u16| {
        let amount = amounts[usize::from(operation)].cast_signed();
        net(ops, record.tx, operation) == 1 && op(ops, record.tx, operation).change == -amount
    };
    let is_gone = |operation: u16| {
        net(ops, record.tx, operation) == 0 && op(ops, record.tx, operation).change == 0
    };
    let all = PAYMENT..record.operations;
    let missing = |operations: std::ops::Range<u16>| {
        operations.filter(|operation| net(ops, record.tx, *operation) != 1).count()
    };
    // A message that was given up may have arrived all the same.
    let may_be_missing = usize::from(record.dead_letters);
    match outcome {
        Outcome::Committed => {
            !(first..RESOURCES).all(is_whole)
                || missing(RESOURCES..record.operations) > may_be_missing
        }
        Outcome::Dispatched => missing(first..record.operations) > may_be_missing,
        Outcome::Aborted => {
            !all.clone().all(|operation| op(ops, record.tx, operation) == Op::default())
        }
        Outcome::Compensated => {
            !(PAYMENT..RESOURCES).all(is_gone)
                || !(RESOURCES..record.operations)
                    .all(|operation| net(ops, record.tx, operation) == 0)
        }
        Outcome::Abandoned => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(operations: u16, dead_letters: u16) -> Record {
        Record {
            tx: TxId::from_bytes([1; 16]),
            order: "1".into(),
            outcome: None,
            operations,
            dead_letters,
            needs_attention: false,
        }
    }

    fn order(cents: u64) -> Order {
        Order {
            id: "1".into(),
            customer: "c".into(),
            date: "1997-01-01".into(),
            quantity: 2,
            cents,
        }
    }

    fn ops(found: &[(u16, u64, u64, i64)]) -> Ops {
        let tx = TxId::from_bytes([1; 16]);
        let op = |(operation, executed, reversed, change): &(u16, u64, u64, i64)| {
            let op = Op { executed: *executed, reversed: *reversed, change: *change };
            ((tx, OperationIndex(*operation)), op)
        };
        found.iter().map(op).collect()
    }

    #[test]
    fn a_committed_order_is_there_as_a_whole() {
        let mixed = |order: &Order, found: &[(u16, u64, u64, i64)]| {
            is_mixed(order, &record(3, 0), Outcome::Committed, &ops(found))
        };
        let (stock, slot) = ((1, 1, 0, -2), (2, 1, 0, -1));
        assert!(!mixed(&order(500), &[(0, 1, 0, -500), stock, slot]));
        assert!(!mixed(&order(0), &[stock, slot]));
        assert!(mixed(&order(500), &[stock, slot]));
        assert!(mixed(&order(500), &[(0, 1, 0, -500), slot]));
        assert!(mixed(&order(500), &[(0, 1, 1, 0), stock, slot]));
        assert!(mixed(&order(500), &[(0, 1, 0, -499), stock, slot]));
        assert!(mixed(&order(500), &[(0, 2, 0, -1_000), stock, slot]));
    }

    #[test]
    fn of_an_order_that_did_not_happen_nothing_is_left() {
        let mixed = |outcome, found: &[(u16, u64, u64, i64)]| {
            is_mixed(&order(500), &record(3, 0), outcome, &ops(found))
        };
        assert!(!mixed(Outcome::Aborted, &[]));
        assert!(mixed(Outcome::Aborted, &[(0, 1, 1, 0)]), "it was reversed, so it had happened");
        assert!(!mixed(Outcome::Compensated, &[(0, 1, 1, 0)]));
        assert!(mixed(Outcome::Compensated, &[(0, 1, 1, 0), (2, 1, 0, -1)]));
    }

    #[test]
    fn a_message_may_be_missing_only_as_a_dead_letter() {
        let all = [(0, 1, 0, -500), (1, 1, 0, -2), (2, 1, 0, -1), (3, 1, 0, 0)];
        let mixed = |outcome, dead_letters| {
            is_mixed(&order(500), &record(5, dead_letters), outcome, &ops(&all))
        };
        for outcome in [Outcome::Committed, Outcome::Dispatched] {
            assert!(mixed(outcome, 0), "{outcome}");
            assert!(!mixed(outcome, 1), "{outcome}");
        }
    }
}
