//! The program on a real PostgreSQL server, whose URL is in `DTX_TEST_POSTGRES_URL`. Each test has
//! a schema of its own.

mod address;
#[path = "../server/kill.rs"]
mod kill;
#[path = "../server/operate.rs"]
mod operate;
#[path = "../server/patterns.rs"]
mod patterns;
#[path = "../server/support.rs"]
mod support;
mod tables;
