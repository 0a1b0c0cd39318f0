//! A server that waits for its standby. What the standby does not have is answered to nobody: it
//! would be lost if the standby took over.

use std::{path::PathBuf, time::Duration};

use dtx::{
    PgStore,
    answer::{NotDone, PhaseAnswer},
    participant::Participant,
    pattern::{Pattern, Phase},
};
use dtx_testkit::servers::{Postgres, PostgresStandby, Server};

use super::{
    pay::Pay,
    support::{Asked, command, config_at, count, open_with, paid, schema, sql, until},
};

/// How long a call waits for the standby.
const PATIENCE: Duration = Duration::from_millis(600);

const FOLLOWS: &str = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
const PREPARED: &str = "SELECT count(*) FROM pg_prepared_xacts";

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    folder
}

fn is_unknown(answer: &PhaseAnswer) -> bool {
    matches!(answer, Err(NotDone::Unknown(_)))
}

#[tokio::test]
async fn what_no_standby_has_is_not_answered() {
    let mut primary = Server::start(&Postgres, &folder("answers-primary")).expect("it starts");
    let standby = PostgresStandby::follow(&folder("answers-standby"), primary.port(), "standby");
    let mut standby = standby.expect("it follows");
    let config = config_at(&primary.url(), &schema()).call_timeout(PATIENCE);
    let store: PgStore = open_with(config).await;
    sql(&store, "ALTER SYSTEM SET synchronous_standby_names = 'standby'").await;
    sql(&store, "SELECT pg_reload_conf()").await;
    until("it follows", async || count(&store, FOLLOWS).await == 1).await;
    let within = Participant::within("payment", store.clone()).expect("a name");
    let mut within = Asked::start(within.saga(Pay::on(&store))).await;
    let branches = Participant::resource_manager("payment", store.clone()).expect("a name");
    let mut branches = Asked::start(branches.prepared(Pay::on(&store))).await;
    let (execute, prepare) = (
        command(1, Pattern::Saga, Phase::Execute),
        command(2, Pattern::TwoPhaseCommit, Phase::Prepare),
    );
    standby.kill().expect("it is killed");
    assert!(is_unknown(&within.ask(&execute).await));
    assert!(is_unknown(&branches.ask(&prepare).await));
    // The server crashes and waits for nobody any more: all of it is there.
    primary.kill().expect("it is killed");
    primary.restart().expect("it starts again");
    until("it is there", async || (paid(&store).await, count(&store, PREPARED).await) == (1, 1))
        .await;
    assert!(is_unknown(&within.ask(&execute).await), "told what the standby does not have");
    assert!(is_unknown(&branches.ask(&prepare).await), "told what the standby does not have");
    standby.restart().expect("it starts again");
    assert!(within.settle(&execute).await.is_ok());
    assert!(branches.settle(&prepare).await.is_ok());
    assert_eq!((paid(&store).await, count(&store, PREPARED).await), (1, 1), "done once");
}
