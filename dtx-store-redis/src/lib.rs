//! The Redis store of dtx: one server, or a cluster.
//!
//! Every change is a script that is one atomic step on one node: the keys of a shard share a hash
//! tag, and so do those of a participant's scope. Shards are spread over the slots. A commit
//! sends one script per shard, those for one node in one go; the server syncs them together.
//! Leases, due times and expiries are judged by the server's clock, inside the script.
//!
//! What an acknowledged write survives is the servers' configuration, which is read when the store
//! is opened and stated in `info()`: the loss of power only with `appendonly yes`,
//! `appendfsync always`, `maxmemory-policy noeviction` and no replica that may be promoted.
//! Nothing has a time to live. The clocks of a cluster's nodes should be near each other; what is
//! safe does not rest on that, since each lease is judged by one node.
//!
//! A handler's own effect can be in one script with the participant's memory of it, and then it
//! happens exactly once: see [`RedisUnit`] and [`RedisScript`], and [`RedisInbox`] for consumers that
//! no host serves.
//!
//! Of a scope whose last row was deleted two small keys stay: its clock with the highest version
//! that it ever had, and its place in the list of scopes.
#![forbid(unsafe_code)]

mod catalog;
mod codec;
mod commit;
mod durability;
mod effect;
mod error;
mod inbox;
mod keys;
mod link;
mod purge;
mod rows;
mod scripts;
mod settings;
mod state;
mod store;
mod unit;
mod values;

pub use effect::{RedisEffect, RedisScript};
pub use inbox::{ONCE_BYTES_MAX, RedisInbox, RedisOnce};
pub use keys::{HASH_TAG_BYTES_MAX, KeyPrefix, KeyPrefixError, PREFIX_BYTES_MAX};
pub use settings::{
    BATCH_WRITES_MAX_DEFAULT, CONNECT_TIMEOUT_DEFAULT, REPLICA_TIMEOUT_DEFAULT,
    RESPONSE_TIMEOUT_DEFAULT, RedisSettings, VALUE_BYTES_MAX_DEFAULT,
};
pub use store::RedisStore;
pub use unit::{RedisOpen, RedisUnit};
