//! Tests on a real cluster of three masters, the URL of one of which is in
//! `DTX_TEST_REDIS_CLUSTER_URL`. Each uses a key prefix of its own.

#[path = "../common/harness.rs"]
mod harness;

mod conformance;
#[path = "../common/histories.rs"]
mod histories;
mod units;

/// The server that tests share.
type SharedServer = dtx_testkit::servers::RedisCluster;
