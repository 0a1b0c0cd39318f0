//! The program on a real Redis server, whose URL is in `DTX_TEST_REDIS_URL`. Each test has a
//! prefix of its own.

mod address;
mod durability;
#[path = "../server/kill.rs"]
mod kill;
#[path = "../server/operate.rs"]
mod operate;
#[path = "../server/patterns.rs"]
mod patterns;
#[path = "../server/support.rs"]
mod support;
