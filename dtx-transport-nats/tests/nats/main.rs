//! Tests on a real server, whose URL is in `DTX_TEST_NATS_URL`. Each uses a prefix of its own,
//! or a server of its own.

mod aside;
mod best_effort;
mod conformance;
mod counts;
mod harness;
mod raw;
mod refused;
mod restart;
mod tls;
