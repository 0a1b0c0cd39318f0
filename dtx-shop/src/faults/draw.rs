//! What is drawn, and from what.

use dtx::{
    ids::TxId,
    pattern::{Pattern, Phase},
    transport::{Command, Reply},
};

use super::{FaultRates, OrderBook};
use crate::hash;

/// What a draw is about. The same draw under the same seed always comes out the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    pub(crate) order: u64,
    pub(crate) operation: u16,
    pub(crate) phase: Phase,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Command,
    Reply,
}

const REFUSAL: u64 = 1;
const LOSS: u64 = 2;

/// The faults of a run.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    rates: FaultRates,
    /// `None` where draws are about transactions: services apart do not know their orders.
    pub(crate) orders: Option<OrderBook>,
}

impl Faults {
    /// Faults of services and a coordinator in one process, drawn by order: every run with the
    /// same seed has the same.
    pub(crate) fn of_orders(seed: u64, rates: FaultRates) -> Self {
        Self { seed, rates, orders: Some(OrderBook::default()) }
    }

    /// Faults of a process that has only services or only the coordinator, drawn by transaction.
    pub(crate) fn of_transactions(seed: u64, rates: FaultRates) -> Self {
        Self { seed, rates, orders: None }
    }

    /// What the draws of a transaction are about; `None` for a transaction that is of no order.
    pub(crate) fn order(&self, tx: TxId) -> Option<u64> {
        match &self.orders {
            Some(orders) => orders.order(tx),
            None => Some(hash::stable(tx.as_bytes())),
        }
    }

    pub(crate) fn forget(&self, tx: TxId) {
        if let Some(orders) = &self.orders {
            orders.forget(tx);
        }
    }

    /// Whether the service says no. A message is refused anew with each attempt, everything else
    /// once and for all.
    pub(crate) fn refuses(&self, draw: Draw, pattern: Pattern, attempt: u32) -> bool {
        if !may_refuse(pattern, draw.phase) {
            return false;
        }
        let attempt = if draw.phase == Phase::Deliver { attempt } else { 0 };
        self.rates.refuse.hits(self.number(REFUSAL, draw, u64::from(attempt)))
    }

    /// Whether the command is lost on its way.
    pub(crate) fn loses_command(&self, order: u64, command: &Command) -> bool {
        let draw = Draw { order, operation: command.operation.0, phase: command.phase };
        self.loses(draw, Direction::Command, command.attempt)
    }

    /// Whether the reply is lost on its way.
    pub(crate) fn loses_reply(&self, order: u64, reply: &Reply) -> bool {
        let draw = Draw { order, operation: reply.operation.0, phase: reply.phase };
        self.loses(draw, Direction::Reply, reply.attempt)
    }

    fn loses(&self, draw: Draw, direction: Direction, attempt: u32) -> bool {
        let which = u64::from(attempt) << 1 | u64::from(direction == Direction::Reply);
        self.rates.lose.hits(self.number(LOSS, draw, which))
    }

    fn number(&self, what: u64, draw: Draw, which: u64) -> u64 {
        let place = u64::from(draw.operation) << 8 | draw.phase as u64;
        hash::fold(&[self.seed, what, draw.order, place, which])
    }
}

/// Where a participant may say no: before it has promised anything.
fn may_refuse(pattern: Pattern, phase: Phase) -> bool {
    matches!(
        (pattern, phase),
        (_, Phase::Deliver)
            | (Pattern::Saga | Pattern::CriticalEventual, Phase::Execute)
            | (Pattern::TwoPhaseSaga, Phase::Prepare | Phase::Execute)
            | (Pattern::TwoPhaseCommit, Phase::Prepare)
            | (Pattern::ThreePhaseSaga, Phase::Reserve | Phase::Validate)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Rate;

    fn faults(seed: u64, refuse: f64, lose: f64) -> Faults {
        let rate = |rate| Rate::new(rate).expect("a rate");
        Faults::of_orders(seed, FaultRates { refuse: rate(refuse), lose: rate(lose) })
    }

    fn draw(order: u64, phase: Phase) -> Draw {
        Draw { order, operation: 1, phase }
    }

    #[test]
    fn a_refusal_is_the_same_for_every_attempt_but_of_a_message() {
        let faults = faults(7, 0.5, 0.0);
        let refused =
            |order, phase, attempt| faults.refuses(draw(order, phase), Pattern::Saga, attempt);
        let differs = |phase| {
            (0..200).filter(|order| refused(*order, phase, 1) != refused(*order, phase, 2)).count()
        };
        assert_eq!(differs(Phase::Execute), 0);
        assert!((60..140).contains(&differs(Phase::Deliver)));
        let count = (0..2_000).filter(|order| refused(*order, Phase::Execute, 1)).count();
        assert!((850..1_150).contains(&count), "{count}");
    }

    #[test]
    fn who_knows_no_orders_draws_by_transaction() {
        let tx = TxId::from_bytes([7; 16]);
        let by_order = faults(7, 0.5, 0.0);
        assert_eq!(by_order.order(tx), None);
        let orders = by_order.orders.as_ref().expect("it has a book");
        orders.learn(tx, "order-1");
        assert_eq!(by_order.order(tx), Some(hash::stable(b"order-1")));
        by_order.forget(tx);
        assert_eq!(by_order.order(tx), None);
        let apart = Faults::of_transactions(7, FaultRates::default());
        assert!(apart.order(tx).is_some());
        assert_ne!(apart.order(tx), apart.order(TxId::from_bytes([8; 16])));
    }

    #[test]
    fn another_seed_draws_other_orders() {
        let refused = |seed| -> Vec<u64> {
            let faults = faults(seed, 0.3, 0.0);
            let is_refused = |order: &u64| {
                faults.refuses(draw(*order, Phase::Prepare), Pattern::TwoPhaseCommit, 1)
            };
            (0..100).filter(is_refused).collect()
        };
        assert_eq!(refused(1), refused(1));
        assert_ne!(refused(1), refused(2));
    }

    #[test]
    fn nobody_says_no_where_the_pattern_allows_none() {
        let always = faults(1, 1.0, 0.0);
        let allowed = |pattern: Pattern| -> Vec<&str> {
            let phases = Phase::ALL.into_iter();
            let phases = phases.filter(|phase| always.refuses(draw(1, *phase), pattern, 1));
            phases.map(Phase::name).collect()
        };
        assert_eq!(allowed(Pattern::FireAndForget), ["deliver"]);
        assert_eq!(allowed(Pattern::Saga), ["execute", "deliver"]);
        assert_eq!(allowed(Pattern::TwoPhaseSaga), ["prepare", "execute", "deliver"]);
        assert_eq!(allowed(Pattern::ThreePhaseSaga), ["reserve", "validate", "deliver"]);
        assert_eq!(allowed(Pattern::TwoPhaseCommit), ["prepare", "deliver"]);
    }

    #[test]
    fn a_loss_is_drawn_for_each_direction_and_attempt() {
        let faults = faults(7, 0.0, 0.5);
        let lost = |order, direction, attempt| {
            faults.loses(draw(order, Phase::Compensate), direction, attempt)
        };
        let differ = |a: (Direction, u32), b: (Direction, u32)| {
            (0..200).filter(|order| lost(*order, a.0, a.1) != lost(*order, b.0, b.1)).count()
        };
        assert!((60..140).contains(&differ((Direction::Command, 1), (Direction::Command, 2))));
        assert!((60..140).contains(&differ((Direction::Command, 1), (Direction::Reply, 1))));
        assert_eq!(differ((Direction::Reply, 3), (Direction::Reply, 3)), 0);
    }
}
