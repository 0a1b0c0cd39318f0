//! An order becomes a transaction.

use dtx::{
    pattern::Pattern,
    prelude::{Amount, Consistency, Debit, OperationDraft, Take, Transaction, Units},
    transaction::{DefinitionError, RetryPolicy},
};

use crate::{
    messages::{Analyse, Message, Notify},
    orders::Order,
};

/// The participants of the shop, in the order of the operations of a checkout.
pub const PARTICIPANTS: [&str; 5] =
    ["payment", "inventory", "shipping", "notification", "analytics"];

/// The index of the payment among the operations.
pub(crate) const PAYMENT: u16 = 0;

/// How many operations a checkout has without its messages.
pub(crate) const RESOURCES: u16 = 3;

/// How a message is tried: 16 times within about two seconds, then it is a dead letter.
const DELIVERY: RetryPolicy = RetryPolicy { attempts_max: 16, backoff_ms: 20, backoff_ms_max: 200 };

/// Makes the transactions of one run.
#[derive(Clone, Debug)]
pub struct Checkout {
    pattern: Pattern,
    run: String,
}

impl Checkout {
    /// Checkouts of the run with this name, which is also the namespace of their keys.
    pub fn new(pattern: Pattern, run: impl Into<String>) -> Self {
        Self { pattern, run: run.into() }
    }

    /// Whether the pattern tells others about an order.
    pub(crate) fn has_messages(pattern: Pattern) -> bool {
        matches!(pattern, Pattern::FireAndForget | Pattern::CriticalEventual)
    }

    /// The transaction of an order.
    ///
    /// # Errors
    /// When the name of the run or of the order cannot be a key.
    pub fn transaction(&self, order: &Order) -> Result<Transaction, DefinitionError> {
        let payment = Amount { account: account(&self.run, &order.customer), cents: order.cents };
        let stock = units(stock_item(&self.run), order.quantity);
        let slot = units(day_item(&self.run, &order.date), 1);
        let mut builder = Transaction::builder(self.pattern)
            .key_in(&self.run, &order.id)
            .operation(
                self.draft(OperationDraft::call::<Debit>("payment", payment).name("payment")),
            )
            .operation(
                self.draft(OperationDraft::call::<Take>("inventory", stock).name("inventory")),
            )
            .operation(self.draft(OperationDraft::call::<Take>("shipping", slot).name("shipping")));
        if Self::has_messages(self.pattern) {
            let message = Message {
                run: self.run.clone(),
                order: order.id.clone(),
                units: order.quantity,
                cents: order.cents,
            };
            let notify = OperationDraft::call::<Notify>("notification", message.clone());
            let analyse = OperationDraft::call::<Analyse>("analytics", message);
            for (draft, name) in [(notify, "notification"), (analyse, "analytics")] {
                let draft = draft.name(name).consistency(Consistency::Eventual).retry(DELIVERY);
                builder = builder.operation(draft);
            }
        }
        builder.build()
    }

    fn draft(&self, draft: OperationDraft) -> OperationDraft {
        if self.pattern == Pattern::FireAndForget { draft.retry(DELIVERY) } else { draft }
    }
}

fn units(item: String, units: u64) -> Units {
    Units { item, units, strict: false }
}

/// The account of a customer in a run.
pub(crate) fn account(run: &str, customer: &str) -> String {
    format!("{run}/{customer}")
}

/// The one stock of a run.
pub(crate) fn stock_item(run: &str) -> String {
    format!("{run}/stock")
}

/// The shipping slots of a day in a run.
pub(crate) fn day_item(run: &str, date: &str) -> String {
    format!("{run}/{date}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            id: "17".into(),
            customer: "c".into(),
            date: "1997-01-01".into(),
            quantity: 2,
            cents: 0,
        }
    }

    #[test]
    fn every_pattern_has_its_checkout() {
        for pattern in Pattern::ALL {
            let checkout =
                Checkout::new(pattern, "run-1").transaction(&order()).expect("it builds");
            let key = checkout.key().expect("it has a key");
            assert_eq!((key.namespace.as_str(), key.key.as_str()), ("run-1", "17"));
            let names: Vec<_> = checkout
                .operations()
                .iter()
                .map(|operation| operation.participant().as_str())
                .collect();
            let expected = if Checkout::has_messages(pattern) { 5 } else { usize::from(RESOURCES) };
            assert_eq!(names, PARTICIPANTS[..expected], "{pattern}");
        }
    }

    #[test]
    fn the_critical_part_of_a_checkout_holds_no_message() {
        let checkout = Checkout::new(Pattern::CriticalEventual, "r").transaction(&order());
        let checkout = checkout.expect("it builds");
        let critical: Vec<_> = checkout
            .operations()
            .iter()
            .map(|operation| operation.consistency().is_critical())
            .collect();
        assert_eq!(critical, [true, true, true, false, false]);
    }
}
