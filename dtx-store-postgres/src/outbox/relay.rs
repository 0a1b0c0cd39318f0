//! The relay: sends what committed transactions have appended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dtx_core::{error::StoreError, outbox::MessageSink};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    append::PgOutbox,
    round::Round,
    settings::{RelaySettings, RelaySettingsError},
};

/// Sends the messages of an outbox, each at least once, those of one key in the order in which
/// their transactions committed. Any number of relays may run side by side, in any number of
/// processes: each works on what no other one has.
///
/// A message that fails is tried again, and the later ones of its key wait for it; after
/// [`attempts_max`](RelaySettings::attempts_max) it is laid aside, and they go on without it.
#[derive(Debug)]
pub struct Relay {
    pub(super) outbox: PgOutbox,
    pub(super) sink: Arc<dyn MessageSink>,
    pub(super) settings: RelaySettings,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
}

/// What a relay did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Messages that were sent.
    pub sent: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Messages that were laid aside.
    pub dead: u64,
}

/// A running relay. Dropping it stops the relay at the end of its round.
#[derive(Debug)]
pub struct RelayHandle {
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Relay {
    /// A relay from this outbox to this sink.
    ///
    /// # Errors
    /// [`RelaySettingsError`] when a setting cannot work.
    pub fn new(
        outbox: PgOutbox,
        sink: impl MessageSink,
        settings: RelaySettings,
    ) -> Result<Self, RelaySettingsError> {
        settings.check()?;
        Ok(Self { outbox, sink: Arc::new(sink), settings, counters: Arc::default() })
    }

    /// Sends what is there now, until nothing is left that can be sent yet.
    ///
    /// # Errors
    /// The failure of the server. What was sent and not noted comes again.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the round: what was sent in it comes again.
    pub async fn flush(&self) -> Result<RelayStats, StoreError> {
        while self.turn().await?.took {}
        Ok(self.stats())
    }

    /// Runs until it is stopped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> RelayHandle {
        let (stop, stopped) = watch::channel(false);
        let counters = self.counters.clone();
        let task = tokio::spawn(self.run(stopped));
        RelayHandle { counters, stop, task }
    }

    /// What it did so far.
    pub fn stats(&self) -> RelayStats {
        self.counters.read()
    }

    async fn turn(&self) -> Result<Round, StoreError> {
        let round = self.round().await.map_err(|failure| failure.into_error("relay"))?;
        self.counters.sent.fetch_add(round.sent, Ordering::Relaxed);
        self.counters.failed.fetch_add(round.failed, Ordering::Relaxed);
        self.counters.dead.fetch_add(round.dead, Ordering::Relaxed);
        if round.dead > 0 {
            tracing::warn!(messages = round.dead, "messages were laid aside");
        }
        Ok(round)
    }

    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut pause = self.settings.poll;
        while !*stopped.borrow() {
            match self.turn().await {
                Ok(round) if round.took => {
                    pause = self.settings.poll;
                    continue;
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the relay met a failure"),
            }
            let wait: Duration = pause;
            pause = pause.saturating_mul(2).min(self.settings.poll_max.max(self.settings.poll));
            tokio::select! {
                // An error says that the handle is gone.
                _ = stopped.changed() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

impl Counters {
    fn read(&self) -> RelayStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RelayStats { sent: get(&self.sent), failed: get(&self.failed), dead: get(&self.dead) }
    }
}

impl RelayHandle {
    /// What it did so far.
    pub fn stats(&self) -> RelayStats {
        self.counters.read()
    }

    /// Stops it at the end of its round.
    ///
    /// # Cancel safety
    /// Dropping the future stops it as well, without waiting for that end.
    pub async fn stop(self) -> RelayStats {
        // Its task has no receiver any more only when it has ended.
        let _ = self.stop.send(true);
        let _ = self.task.await;
        self.counters.read()
    }
}
