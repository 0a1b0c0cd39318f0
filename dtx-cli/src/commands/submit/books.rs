//! The accounts and items that the transactions name are opened, unless they are open.

use std::collections::BTreeSet;

use dtx::{
    participant::{BuiltinError, OnStore},
    resource::{Amount, Ledger, OpenError, Reservations, Units},
    transaction::Transaction,
};
use dtx_shop::ShopStore;

/// Opens what is not open yet.
///
/// # Errors
/// When a name cannot be opened, or the store fails.
pub(super) async fn open<S: ShopStore>(
    store: &S,
    transactions: &[Transaction],
    balance: u64,
    stock: u64,
) -> Result<(), BuiltinError> {
    for account in names(transactions, "payment", account) {
        let opened = Ledger::on(store).open_accounts("payment", &[(account, balance)]).await;
        unless_open(opened)?;
    }
    for service in ["inventory", "shipping"] {
        for item in names(transactions, service, item) {
            let opened = Reservations::on(store).open_items(service, &[(item, stock)]).await;
            unless_open(opened)?;
        }
    }
    Ok(())
}

/// What was opened with something else before, such as by `dtx run`, stays as it is.
fn unless_open(opened: Result<(), BuiltinError>) -> Result<(), BuiltinError> {
    match opened {
        Err(BuiltinError::Open { source: OpenError::Differs { .. }, .. }) => Ok(()),
        other => other,
    }
}

fn account(payload: &[u8]) -> Option<String> {
    serde_json::from_slice(payload).ok().map(|amount: Amount| amount.account)
}

fn item(payload: &[u8]) -> Option<String> {
    serde_json::from_slice(payload).ok().map(|units: Units| units.item)
}

fn names(
    transactions: &[Transaction],
    participant: &str,
    name: impl Fn(&[u8]) -> Option<String>,
) -> BTreeSet<String> {
    let operations = transactions.iter().flat_map(Transaction::operations);
    let theirs = operations.filter(|operation| operation.participant().as_str() == participant);
    theirs.filter_map(|operation| name(operation.payload())).collect()
}
