//! Tests on a real broker, whose address is in `DTX_TEST_KAFKA_BROKERS`. Each uses a topic prefix
//! of its own, or a broker of its own.

mod bounds;
mod brokers;
mod conformance;
mod counts;
mod foreign;
mod groups;
mod injected;
mod letters;
mod support;
mod tls;
