//! What a handler may do in its transaction, and what comes of it.

use dtx::{
    PgStore,
    answer::{NotDone, Refusal},
    participant::{Participant, ParticipantError, UnitParticipant},
    pattern::{Pattern, Phase},
    resource::barrier::{inbox_key, mark_key},
    store::{
        Begun, ParticipantStore, RowChange, RowExpect, RowSet, RowWriteResult, Scope, UnitStore,
    },
    transport::Command,
};

use super::{
    pay::Pay,
    support::{Asked, command, config, count, open, paid, schema, sql, store, until},
};

fn payment(store: &PgStore) -> UnitParticipant<dtx::Pg> {
    let payment = Participant::within("payment", store.clone()).expect("a name");
    payment.saga(Pay::on(store))
}

fn execute(n: u64, how: &str) -> Command {
    let payload = format!(r#"{{"cents":1,"how":"{how}"}}"#);
    Command { payload: payload.into(), ..command(n, Pattern::Saga, Phase::Execute) }
}

/// How many answers the inbox has.
async fn remembered(store: &PgStore) -> i64 {
    count(store, "SELECT count(*) FROM {s}.scope_row WHERE scope LIKE 'payment/inbox/%'").await
}

#[tokio::test]
async fn a_no_after_the_effect_undoes_it_and_is_remembered() {
    let store = store().await;
    let mut asked = Asked::start(payment(&store)).await;
    for (n, how) in [(1, "never"), (2, "badly")] {
        for _ in 0..2 {
            let answer = asked.ask(&execute(n, how)).await;
            assert!(matches!(answer, Err(NotDone::Rejected(_))), "{how}: {answer:?}");
        }
    }
    assert_eq!((paid(&store).await, remembered(&store).await), (0, 2));
    assert_eq!(asked.host.stats().runs, 2, "the repeats were answered from the rows");
}

#[tokio::test]
async fn what_was_not_done_leaves_nothing_and_the_next_attempt_runs_again() {
    let store = store().await;
    let mut asked = Asked::start(payment(&store)).await;
    for (n, how) in [(1, "panics"), (2, "fails")] {
        let answer = asked.ask(&execute(n, how)).await;
        assert!(matches!(answer, Err(NotDone::Unknown(_))), "{how}: {answer:?}");
        assert_eq!((paid(&store).await, remembered(&store).await), (0, 0), "{how}");
        let answer = asked.ask(&execute(n, "well")).await;
        assert!(answer.is_ok(), "{answer:?}");
        sql(&store, "DELETE FROM {s}.paid; DELETE FROM {s}.scope_row").await;
    }
    // The transactions that were given up have given their connections back.
    for n in 10..30 {
        assert!(asked.ask(&execute(n, "panics")).await.is_err());
    }
    assert!(asked.ask(&execute(30, "well")).await.is_ok());
}

#[tokio::test]
async fn a_savepoint_of_the_handlers_is_part_of_it() {
    let store = store().await;
    let mut asked = Asked::start(payment(&store)).await;
    assert!(asked.ask(&execute(1, "nested")).await.is_ok());
    assert_eq!((paid(&store).await, remembered(&store).await), (1, 1));
}

#[tokio::test]
async fn a_handler_that_ends_its_transaction_gets_no_answer_stored() {
    let store = store().await;
    let mut asked = Asked::start(payment(&store)).await;
    let answer = asked.ask(&execute(1, "ends")).await;
    let Err(NotDone::Unknown(reason)) = answer else { panic!("{answer:?}") };
    assert!(reason.as_str().contains("commit failed"), "{reason}");
    assert_eq!(remembered(&store).await, 0);
}

#[tokio::test]
async fn a_handler_whose_time_is_over_leaves_nothing() {
    let store = store().await;
    let mut asked = Asked::start(payment(&store)).await;
    let deadline = Some(std::time::Duration::from_millis(300));
    let slow = Command { deadline, ..execute(1, "slow") };
    let answer = asked.ask(&slow).await;
    assert!(matches!(answer, Err(NotDone::Unknown(_))), "{answer:?}");
    assert!(asked.settle(&execute(1, "well")).await.is_ok());
    assert_eq!(paid(&store).await, 1);
}

/// Keeps everybody from writing effects, and waits until so many wait for that.
async fn hold<'a>(
    store: &PgStore,
    holder: &'a PgStore,
    waiting: i64,
    send: impl FnOnce(),
) -> sqlx::Transaction<'a, sqlx::Postgres> {
    let mut lock = holder.pool().begin().await.expect("begun");
    let text = format!("LOCK TABLE {}.paid IN ACCESS EXCLUSIVE MODE", store.schema());
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *lock).await.expect("locked");
    send();
    until("they wait", async || blocked(holder).await == waiting).await;
    lock
}

async fn blocked(store: &PgStore) -> i64 {
    let text = "SELECT count(*) FROM pg_locks WHERE NOT granted AND \
        relation = '{s}.paid'::regclass";
    count(store, text).await
}

#[tokio::test]
async fn a_duplicate_at_another_host_is_told_to_wait_and_then_has_the_same_answer() {
    let schema = schema();
    let (one, two) = (open(&schema).await, open(&schema).await);
    let mut first = Asked::start(payment(&one)).await;
    let mut second = Asked::start(payment(&two)).await;
    let lock = hold(&one, &two, 1, || first.wire.send(execute(1, "well"))).await;
    let answer = second.ask(&execute(1, "well")).await;
    assert!(matches!(answer, Err(NotDone::Unknown(_))), "{answer:?}");
    let back = second.ask(&command(1, Pattern::Saga, Phase::Compensate)).await;
    assert!(matches!(back, Err(NotDone::Unknown(_))), "{back:?}");
    lock.rollback().await.expect("it is free");
    let told = first.reply().await.answer;
    assert!(told.is_ok(), "{told:?}");
    assert_eq!(second.settle(&execute(1, "well")).await, told);
    assert_eq!(paid(&one).await, 1);
    assert_eq!(second.host.stats().runs, 0);
}

#[tokio::test]
async fn as_many_as_the_setting_says_are_open_at_a_time() {
    let schema = schema();
    let other = open(&schema).await;
    let config = config(&schema).units_max(2).connections_max(4);
    let store = PgStore::connect(config).await.expect("it opens");
    let mut asked = Asked::start(payment(&store)).await;
    let lock = hold(&store, &other, 2, || {
        (1..=3).for_each(|n| asked.wire.send(execute(n, "well")));
    })
    .await;
    // The third has no connection, and the store's own calls have.
    for _ in 0..20 {
        assert_eq!(blocked(&store).await, 2);
        dtx::store::StateStore::now(&store).await.expect("it answers");
    }
    lock.rollback().await.expect("it is free");
    for _ in 0..3 {
        assert!(asked.reply().await.answer.is_ok());
    }
    assert_eq!(paid(&store).await, 3);
}

#[tokio::test]
async fn a_connection_that_dies_at_the_commit_is_no_no() {
    let store = store().await;
    sql(
        &store,
        "CREATE FUNCTION {s}.die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER die AFTER INSERT ON {s}.paid DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION {s}.die()",
    )
    .await;
    let mut asked = Asked::start(payment(&store)).await;
    asked.wire.send(execute(1, "well"));
    until("it died", async || asked.host.stats().faults > 0).await;
    sql(&store, "DROP TRIGGER die ON {s}.paid").await;
    // The host itself tries again.
    let answer = asked.reply().await.answer;
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(asked.settle(&execute(1, "well")).await, answer);
    assert_eq!(paid(&store).await, 1);
}

#[tokio::test]
async fn what_forgets_rows_waits_for_whoever_has_claimed_one() {
    let store = store().await;
    let mut asked = Asked::start(payment(&store)).await;
    let execute = execute(1, "well");
    assert!(asked.settle(&execute).await.is_ok());
    let scope = Scope::new(format!("payment/inbox/{}", execute.shard)).expect("valid");
    let key = inbox_key(execute.tx, execute.operation);
    let begun = store.begin(&scope, &key, &mark_key(execute.shard)).await.expect("begun");
    let Begun::Open(opened) = begun else { panic!("nobody else has it") };
    let row = opened.row.expect("it is stored");
    let change = RowChange { key, expect: RowExpect::Version(row.version), value: None };
    let set = RowSet { scope, changes: vec![change], unchanged: Vec::new(), not_after: None };
    let forgetting = {
        let store = store.clone();
        tokio::spawn(async move { store.write(&[set]).await.pop() })
    };
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND \
        query LIKE '%{s}%write_rows%'";
    until("it waits", async || count(&store, waiting).await == 1).await;
    let written = store.commit(opened.open, row.value).await;
    assert!(matches!(written, RowWriteResult::Written), "{written:?}");
    let forgotten = forgetting.await.expect("it ends").expect("one");
    assert!(matches!(forgotten, RowWriteResult::Conflict), "{forgotten:?}");
    assert!(asked.settle(&execute).await.is_ok());
    assert_eq!(paid(&store).await, 1, "it was not forgotten");
}

#[tokio::test]
async fn a_late_copy_after_going_back_finds_the_tombstone_at_any_host() {
    let schema = schema();
    let (one, two) = (open(&schema).await, open(&schema).await);
    let mut first = Asked::start(payment(&one)).await;
    let mut second = Asked::start(payment(&two)).await;
    let back = command(1, Pattern::Saga, Phase::Compensate);
    let done = first.settle(&back).await.expect("there is nothing to reverse");
    assert!(!done.reversed);
    let late = second.settle(&execute(1, "well")).await;
    assert_eq!(late, Err(NotDone::Refused(Refusal::Undone)));
    assert_eq!((paid(&one).await, first.host.stats().runs), (0, 0));
}

#[tokio::test]
async fn prepared_work_needs_a_resource_manager() {
    let store = store().await;
    let payment = Participant::within("payment", store.clone()).expect("a name");
    let payment: Participant = payment.prepared(Pay::on(&store)).into();
    let error = payment.check().expect_err("it has none");
    assert!(matches!(error, ParticipantError::NoResourceManager(_)), "{error}");
}
