//! The Kafka transport of dtx.
#![forbid(unsafe_code)]
