//! The suite of the testkit.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dtx_core::transport::Transport;
use dtx_testkit::transport::TransportHarness;

use crate::support::settings;

#[derive(Debug)]
struct Harness;

#[async_trait]
impl TransportHarness for Harness {
    async fn open(&self) -> Arc<dyn Transport> {
        Arc::new(settings().connect().await.expect("it connects"))
    }

    fn redelivery(&self) -> Option<Duration> {
        None
    }

    fn queue_messages_max(&self) -> Option<usize> {
        None
    }

    fn kept_before_subscription(&self) -> usize {
        0
    }
}

dtx_testkit::transport_conformance!(Harness, flavor = "multi_thread", worker_threads = 2);
