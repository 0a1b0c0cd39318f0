//! Tests on a real server, whose URL is in `DTX_TEST_POSTGRES_URL`. Each uses a schema of its
//! own.

mod conformance;
mod days;
mod harness;
mod histories;
mod opening;
mod rivals;
