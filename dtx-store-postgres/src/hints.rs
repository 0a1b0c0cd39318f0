//! `LISTEN`: what others have committed, as a hint for the owners of the shards.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use async_trait::async_trait;
use dtx_core::store::Hints;
use sqlx::postgres::PgListener;
use tokio::{sync::watch, task::AbortHandle};

use crate::{error::NAME, store::Inner};

/// How long after a failure the server is asked again. Until then there are no hints, and scans
/// find what is due.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Hands out what one connection hears. The connection is made for the first who wants to know.
#[derive(Debug)]
pub(crate) struct Notices {
    heard: watch::Sender<()>,
    listening: OnceLock<AbortHandle>,
}

impl Default for Notices {
    fn default() -> Self {
        Self { heard: watch::Sender::new(()), listening: OnceLock::new() }
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.get() {
            listening.abort();
        }
    }
}

impl Notices {
    pub(crate) fn subscribe(&self, inner: &Arc<Inner>) -> Heard {
        let inner = Arc::downgrade(inner);
        let heard = self.heard.clone();
        self.listening.get_or_init(|| tokio::spawn(listen(inner, heard)).abort_handle());
        Heard(self.heard.subscribe())
    }
}

/// The hints of one who wants to know.
#[derive(Debug)]
pub(crate) struct Heard(watch::Receiver<()>);

#[async_trait]
impl Hints for Heard {
    async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Listens until the store is gone. After a connection was lost somebody may have written
/// meanwhile, which is a hint too.
async fn listen(inner: Weak<Inner>, heard: watch::Sender<()>) {
    loop {
        let Some((options, channel)) = inner
            .upgrade()
            .map(|inner| (inner.pool.connect_options().as_ref().clone(), inner.schema.channel()))
        else {
            return;
        };
        if let Err(error) = hear(options, &channel, &heard).await {
            tracing::debug!(store = NAME, %error, "no hints until the server is heard again");
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// On a connection beside the pool, which keeps all of its own for the store's calls.
async fn hear(
    options: sqlx::postgres::PgConnectOptions,
    channel: &str,
    heard: &watch::Sender<()>,
) -> Result<(), sqlx::Error> {
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(channel).await?;
    loop {
        heard.send_replace(());
        // `None`: the connection was lost, and has been made again.
        listener.try_recv().await?;
        // Those that came together are one.
        while listener.next_buffered().is_some() {}
    }
}
