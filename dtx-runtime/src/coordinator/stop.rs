//! The graceful end of a coordinator.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dtx_core::crash_point;
use tokio::{sync::watch, task::JoinSet};

use super::dtx::Inner;

/// How long, after the grace, the store may take for what is left. What it has not answered by
/// then is left to the next owner.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// What a graceful shutdown left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Whether everything that was open ended within the grace.
    pub drained: bool,
    /// How many transactions are left for the next owner.
    pub handed_over: usize,
}

/// Whether a shutdown was begun, and how it ended.
#[derive(Debug, Default)]
pub(super) struct Stopping(Mutex<Option<watch::Receiver<Option<DrainReport>>>>);

impl Inner {
    /// The shutdown runs in a task of its own, once, so that nobody can stop it half-way.
    pub(super) async fn shutdown(self: &Arc<Self>, grace: Duration) -> DrainReport {
        let mut report = {
            let mut stopping = self.stopping.0.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = || {
                let (sender, report) = watch::channel(None);
                let inner = self.clone();
                tokio::spawn(async move {
                    let report = inner.stop(grace).await;
                    sender.send_replace(Some(report));
                });
                report
            };
            stopping.get_or_insert_with(begin).clone()
        };
        match report.wait_for(Option::is_some).await {
            Ok(report) => report.unwrap_or(DrainReport::UNKNOWN),
            // The runtime was shut down over it.
            Err(_) => DrainReport::UNKNOWN,
        }
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        let shared = &self.shared;
        shared.in_flight.close();
        crash_point!("shutdown.begun");
        let drained = tokio::time::timeout(grace, shared.drain()).await.is_ok();
        crash_point!("shutdown.drained");
        let handed_over = shared.stop(STOP_WAIT).await;
        crash_point!("shutdown.lanes-stopped");
        self.receiving.cancel();
        let mut hosts = JoinSet::new();
        for host in std::mem::take(&mut *self.hosts.lock().await) {
            hosts.spawn(host.shutdown(grace));
        }
        hosts.join_all().await;
        crash_point!("shutdown.hosts-stopped");
        shared.keeping.cancel();
        shared.tasks.close();
        if tokio::time::timeout(STOP_WAIT, shared.tasks.wait()).await.is_err() {
            tracing::warn!("the store does not answer; some tasks end when it does");
        }
        self.transport.close_subscriptions().await;
        crash_point!("shutdown.ended");
        DrainReport { drained, handed_over }
    }
}

impl DrainReport {
    /// Of a shutdown that was itself cut off.
    const UNKNOWN: Self = Self { drained: false, handed_over: 0 };
}
