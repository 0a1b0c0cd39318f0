//! The program on a real PostgreSQL server, whose URL is in `DTX_TEST_POSTGRES_URL`. Each test has
//! a schema of its own.

mod kill;
mod operate;
mod patterns;
mod support;
