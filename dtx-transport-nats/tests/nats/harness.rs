//! Transports with a namespace of their own on the server that tests share.

use std::{
    env, process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use dtx_core::transport::Transport;
use dtx_testkit::{
    servers::{Nats, Service},
    transport::TransportHarness,
};
use dtx_transport_nats::{NatsSettings, NatsTransport};

/// Short, so that the suite sees what comes again.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(1);

/// The URL of the server.
pub(crate) fn url() -> String {
    let (variable, name) = (Nats.variable(), Nats.name());
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec {name} -- COMMAND sets it")
    })
}

/// A namespace that no other test has.
pub(crate) fn namespace() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let since = std::time::UNIX_EPOCH.elapsed().expect("it is later than that").as_millis();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("t{:x}-{:x}-{number}", process::id(), since & 0xffff_ffff)
}

/// The settings of a test, on this server.
pub(crate) fn settings_on(url: &str) -> NatsSettings {
    let settings = NatsSettings::new(url).expect("it is valid");
    let settings = settings.namespace(&namespace()).expect("it is valid");
    settings.ack_wait(ACK_WAIT).batch_messages_max(100).body_bytes_max(4_096)
}

/// The settings of a test.
pub(crate) fn settings() -> NatsSettings {
    settings_on(&url())
}

/// Connects.
pub(crate) async fn connect(settings: NatsSettings) -> NatsTransport {
    NatsTransport::connect(settings).await.expect("it connects")
}

#[derive(Debug)]
pub(crate) struct NatsHarness;

#[async_trait::async_trait]
impl TransportHarness for NatsHarness {
    async fn open(&self) -> Arc<dyn Transport> {
        Arc::new(connect(settings()).await)
    }

    fn redelivery(&self) -> Option<Duration> {
        Some(ACK_WAIT)
    }

    fn queue_messages_max(&self) -> Option<usize> {
        None
    }

    fn kept_before_subscription(&self) -> usize {
        // All of them: the streams are on disk.
        usize::MAX
    }
}
