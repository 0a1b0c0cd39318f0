//! The program on a real cluster of three masters, the URL of one of which is in
//! `DTX_TEST_REDIS_CLUSTER_URL`. Each test has a prefix of its own.

mod address;
#[path = "../server/kill.rs"]
mod kill;
#[path = "../server/operate.rs"]
mod operate;
#[path = "../server/patterns.rs"]
mod patterns;
#[path = "../server/support.rs"]
mod support;
