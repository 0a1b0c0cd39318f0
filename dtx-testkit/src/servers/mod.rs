//! Servers for tests: found, started on free ports of the loopback with durable settings, and
//! stopped again.
//!
//! A service that an environment variable names (`DTX_TEST_POSTGRES_URL`) is used as it is and is
//! never stopped. Otherwise, with the feature `containers` and where a Docker engine answers, a
//! container is started; else the programs on this machine are, with their data in a folder of the
//! caller. The program `dtx-services` does this from a command line.

#[cfg(feature = "containers")]
mod docker;
mod engine;
mod error;
mod images;
mod kafka;
mod lifecycle;
mod nats;
mod postgres;
mod process;
mod record;
mod redis;
mod server;
mod service;
mod way;

pub use error::ServiceError;
pub use images::{IMAGES, Image};
pub use kafka::{Kafka, KafkaTls};
pub use lifecycle::{Found, Services, Source};
pub use nats::{Nats, NatsCore};
pub use postgres::{Postgres, PostgresStandby, PostgresTls, PostgresUnprepared};
pub use redis::{Redis, RedisCluster, RedisTls};
pub use server::Server;
pub use service::{Place, Recipe, SERVICES, Service, named};
pub use way::Way;
