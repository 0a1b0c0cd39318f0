//! Tests on a real server, whose URL is in `DTX_TEST_POSTGRES_URL`. Each uses a schema of its
//! own.

mod conformance;
mod copies;
mod days;
mod harness;
mod hints;
mod histories;
mod opening;
mod rivals;
mod standby;
mod tls;
mod unconfirmed;
mod unprepared;
