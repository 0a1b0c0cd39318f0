//! The conformance suite of transports.

mod mutants;
mod own;

use std::{sync::Arc, time::Duration};

use dtx_core::transport::Transport;
use dtx_testkit::transport::TransportHarness;
use dtx_transport_inmem::InMemoryTransport;

/// Small bounds, so that the suite reaches them.
#[derive(Debug)]
pub struct InMemoryHarness;

#[async_trait::async_trait]
impl TransportHarness for InMemoryHarness {
    async fn open(&self) -> Arc<dyn Transport> {
        let transport = InMemoryTransport::builder()
            .queue_messages_max(64)
            .pending_messages_max(16)
            .ack_wait(Duration::from_secs(1))
            .batch_messages_max(100)
            .body_bytes_max(4_096)
            .build();
        Arc::new(transport.expect("the settings are sound"))
    }

    fn redelivery(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn queue_messages_max(&self) -> Option<usize> {
        Some(64)
    }

    fn kept_before_subscription(&self) -> usize {
        16
    }
}

dtx_testkit::transport_conformance!(InMemoryHarness, start_paused = true);
