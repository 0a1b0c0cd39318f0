//! Settings of a host at their limit and one past it, as far as no other file has them.

use std::{sync::atomic::Ordering, time::Duration};

use dtx_core::{
    ids::ShardId, pattern::Phase, resource::barrier::INBOX_PREFIX, store::ParticipantStore,
    transport::Command,
};

use super::resources::{open, stock, take};
use crate::participant::{
    HostSettings,
    host::{
        inbox::InboxScopes,
        testing::{Coordinator, Record, command, worker},
    },
};

#[tokio::test]
async fn so_many_batches_are_in_flight_and_no_more() {
    for batches_in_flight_max in [1, 3] {
        let mut coordinator = Coordinator::new().await;
        let store = coordinator.store.clone();
        let items: Vec<_> = (1..=12).map(|number| format!("cd-{number}")).collect();
        for item in &items {
            open(&store, item, 1).await;
        }
        let commands = items.iter().zip(1..);
        coordinator.send(commands.map(|(item, n)| take(n, item, 1, Phase::Execute))).await;
        let settings =
            HostSettings { batches_in_flight_max, batch_commands_max: 1, ..Default::default() };
        let _host = coordinator.host(stock(&store), settings).await;
        coordinator.replies(12).await;
        assert_eq!(store.side_by_side.1.load(Ordering::SeqCst), batches_in_flight_max);
    }
}

#[tokio::test]
async fn up_to_conflict_retries_max_a_batch_is_run_again_and_one_past_it_is_a_fault() {
    for (conflicts, faults) in [(2, 0), (3, 1)] {
        let mut coordinator = Coordinator::new().await;
        let store = coordinator.store.clone();
        open(&store, "cd", 1).await;
        let settings =
            HostSettings { conflict_retries_max: 2, backoff_ms: 1, ..Default::default() };
        let host = coordinator.host(stock(&store), settings).await;
        store.conflicts.store(conflicts, Ordering::SeqCst);
        assert!(coordinator.ask(take(1, "cd", 1, Phase::Execute)).await.is_ok(), "in the end");
        assert_eq!(host.stats().faults, faults, "{conflicts} conflicts");
    }
}

#[tokio::test]
async fn handlers_within_inline_us_max_share_a_write_and_past_it_each_has_its_own() {
    for (inline_us_max, finishes) in [(60_000_000, 1), (0, 10)] {
        let (record, _) = Record::new();
        let mut coordinator = Coordinator::new().await;
        coordinator.send((1..=10).map(|number| command(number, Phase::Execute))).await;
        let settings = HostSettings { inline_us_max, ..HostSettings::default() };
        let _host = coordinator.host(worker(&record), settings).await;
        coordinator.replies(10).await;
        let writes = coordinator.store.writes.load(Ordering::SeqCst);
        assert_eq!(writes, 1 + finishes, "one for the claims, then those of the answers");
    }
}

#[tokio::test(start_paused = true)]
async fn each_time_so_many_rows_of_so_many_scopes_are_looked_at() {
    for (collect_rows_max, collect_scopes_max, left) in
        [(4, 1, [7, 3]), (4, 2, [3, 1]), (5, 1, [6, 1])]
    {
        let (record, _) = Record::new();
        let mut coordinator = Coordinator::new().await;
        let settings = HostSettings {
            retention_ms: 0,
            collect_interval_ms: 1_000,
            collect_rows_max,
            collect_scopes_max,
            ..HostSettings::default()
        };
        let host = coordinator.host(worker(&record), settings).await;
        let last = command(11, Phase::Execute);
        let last = Command { watermark: last.sequence, ..last };
        for one in (1..=10).map(|number| command(number, Phase::Execute)).chain([last]) {
            assert!(coordinator.ask(one).await.is_ok());
        }
        let scope = InboxScopes::new(host.participant().clone()).of(ShardId(3));
        for (time, left) in [1_500, 1_000].into_iter().zip(left) {
            let quiet = coordinator.replies.receive(1, Duration::from_millis(time)).await;
            assert!(quiet.expect("open").is_empty());
            let rows = coordinator.store.scan(&scope, INBOX_PREFIX, None, 100).await;
            let rows = rows.expect("scanned").items.len();
            assert_eq!(rows, left, "{collect_rows_max} {collect_scopes_max}");
        }
    }
}
