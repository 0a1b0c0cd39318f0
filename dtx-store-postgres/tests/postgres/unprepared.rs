//! A server as it is installed: it prepares no transactions.

use bytes::Bytes;
use dtx_core::{
    error::{Effect, ErrorKind},
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId},
    name::ParticipantName,
    resource::barrier::{inbox_key, mark_key},
    store::{Begun, Branch, BranchStore, RowWriteResult, Scope, UnitStore},
};
use dtx_store_postgres::{PgConfig, PgStore};
use dtx_testkit::{
    servers::{PostgresUnprepared, Server},
    store::{Pen, committed, one, tx},
};
use tokio::task::JoinSet;

use super::harness::folder;

/// How many are refused at once.
const CALLERS: u64 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_prepares_nothing_is_told_with_the_fix_before_any_work_is_done() {
    let server = Server::start(&PostgresUnprepared, &folder("unprepared")).expect("it starts");
    let store = PgStore::connect(PgConfig::from_url(&server.url()).expect("valid")).await;
    let store = store.expect("only resource managers need it");
    committed(&one(&store, &Pen::new(1).accept(tx(1))).await);
    assert_eq!(store.report().max_prepared_transactions, 0);
    // A host asks this before it starts.
    let error = store.check_branches().expect_err("it prepares nothing");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::None));
    let text = error.to_string();
    assert!(text.contains("max_prepared_transactions is 0") && text.contains("set it"), "{text}");

    // Who does not ask is refused by the server, and nothing stays.
    let mut callers = JoinSet::new();
    for caller in 1..=CALLERS {
        callers.spawn(refused_again_and_again(store.clone(), caller));
    }
    callers.join_all().await;
}

/// The server tells its refusal before it frees the row: who is told may begin again at once. Many
/// at once keep the server busy between the two.
async fn refused_again_and_again(store: PgStore, n: u64) {
    let scope = Scope::new("payment/inbox/0").expect("valid");
    let key = inbox_key(tx(n), OperationIndex(0));
    let begin = async || {
        let begun = store.begin(&scope, &key, &mark_key(ShardId(0))).await.expect("begun");
        let Begun::Open(opened) = begun else { panic!("nobody else has it") };
        opened
    };
    let branch = Branch {
        participant: ParticipantName::new("payment").expect("a name"),
        tx: tx(n),
        operation: OperationIndex(0),
        shard: ShardId(0),
        epoch: Epoch(1),
        sequence: AcceptSequence::default(),
    };
    for _ in 0..100 {
        let opened = begin().await;
        assert!(opened.row.is_none(), "the claim and the row are gone");
        let refused = store.prepare(opened.open, Bytes::from_static(b"row"), &branch).await;
        let RowWriteResult::Failed(error) = refused else { panic!("it prepared: {refused:?}") };
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
        assert!(error.to_string().contains("prepared transactions are disabled"), "{error}");
    }
    store.roll_back(begin().await.open).await;
}
