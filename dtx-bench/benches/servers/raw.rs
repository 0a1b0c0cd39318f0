//! What the servers do with records of the same size and nothing else.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    coordinator::LEAD,
    server::{Kind, Server},
};

/// Rows of one array insert, and how many connections insert.
const ROWS: usize = 100;
const PG_CONNECTIONS: usize = 4;

/// Scripts of one pipeline, and how many connections send them.
const SCRIPTS: usize = 32;
const REDIS_CONNECTIONS: usize = 50;

/// What a record at least needs: its value, and a place in an index.
const SCRIPT: &str = "redis.call('HSET', KEYS[1], 'b', ARGV[1]) \
    return redis.call('ZADD', KEYS[2], 0, ARGV[2])";

/// How many indexes there are.
const INDEXES: u128 = 64;

/// Records per second: array inserts on some connections, or pipelined scripts.
pub(crate) async fn window(server: &Server, bytes: usize, length: Duration) -> f64 {
    match server.kind {
        Kind::Postgres => inserts(server, bytes, length).await,
        Kind::Redis => scripts(server, bytes, length).await,
    }
}

/// How the raw rate is told.
pub(crate) fn says(kind: Kind) -> String {
    match kind {
        Kind::Postgres => format!("raw inserts of {ROWS} rows on {PG_CONNECTIONS} connections"),
        Kind::Redis => {
            format!("raw scripts, {SCRIPTS} at a time on {REDIS_CONNECTIONS} connections")
        }
    }
}

async fn inserts(server: &Server, bytes: usize, length: Duration) -> f64 {
    let name = server.name();
    server
        .sql(&format!(
            "CREATE SCHEMA {name}; \
             CREATE TABLE {name}.record (n bigserial PRIMARY KEY, tx uuid, body bytea)"
        ))
        .await;
    let from = Instant::now() + LEAD;
    let until = from + length;
    let mut connections = Vec::new();
    for _ in 0..PG_CONNECTIONS {
        let mut connection = server.postgres().await;
        let insert = format!(
            "INSERT INTO {name}.record (tx, body) SELECT * FROM unnest($1::uuid[], $2::bytea[])"
        );
        connections.push(tokio::spawn(async move {
            let mut rows = 0;
            loop {
                let ids: Vec<Uuid> = (0..ROWS).map(|_| Uuid::now_v7()).collect();
                let insert = sqlx::query(AssertSqlSafe(insert.clone()));
                let insert = insert.bind(ids).bind(vec![vec![7_u8; bytes]; ROWS]);
                insert.execute(&mut connection).await.unwrap();
                let now = Instant::now();
                if now >= until {
                    return rows;
                }
                if now >= from {
                    rows += ROWS;
                }
            }
        }));
    }
    let mut rows = 0;
    for connection in connections {
        rows += connection.await.unwrap();
    }
    server.forget(&name).await;
    rows as f64 / length.as_secs_f64()
}

async fn scripts(server: &Server, bytes: usize, length: Duration) -> f64 {
    let name = server.name();
    let script = redis::Script::new(SCRIPT);
    let mut first = server.redis().await;
    redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).exec_async(&mut first).await.unwrap();
    let from = Instant::now() + LEAD;
    let until = from + length;
    let mut connections = Vec::new();
    for _ in 0..REDIS_CONNECTIONS {
        let mut connection = server.redis().await;
        let (name, hash) = (name.clone(), script.get_hash().to_owned());
        connections.push(tokio::spawn(async move {
            let (mut done, value) = (0, vec![7_u8; bytes]);
            loop {
                let mut pipe = redis::pipe();
                for _ in 0..SCRIPTS {
                    let id = Uuid::now_v7();
                    let row = [format!("{{{name}:raw}}t").as_bytes(), id.as_bytes()].concat();
                    let index = format!("{{{name}:raw}}i{}", id.as_u128() % INDEXES);
                    pipe.cmd("EVALSHA").arg(&hash).arg(2).arg(row).arg(index);
                    pipe.arg(&value).arg(id.as_bytes()).ignore();
                }
                pipe.exec_async(&mut connection).await.unwrap();
                let now = Instant::now();
                if now >= until {
                    return done;
                }
                if now >= from {
                    done += SCRIPTS;
                }
            }
        }));
    }
    let mut done = 0;
    for connection in connections {
        done += connection.await.unwrap();
    }
    server.forget(&name).await;
    done as f64 / length.as_secs_f64()
}
