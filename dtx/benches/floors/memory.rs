//! Memory per open transaction: commands out, replies withheld.

use std::time::Duration;

use dtx::prelude::*;

use super::{judge, noop};

const OPEN: usize = 100_000;

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
        let store = MemoryStore::new();
        let transport = InMemoryTransport::builder().pending_messages_max(1).build().unwrap();
        let mut settings = CoordinatorSettings { in_flight_max: OPEN * 2, ..Default::default() };
        settings.engine.attempt_timeout_min = Duration::from_secs(3_600);
        settings.engine.attempt_timeout_max = Duration::from_secs(3_600);
        settings.engine.deadline = Duration::from_secs(7_200);
        let dtx = Dtx::builder()
            .store(store)
            .transport(transport)
            .settings(settings)
            .allow_volatile()
            .start()
            .await
            .unwrap();
        let mut handles = Vec::with_capacity(OPEN);
        for _ in 0..1_000 {
            handles.push(dtx.submit(noop::transaction(Pattern::TwoPhaseSaga)).await.unwrap());
        }
        let before = resident_bytes();
        for _ in 1_000..OPEN {
            let handle = dtx.submit(noop::transaction(Pattern::TwoPhaseSaga)).await.unwrap();
            drop(handle);
        }
        let grown = resident_bytes() - before;
        grown as f64 / (OPEN - 1_000) as f64
    });
    let floor = format!("{OPEN} open 2PS with three operations");
    judge("memory per open transaction, bytes, memory store included", &floor, bytes, 1_024.0, true)
}
