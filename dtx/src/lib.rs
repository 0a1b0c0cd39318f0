//! Distributed transactions in which **the pattern is a choice per transaction**: 0.5PS, Saga,
//! 1.5PS, 2PS, 3PS and 2PC, over one participant contract, any state store and any transport.
#![forbid(unsafe_code)]

#[cfg(feature = "postgres")]
pub use begin_in::BeginIn;
pub use dtx_core::{
    answer, engine, error, frame, ids, modifier, name, outbox, pattern, resource, store, time,
    transaction, transport,
};
#[cfg(feature = "geo")]
pub use dtx_geo as geo;
#[cfg(feature = "geo")]
pub use dtx_geo_host as geo_host;
pub use dtx_runtime::{coordinator, operator, participant, subscription};
#[cfg(feature = "postgres")]
pub use dtx_store_postgres::{
    CopyRead, DeadMessage, Finding, Migration, Once, Pg, PgConfig, PgCopy, PgInbox, PgOpen,
    PgOutbox, PgStore, Relay, RelayHandle, RelaySettings, RelaySettingsError, RelayStats,
    SchemaError, SchemaName, ServerReport, StandbyQuorum, StandbyQuorumError, migrations,
};
#[cfg(all(feature = "redb", unix))]
pub use dtx_store_redb::{OwnerInfo, RedbOwner};
#[cfg(feature = "redb")]
pub use dtx_store_redb::{RedbReader, RedbStore};
#[cfg(feature = "redis")]
pub use dtx_store_redis::{
    KeyPrefix, KeyPrefixError, RedisEffect, RedisInbox, RedisOnce, RedisOpen, RedisScript,
    RedisSettings, RedisStore, RedisUnit,
};
#[cfg(feature = "inmem")]
pub use dtx_transport_inmem::InMemoryTransport;
#[cfg(feature = "kafka")]
pub use dtx_transport_kafka::{
    KafkaSettings, KafkaStats, KafkaTransport, Layout, SaslMechanism, TopicPrefix, TopicPrefixError,
};
#[cfg(feature = "nats")]
pub use dtx_transport_nats::{NatsSettings, NatsTransport};
pub use open::{OpenError, open_store, open_transport};

#[cfg(feature = "postgres")]
mod begin_in;
mod open;
pub mod prelude;
#[cfg(doctest)]
mod readme;
