//! A region in a file.

use std::sync::Arc;

use dtx_core::store::ParticipantStore;
use dtx_geo::pool::{Answer, HoldId, PoolSettings};
use dtx_geo_host::{PoolNode, PoolNodeSettings};
use dtx_store_redb::RedbStore;
use dtx_transport_inmem::InMemoryTransport;

use crate::world::{NAMES, TTL, spec};

#[tokio::test]
async fn what_was_held_is_held_when_the_file_is_opened_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pool.redb");
    let spec = spec(NAMES[0], PoolSettings::default());
    let start = async |is_new| {
        let store: Arc<dyn ParticipantStore> =
            Arc::new(RedbStore::open(&path).await.expect("it opens"));
        if is_new {
            PoolNode::create(&*store, &spec, 50).await.expect("it is created");
        }
        let transport = Arc::new(InMemoryTransport::new());
        let settings = PoolNodeSettings::default();
        PoolNode::start(store, transport, spec.clone(), settings).await.expect("it starts")
    };
    let node = start(true).await;
    for id in 0..20 {
        let told = node.handle().reserve(HoldId(id), 2, TTL).await.expect("it runs");
        assert!(matches!(told.answer, Answer::Reserved { crossed: false, .. }), "{told:?}");
        node.handle().pin(HoldId(id)).await.expect("it runs");
    }
    for id in 0..5 {
        let told = node.handle().confirm(HoldId(id)).await.expect("it runs");
        assert_eq!(told.answer, Answer::Confirmed);
    }
    node.stop().await.expect("it ends in order");
    let node = start(false).await;
    let state = node.handle().state().await.expect("it runs");
    assert_eq!((state.held, state.sold, state.minted), (30, 10, 50));
    let told = node.handle().confirm(HoldId(19)).await.expect("it runs");
    assert_eq!(told.answer, Answer::Confirmed);
}
