//! What a backend tells the suite about itself.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use dtx_core::{name::ParticipantName, transport::Transport};

/// Opens transports for the suite, and says what they declare.
#[async_trait]
pub trait TransportHarness: Debug + Send + Sync {
    /// Opens a transport that is empty and apart from every other one that was opened.
    async fn open(&self) -> Arc<dyn Transport>;

    /// After how long an unacknowledged delivery comes again; `None` when only the end of its
    /// subscription brings it back.
    fn redelivery(&self) -> Option<Duration>;

    /// How many messages a queue takes before `publish` waits; `None` when it never waits.
    fn queue_messages_max(&self) -> Option<usize>;

    /// How many messages are kept for an address that has no subscription yet, where the
    /// transport is not durable; the newest are kept.
    fn kept_before_subscription(&self) -> usize;

    /// Puts something that cannot be read where the commands for a participant are. Does nothing
    /// where nothing else can be there.
    async fn publish_unreadable(
        &self,
        _transport: &Arc<dyn Transport>,
        _participant: &ParticipantName,
    ) {
    }

    /// Kills the broker of a transport and starts it again on its data. Does nothing where there
    /// is no broker, or where it is not ours to kill.
    async fn restart(&self, _transport: &Arc<dyn Transport>) {}
}
