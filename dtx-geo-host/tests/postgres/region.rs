//! A coordinator on a server, and what it is asked.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    pattern::Pattern,
    store::Outcome,
    transaction::{Consistency, OperationDraft, Transaction},
};
use dtx_runtime::coordinator::{CoordinatorSettings, Dtx, Handle};
use dtx_store_postgres::PgStore;
use dtx_transport_inmem::InMemoryTransport;
use tokio::time::timeout;

use crate::{data::PATIENCE, pay::Pay};

/// Longer than a test.
const LONG: Duration = Duration::from_secs(300);

/// How long nobody may be told.
const SILENCE: Duration = Duration::from_millis(2_500);

pub(crate) async fn coordinate(store: PgStore, transport: &Arc<InMemoryTransport>) -> Dtx {
    let mut settings = CoordinatorSettings::default();
    settings.engine.deadline = LONG;
    settings.engine.attempt_timeout_min = Duration::from_secs(1);
    settings.lease_ttl = Duration::from_secs(2);
    let dtx = Dtx::builder().store(store).shared_transport(transport.clone()).settings(settings);
    dtx.start().await.expect("it starts")
}

/// A two-phase commit of a payment at each of these participants.
pub(crate) fn commit(key: &str, participants: &[&str]) -> Transaction {
    let builder = Transaction::builder(Pattern::TwoPhaseCommit).key(key).deadline(LONG);
    let call = |builder: dtx_core::transaction::TransactionBuilder, name: &&str| {
        builder.call::<Pay>(*name, key.to_owned())
    };
    participants.iter().fold(builder, call).build().expect("it is right")
}

/// A payment at the first participant, which the others get later.
pub(crate) fn spread(key: &str, participants: &[&str]) -> Transaction {
    let (first, others) = participants.split_first().expect("there is one");
    let builder = Transaction::builder(Pattern::CriticalEventual).key(key).deadline(LONG);
    let builder = builder.call::<Pay>(*first, key.to_owned());
    let other = |builder: dtx_core::transaction::TransactionBuilder, name: &&str| {
        let draft = OperationDraft::call::<Pay>(*name, key.to_owned());
        builder.operation(draft.consistency(Consistency::Eventual))
    };
    others.iter().fold(builder, other).build().expect("it is right")
}

/// That it is committed, in time.
pub(crate) async fn told(handle: &mut Handle) {
    let outcome = timeout(PATIENCE, handle.outcome()).await.expect("it is told");
    assert_eq!(outcome.expect("it is read"), Outcome::Committed);
}

/// That nobody is told for a while.
pub(crate) async fn not_told(handle: &mut Handle) {
    let outcome = timeout(SILENCE, handle.outcome()).await;
    assert!(outcome.is_err(), "told too early: {outcome:?}");
}
