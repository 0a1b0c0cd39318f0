//! Servers for tests: found, started on free ports of the loopback with durable settings, and
//! stopped again.
//!
//! A service that an environment variable names (`DTX_TEST_POSTGRES_URL`) is used as it is and is
//! never stopped. Otherwise the programs on this machine are started, with their data in a folder
//! of the caller. The program `dtx-services` does this from a command line.

mod error;
mod kafka;
mod lifecycle;
mod nats;
mod postgres;
mod process;
mod redis;
mod server;
mod service;

pub use error::ServiceError;
pub use kafka::{Kafka, KafkaTls};
pub use lifecycle::{Found, Services, Source};
pub use nats::{Nats, NatsCore};
pub use postgres::{Postgres, PostgresStandby, PostgresTls, PostgresUnprepared};
pub use redis::{Redis, RedisCluster, RedisTls};
pub use server::Server;
pub use service::{Place, SERVICES, Service, named};
