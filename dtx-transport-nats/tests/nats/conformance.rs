//! The conformance suite of transports.

use crate::harness::NatsHarness;

dtx_testkit::transport_conformance!(
    NatsHarness::default(),
    flavor = "multi_thread",
    worker_threads = 2
);
