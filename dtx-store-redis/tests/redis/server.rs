//! What servers do to the store: configured in other ways, killed, silent, without scripts.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use dtx_core::{
    error::{Effect, ErrorKind},
    store::{CommitResult, Durability},
};
use dtx_store_redis::{RedisSettings, RedisStore};
use dtx_testkit::{
    servers::{Redis, Server},
    store::{Pen, committed, one, record, tx},
};

use crate::{
    harness::{prefix, settings},
    support::WAIT,
};

/// A server of this test alone.
fn server(name: &str) -> Server {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    Server::start(&Redis, &folder).expect("it starts")
}

/// A command to a server.
async fn tell(url: &str, words: &[&str]) {
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    let _: redis::Value = command.query_async(&mut connection).await.expect("it is done");
}

#[tokio::test]
async fn the_durability_is_that_of_the_configuration() {
    let mut server = server("durability");
    let url = server.url();
    let open = || RedisStore::connect(&url);
    let store = open().await.expect("it opens");
    assert_eq!(store.info().capabilities.durability, Durability::PowerLoss);
    assert!(store.durability_reasons().is_empty());
    for (setting, value, back, durability) in [
        ("appendfsync", "everysec", "always", Durability::ProcessCrash),
        ("maxmemory-policy", "allkeys-lru", "noeviction", Durability::Nothing),
        ("appendonly", "no", "yes", Durability::Nothing),
    ] {
        tell(&url, &["CONFIG", "SET", setting, value]).await;
        let store = open().await.expect("it opens");
        assert_eq!(store.info().capabilities.durability, durability, "{setting} {value}");
        assert!(store.durability_reasons()[0].contains(setting));
        tell(&url, &["CONFIG", "SET", setting, back]).await;
    }
    tell(&url, &["ACL", "SETUSER", "app", "on", ">hunter2", "~*", "+@all", "-config"]).await;
    let url = url.replace("redis://", "redis://app:hunter2@");
    let store = RedisStore::connect(&url).await.expect("it opens without CONFIG");
    assert_eq!(store.info().capabilities.durability, Durability::ProcessCrash);
    assert!(store.durability_reasons()[0].contains("CONFIG is forbidden"));
    let wrong = RedisStore::connect(&url.replace("hunter2", "hunter3")).await;
    let error = wrong.expect_err("a wrong password");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    // It would not end by itself while it writes its first append-only file.
    server.kill().expect("it is killed");
}

#[tokio::test]
async fn a_killed_server_comes_back_with_all_that_was_acknowledged() {
    let mut server = server("killed");
    let store = RedisStore::connect(&server.url()).await.expect("it opens");
    let mut pen = Pen::new(1);
    committed(&one(&store, &pen.accept(tx(1))).await);
    server.kill().expect("it is killed");
    let signal = pen.signal(tx(1), 1);
    let CommitResult::Failed(error) = one(&store, &signal).await else { panic!("nobody is there") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let CommitResult::Failed(error) = one(&store, &signal).await else { panic!("nobody is there") };
    assert_eq!(error.effect(), Effect::None, "it was refused: {error:?}");
    server.restart().expect("it starts again");
    // Its scripts are gone with the process, and its connections are broken.
    assert_eq!(committed(&one(&store, &signal).await), 2);
    assert_eq!(record(&store, tx(1)).await.version.0, 2);
}

#[tokio::test]
async fn scripts_that_were_flushed_are_loaded_again() {
    let server = server("flushed");
    let store = RedisStore::connect(&server.url()).await.expect("it opens");
    let mut pen = Pen::new(1);
    for n in 0..3 {
        committed(&one(&store, &pen.accept_key(tx(n), "shop", &format!("k{n}"))).await);
        tell(&server.url(), &["SCRIPT", "FLUSH"]).await;
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_leaves_the_effect_unknown() {
    let server = server("silent");
    let settings = RedisSettings::new(&server.url()).expect("a URL");
    let store = settings.response_timeout(Duration::from_millis(50));
    let store = store.replica_timeout(Duration::from_millis(50)).open().await.expect("it opens");
    let accept = Pen::new(1).accept(tx(1));
    tell(&server.url(), &["CLIENT", "PAUSE", "1000", "ALL"]).await;
    let result = one(&store, &accept).await;
    let CommitResult::Failed(error) = result else { panic!("answered: {result:?}") };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    let patient = RedisStore::connect(&server.url()).await.expect("it opens");
    assert_eq!(committed(&one(&patient, &accept).await), 1, "the same id settles it, once");
}

#[tokio::test]
async fn replicas_that_are_not_there_confirm_nothing() {
    let prefix = prefix();
    let store = settings::<Redis>(&prefix).replicas(1).replica_timeout(Duration::from_millis(20));
    let store = store.open().await.expect("it opens");
    let result = one(&store, &Pen::new(1).accept(tx(1))).await;
    let CommitResult::Failed(error) = result else { panic!("confirmed: {result:?}") };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    assert_eq!(record(&store, tx(1)).await.version.0, 1, "reads ask for no confirmation");
}

/// The lanes of a coordinator commit side by side, also where replicas must confirm.
#[tokio::test]
async fn commits_wait_for_replicas_side_by_side() {
    let server = server("side-by-side");
    let settings = RedisSettings::new(&server.url()).expect("a URL");
    let store = settings.replicas(1).replica_timeout(WAIT).open().await.expect("it opens");
    let lanes = store.info().lanes;
    let mut waiting = tokio::task::JoinSet::new();
    for lane in (1..).take(lanes) {
        let store = store.clone();
        waiting.spawn(async move { one(&store, &Pen::new(lane).accept(tx(lane as u64))).await });
    }
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
    let end = Instant::now() + WAIT;
    loop {
        let told: String =
            redis::cmd("INFO").arg("clients").query_async(&mut connection).await.expect("told");
        if told.contains(&format!("blocked_clients:{lanes}\r")) {
            return;
        }
        assert!(Instant::now() < end && waiting.try_join_next().is_none(), "{told}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_has_a_time_to_live() {
    let server = server("no-ttl");
    let store = RedisStore::connect(&server.url()).await.expect("it opens");
    committed(&one(&store, &Pen::new(1).accept_key(tx(1), "shop", "a")).await);
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
    let keys: Vec<Vec<u8>> =
        redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("keys");
    assert!(keys.len() >= 5, "{keys:?}");
    for key in keys {
        let ttl: i64 =
            redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.expect("ttl");
        assert_eq!(ttl, -1, "{key:?}");
    }
}
