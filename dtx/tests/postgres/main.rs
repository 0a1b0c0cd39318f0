//! Effects in the user's own database transaction, on a real server, whose URL is in
//! `DTX_TEST_POSTGRES_URL`. Each test uses a schema of its own.
#![allow(missing_docs)]

mod branches;
mod children;
mod exactly_once;
mod once;
mod outbox;
mod pay;
mod relays;
mod standby;
mod support;
mod units;
