//! Memory per open transaction: commands out, replies withheld.

use std::time::Duration;

use dtx::prelude::*;

use dtx_bench::nothing;

use super::judge;

const OPEN: usize = 100_000;

/// How many are open before the first reading.
const WARM: usize = 20_000;

const CALLERS: usize = 500;

/// What the store may keep in memory. It is filled before the first reading.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

pub(crate) fn run() -> usize {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bytes = runtime.block_on(async {
        // Nobody hosts the participants, so that every command goes out and no reply comes; what
        // the transport keeps of them is bounded and small.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("open.redb");
        let store = RedbStore::builder().cache_bytes(CACHE_BYTES).open(path).await.unwrap();
        let transport = InMemoryTransport::builder().pending_messages_max(1).build().unwrap();
        let mut settings = CoordinatorSettings { in_flight_max: OPEN * 2, ..Default::default() };
        settings.engine.attempt_timeout_min = Duration::from_secs(3_600);
        settings.engine.attempt_timeout_max = Duration::from_secs(3_600);
        // As in a life with short time-outs, where no attempt is worth a record.
        settings.engine.backoff_durable = Duration::from_secs(7_200);
        settings.engine.deadline = Duration::from_secs(7_200);
        let dtx = Dtx::builder()
            .store(store)
            .transport(transport)
            .settings(settings)
            .start()
            .await
            .unwrap();
        let open = |count: usize| {
            let dtx = dtx.clone();
            async move {
                // Side by side, so that they share commits.
                let mut submits = tokio::task::JoinSet::new();
                for _ in 0..CALLERS {
                    let dtx = dtx.clone();
                    submits.spawn(async move {
                        for _ in 0..count / CALLERS {
                            drop(
                                dtx.submit(nothing::transaction(Pattern::TwoPhaseSaga))
                                    .await
                                    .unwrap(),
                            );
                        }
                    });
                }
                while submits.join_next().await.is_some() {}
            }
        };
        open(WARM).await;
        let before = resident_bytes();
        open(OPEN).await;
        let grown = resident_bytes() - before;
        grown as f64 / OPEN as f64
    });
    let floor = format!("{OPEN} open 2PS with three operations");
    judge("memory per open transaction, bytes", &floor, bytes, 1_024.0, true)
}
