//! The store that is looked at, and the transaction in it.

use dtx::{
    RedbReader,
    ids::TxId,
    name::Namespace,
    store::{Catalog, TxRecord},
    transaction::Key,
};
use dtx_shop::StoreAddress;

use crate::exit::Failure;

/// What every listing says of itself.
pub(crate) const DURABLE_ONLY: &str =
    "Durable records only: what a running owner has in memory and has not written is not shown.";

/// The namespace of a key that is given without one.
const NAMESPACE_DEFAULT: &str = "default";

/// Opens a store for reading. Its owner, if it has one, is not disturbed.
pub(crate) fn open(store: &StoreAddress) -> Result<RedbReader, Failure> {
    match store {
        StoreAddress::Redb(path) => RedbReader::open(path).map_err(Failure::failed),
        StoreAddress::Memory => {
            Err(Failure::usage("a memory store is seen by its own process alone")
                .fix("give redb:PATH"))
        }
    }
}

/// The record of a transaction that is given by its id or by its key.
pub(super) async fn find(reader: &RedbReader, wanted: &str) -> Result<TxRecord, Failure> {
    let tx = match wanted.parse::<TxId>() {
        Ok(tx) => Some(tx),
        Err(_) => reader.by_key(&key(wanted)?).await.map_err(Failure::failed)?,
    };
    let records = match tx {
        Some(tx) => reader.load(&[tx]).map_err(Failure::failed)?,
        None => Vec::new(),
    };
    records.into_iter().next().flatten().ok_or_else(|| {
        Failure::unknown(format!("the store has no transaction {wanted:?}"))
            .fix("give an id or NAMESPACE/KEY; `dtx tx list` shows both")
    })
}

fn key(text: &str) -> Result<Key, Failure> {
    let (namespace, key) = text.split_once('/').unwrap_or((NAMESPACE_DEFAULT, text));
    let namespace = Namespace::new(namespace).map_err(|error| {
        Failure::usage(error).fix("give a transaction id, or a key as NAMESPACE/KEY")
    })?;
    Ok(Key { namespace, key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_namespace_up_to_the_first_slash() {
        let of = |text: &str| {
            let key = key(text).expect("a key");
            (key.namespace.to_string(), key.key)
        };
        assert_eq!(of("shop/order/1"), ("shop".to_owned(), "order/1".to_owned()));
        assert_eq!(of("order-1"), ("default".to_owned(), "order-1".to_owned()));
        assert!(key("no name/1").is_err());
    }
}
