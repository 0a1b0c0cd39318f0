//! What the store says became of the orders.

use dtx::{
    ids::TxId,
    name::Namespace,
    store::{Catalog, Filter, Outcome, PAGE_ITEMS_MAX, Status},
};

use crate::error::ShopError;

/// What the store says of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) tx: TxId,
    /// The id of the order.
    pub(crate) order: String,
    /// `None` while it has not ended.
    pub(crate) outcome: Option<Outcome>,
    /// How many operations it has.
    pub(crate) operations: u16,
    pub(crate) dead_letters: u16,
    pub(crate) needs_attention: bool,
}

/// All transactions of a run.
pub(crate) async fn records(
    store: &impl Catalog,
    run: &Namespace,
) -> Result<Vec<Record>, ShopError> {
    let mut filter =
        Filter { namespace: Some(run.clone()), limit: PAGE_ITEMS_MAX, ..Filter::default() };
    let mut records = Vec::new();
    loop {
        let page = store.list(&filter).await?;
        for record in page.items {
            let Some(key) = record.key else { continue };
            let outcome = match record.summary.status {
                Status::Finished(outcome) => Some(outcome),
                Status::Open | Status::Parked | Status::NeedsAttention => None,
            };
            records.push(Record {
                tx: record.tx,
                order: key.key,
                outcome,
                operations: record.summary.operations,
                dead_letters: record.summary.dead_letters,
                needs_attention: record.summary.status == Status::NeedsAttention,
            });
        }
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => return Ok(records),
        }
    }
}
