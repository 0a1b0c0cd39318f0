//! Windows with a coordinator and participants that do nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dtx::{
    coordinator::{CoordinatorStats, Store},
    prelude::*,
};
use dtx_bench::percentile;

use dtx_bench::nothing;

/// How long every window runs before it counts, so that connections, plans and caches are there.
pub(crate) const LEAD: Duration = Duration::from_millis(500);

/// What came of a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Transactions per second.
    pub(crate) rate: f64,
    /// Microseconds from submit to outcome.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Records written per transaction, and how many of them were waited for.
    pub(crate) records: f64,
    pub(crate) awaited: f64,
    /// Records in one commit, on average.
    pub(crate) batch: f64,
    /// How many transactions it had, the lead included.
    pub(crate) all: f64,
}

/// So many callers submit a 2PS and wait for its outcome, again and again.
pub(crate) async fn window(store: Arc<dyn Store>, in_flight: usize, length: Duration) -> Window {
    let mut builder = Dtx::builder().shared_store(store).transport(InMemoryTransport::new());
    for participant in nothing::participants() {
        builder = builder.participant(participant);
    }
    let dtx = builder.start().await.unwrap();
    let from = Instant::now() + LEAD;
    let until = from + length;
    let callers: Vec<_> = (0..in_flight)
        .map(|_| {
            let dtx = dtx.clone();
            tokio::spawn(async move {
                let mut taken = Vec::new();
                loop {
                    let begun = Instant::now();
                    let transaction = nothing::transaction(Pattern::TwoPhaseSaga);
                    let mut handle = dtx.submit(transaction).await.unwrap();
                    assert_eq!(handle.outcome().await.unwrap(), Outcome::Committed);
                    let ended = Instant::now();
                    if ended >= until {
                        return taken;
                    }
                    if ended >= from {
                        taken.push((ended - begun).as_secs_f64() * 1e6);
                    }
                }
            })
        })
        .collect();
    let mut taken = Vec::new();
    for caller in callers {
        taken.extend(caller.await.unwrap());
    }
    dtx.shutdown(Duration::from_secs(5)).await;
    told(dtx.stats(), taken, length)
}

fn told(stats: CoordinatorStats, taken: Vec<f64>, length: Duration) -> Window {
    let all = stats.committed as f64;
    let records = (stats.writes_awaited + stats.writes_lazy) as f64;
    Window {
        rate: taken.len() as f64 / length.as_secs_f64(),
        p50: percentile(taken.clone(), 0.5),
        p99: percentile(taken, 0.99),
        records: records / all,
        awaited: stats.writes_awaited as f64 / all,
        batch: records / stats.commits as f64,
        all,
    }
}
