//! Two-phase commit by the server: what is in doubt is found and ended, and what somebody else
//! ended is said.

use std::sync::Arc;

use bytes::Bytes;
use dtx::{
    Pg, PgStore,
    answer::{NotDone, Refusal},
    error::ErrorKind,
    ids::{AcceptSequence, Epoch, OperationIndex, ShardCount},
    name::ParticipantName,
    participant::{Host, HostError, HostSettings, Participant, UnitParticipant},
    pattern::{Pattern, Phase},
    prelude::{Dtx, InMemoryTransport, Outcome, Transaction},
    resource::barrier::{inbox_key, mark_key},
    store::{Begun, Branch, BranchEnd, BranchStore, RowWriteResult, Scope, Status, UnitStore},
    transport::Command,
};
use dtx_testkit::{
    participant::{BrittleUnits, Wire},
    servers::{PostgresUnprepared, Server},
};
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::mpsc;

use super::{
    pay::{Due, Pay},
    support::{Asked, command, open, open_at, paid, schema, store, until},
};

const TWO: Pattern = Pattern::TwoPhaseCommit;

fn payment(name: &str, store: &PgStore) -> UnitParticipant<Pg> {
    let payment = Participant::resource_manager(name, store.clone()).expect("a name");
    payment.prepared(Pay::on(store))
}

fn ask(phase: Phase) -> Command {
    command(1, TWO, phase)
}

async fn gids(store: &PgStore) -> Vec<String> {
    let prefix = format!("dtx:{}:", store.schema());
    let query = sqlx::query("SELECT gid FROM pg_prepared_xacts WHERE starts_with(gid, $1)");
    let rows = query.bind(prefix).fetch_all(store.pool()).await.expect("listed");
    rows.iter().map(|row| row.get(0)).collect()
}

/// As an operator who does not ask us.
async fn end_by_hand(store: &PgStore, how: &str) {
    for gid in gids(store).await {
        let text = AssertSqlSafe(format!("{how} PREPARED '{gid}'"));
        sqlx::raw_sql(text).execute(store.pool()).await.expect("it ends");
    }
}

#[tokio::test]
async fn a_prepared_branch_is_seen_by_nobody_until_it_is_committed() {
    let schema = schema();
    let store = open(&schema).await;
    let mut asked = Asked::start(payment("payment", &store)).await;
    assert!(asked.settle(&ask(Phase::Prepare)).await.is_ok());
    assert_eq!((gids(&store).await.len(), paid(&store).await), (1, 0));
    // Another host, which knows nothing of it.
    let other = open(&schema).await;
    let mut other = Asked::start(payment("payment", &other)).await;
    assert!(other.settle(&ask(Phase::Prepare)).await.is_ok());
    let told = other.settle(&ask(Phase::Commit)).await.expect("committed");
    assert!(String::from_utf8_lossy(&told.output).contains("1 cents for"), "{told:?}");
    assert_eq!(asked.settle(&ask(Phase::Commit)).await, Ok(told));
    assert_eq!((gids(&store).await.len(), paid(&store).await), (0, 1));
    let late = asked.settle(&ask(Phase::Abort)).await;
    assert_eq!(late, Err(NotDone::Refused(Refusal::Executed)));
    assert_eq!(asked.host.stats().heuristics, 0);
}

#[tokio::test]
async fn a_server_that_prepares_nothing_has_no_resource_manager_and_everything_else() {
    let folder = tempfile::tempdir().expect("it is made");
    let server = Server::start(&PostgresUnprepared, folder.path()).expect("it starts");
    let store = open_at(&server.url(), &schema()).await;
    let (sender, _replies) = mpsc::unbounded_channel();
    let wire = Arc::new(Wire::new(sender));
    let settings = HostSettings::default();
    let host = Host::start(payment("payment", &store), wire, None, settings).await;
    let error = host.expect_err("it could not prepare");
    let HostError::Store { participant, source } = error else { panic!("{error}") };
    assert_eq!((participant.as_str(), source.kind()), ("payment", ErrorKind::Unsupported));
    let fix = "max_prepared_transactions is 0, so the server prepares nothing: set it";
    assert!(source.to_string().contains(fix), "{source}");

    let payment = Participant::within("payment", store.clone()).expect("a name");
    let mut asked = Asked::start(payment.saga(Pay::on(&store))).await;
    assert!(asked.settle(&command(1, Pattern::Saga, Phase::Execute)).await.is_ok());
    assert_eq!((gids(&store).await.len(), paid(&store).await), (0, 1));
}

#[tokio::test]
async fn one_participant_alone_prepares_nothing() {
    let store = store().await;
    let mut asked = Asked::start(payment("payment", &store)).await;
    let commit = Command { one_phase: true, ..ask(Phase::Commit) };
    assert!(asked.settle(&commit).await.is_ok());
    assert!(asked.settle(&commit).await.is_ok());
    assert_eq!((gids(&store).await.len(), paid(&store).await), (0, 1));
}

#[tokio::test]
async fn a_branch_that_was_rolled_back_by_hand_is_a_heuristic_outcome() {
    let store = store().await;
    let mut asked = Asked::start(payment("payment", &store)).await;
    assert!(asked.settle(&ask(Phase::Prepare)).await.is_ok());
    end_by_hand(&store, "ROLLBACK").await;
    for _ in 0..2 {
        let answer = asked.settle(&ask(Phase::Commit)).await;
        let Err(NotDone::Rejected(reason)) = answer else { panic!("{answer:?}") };
        assert!(reason.as_str().starts_with("heuristic rollback"), "{reason}");
    }
    assert_eq!(asked.host.stats().heuristics, 1);
    let late = asked.ask(&ask(Phase::Prepare)).await;
    assert!(late.is_err(), "nothing is prepared any more: {late:?}");
    assert_eq!((gids(&store).await.len(), paid(&store).await), (0, 0));
}

#[tokio::test]
async fn a_branch_that_was_committed_by_hand_is_a_heuristic_outcome() {
    let store = store().await;
    let mut asked = Asked::start(payment("payment", &store)).await;
    assert!(asked.settle(&ask(Phase::Prepare)).await.is_ok());
    end_by_hand(&store, "COMMIT").await;
    let answer = asked.settle(&ask(Phase::Abort)).await;
    assert_eq!(answer, Err(NotDone::Refused(Refusal::Executed)));
    assert_eq!((asked.host.stats().heuristics, paid(&store).await), (1, 1));
}

#[tokio::test]
async fn a_commit_that_was_begun_by_hand_is_carried_on() {
    let store = store().await;
    let mut asked = Asked::start(payment("payment", &store)).await;
    assert!(asked.settle(&ask(Phase::Prepare)).await.is_ok());
    end_by_hand(&store, "COMMIT").await;
    let told = asked.settle(&ask(Phase::Commit)).await.expect("it is as was decided");
    assert!(String::from_utf8_lossy(&told.output).contains("1 cents for"), "{told:?}");
    assert_eq!((asked.host.stats().heuristics, paid(&store).await), (0, 1));
}

/// A branch of a host that is gone, of a transaction that nobody knows.
async fn orphan(store: &PgStore, participant: &str, n: u64) -> Branch {
    let tx = dtx_testkit::store::tx(n);
    let shard = tx.shard(ShardCount::DEFAULT);
    let branch = Branch {
        participant: ParticipantName::new(participant).expect("a name"),
        tx,
        operation: OperationIndex(0),
        shard,
        epoch: Epoch(0),
        sequence: AcceptSequence { epoch: Epoch(1), number: 1 },
    };
    let scope = Scope::new(format!("{participant}/inbox/{shard}")).expect("valid");
    let begun = store.begin(&scope, &inbox_key(tx, branch.operation), &mark_key(shard)).await;
    let Begun::Open(mut opened) = begun.expect("begun") else { panic!("nobody has it") };
    let text = format!("INSERT INTO {}.paid VALUES ('o', 'paid')", store.schema());
    let connection = <Pg as dtx::participant::Unit>::tx(&mut opened.open);
    sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await.expect("paid");
    let done = store.prepare(opened.open, Bytes::from_static(b"row"), &branch).await;
    assert!(matches!(done, RowWriteResult::Written), "{done:?}");
    branch
}

async fn dtx(store: &PgStore, names: &[&str]) -> Dtx {
    let mut builder = Dtx::builder().store(store.clone()).transport(InMemoryTransport::new());
    for name in names {
        builder = builder.participant(payment(name, store));
    }
    builder.start().await.expect("it starts")
}

#[tokio::test]
async fn branches_are_found_by_participant_and_end_once() {
    let store = store().await;
    let ours = orphan(&store, "payment", 1).await;
    let other = orphan(&store, "payment-2", 2).await;
    let found = async |of| store.branches(&ours.participant, of).await.expect("listed");
    let only = std::slice::from_ref(&ours);
    assert_eq!(found(None).await, only);
    assert_eq!(found(Some((ours.tx, ours.operation))).await, only);
    assert_eq!(found(Some((other.tx, other.operation))).await, []);
    for expected in [true, false] {
        let ended = store.end(&ours, BranchEnd::RollBack).await.expect("asked");
        assert_eq!(ended, expected);
    }
    assert!(store.end(&other, BranchEnd::Commit).await.expect("asked"));
    assert_eq!(paid(&store).await, 1);
}

#[tokio::test]
async fn a_branch_of_a_transaction_that_nobody_knows_is_found_and_rolled_back() {
    let store = store().await;
    orphan(&store, "payment", 1).await;
    orphan(&store, "other", 2).await;
    let dtx = dtx(&store, &["payment"]).await;
    until("it is rolled back", async || gids(&store).await.len() == 1).await;
    assert!(gids(&store).await[0].contains(":other:"), "it is not ours");
    end_by_hand(&store, "ROLLBACK").await;
    assert_eq!(paid(&store).await, 0);
    dtx.shutdown(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_coordinator_commits_over_two_databases_or_over_none() {
    let store = store().await;
    let dtx = dtx(&store, &["payment", "fees"]).await;
    for (how, outcome) in [("well", Outcome::Committed), ("never", Outcome::Aborted)] {
        let due = |how: &str| Due { cents: 1, how: how.into() };
        let both = Transaction::builder(TWO)
            .call::<Pay>("payment", due("well"))
            .call::<Pay>("fees", due(how))
            .build()
            .expect("it is right");
        let mut handle = dtx.submit(both).await.expect("accepted");
        assert_eq!(handle.outcome().await.expect("told"), outcome, "{how}");
        until("no branch is left", async || gids(&store).await.is_empty()).await;
        assert_eq!(paid(&store).await, 2, "{how}");
    }
    dtx.shutdown(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_heuristic_rollback_is_an_exception_that_stands_beside_the_outcome() {
    let store = store().await;
    let fuse = Arc::new(dtx::store::MemoryStore::new());
    let meddled = BrittleUnits::new(store.clone(), fuse).rolled_back_by_hand();
    let fees = Participant::resource_manager("fees", meddled).expect("a name");
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(InMemoryTransport::new())
        .participant(payment("payment", &store))
        .participant(fees.prepared(Pay::on(&store)))
        .start()
        .await
        .expect("it starts");
    let due = || Due { cents: 1, how: "well".into() };
    let both = Transaction::builder(TWO).call::<Pay>("payment", due()).call::<Pay>("fees", due());
    let mut handle = dtx.submit(both.build().expect("right")).await.expect("accepted");
    assert_eq!(handle.outcome().await.expect("told"), Outcome::Committed);
    let tx = handle.tx();
    until("it needs attention", async || {
        let record = dtx.get(tx).await.expect("read").expect("it is there");
        record.summary.status == Status::NeedsAttention
    })
    .await;
    let record = dtx.get(tx).await.expect("read").expect("it is there");
    assert_eq!(record.summary.exceptions.len(), 1, "{record:?}");
    assert_eq!(paid(&store).await, 1, "the other one is as was decided");
    dtx.shutdown(std::time::Duration::from_secs(5)).await;
}
