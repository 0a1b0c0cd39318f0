//! Tests on a real server, whose URL is in `DTX_TEST_NATS_URL`. Each uses a namespace of its own,
//! or a server of its own.

mod conformance;
mod harness;
