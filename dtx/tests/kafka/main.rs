//! Coordinators and participants that talk over a real broker, whose address is in
//! `DTX_TEST_KAFKA_BROKERS`. Each test uses a topic prefix of its own.
#![allow(missing_docs, clippy::unwrap_used)]

mod run;
