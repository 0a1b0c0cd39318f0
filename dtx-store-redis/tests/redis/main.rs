//! Tests on a real server, whose URL is in `DTX_TEST_REDIS_URL`. Each uses a key prefix of its
//! own, or a server of its own.

#[path = "../common/harness.rs"]
mod harness;

mod children;
mod conformance;
mod exactly_once;
#[path = "../common/histories.rs"]
mod histories;
mod keys;
mod once;
mod pay;
mod server;
mod support;
mod tls;
mod units;

/// The server that tests share.
type SharedServer = dtx_testkit::servers::Redis;
