//! Two-phase sagas of three participants over NATS, 1,024 in flight, against a bare client of the
//! same library that carries the same messages, in turns in the same run.
//!
//! `cargo xtask services exec nats -- cargo bench -p dtx-transport-nats --features test-nats`

mod bare;

use std::{env, sync::Arc, time::Duration};

use dtx_bench::nothing::{self, PARTICIPANTS};
use dtx_core::{pattern::Pattern, store::MemoryStore};
use dtx_runtime::coordinator::{CoordinatorSettings, Dtx};
use dtx_transport_nats::{NatsSettings, NatsTransport};

use crate::bare::{Bare, Samples};

/// Commands and replies of prepare and execute.
const MESSAGES: usize = 12;
const IN_FLIGHT: usize = 1_024;
/// As the documentation of the transport recommends under load.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How many transactions a turn has.
const TURN: usize = 8_192;
const TURNS: usize = 5;
/// And how many, one after the other, that show how long one takes alone.
const ALONE: usize = 100;

/// The whole of dtx in this process, over NATS.
struct Shop {
    dtx: Arc<Dtx>,
}

impl Shop {
    async fn open(url: &str, prefix: &str) -> Self {
        let settings = NatsSettings::new(url).expect("an address").prefix(prefix);
        let transport = NatsTransport::connect(settings.expect("a prefix")).await;
        let mut builder =
            Dtx::builder().store(MemoryStore::new()).transport(transport.expect("there"));
        for participant in nothing::participants() {
            builder = builder.participant(participant);
        }
        let mut settings = CoordinatorSettings { allow_volatile: true, ..Default::default() };
        settings.engine.attempt_timeout_min = ATTEMPT_TIMEOUT;
        let dtx = builder.settings(settings).start().await.expect("it starts");
        Self { dtx: Arc::new(dtx) }
    }

    /// Transactions in a second.
    async fn run(&self, count: usize, in_flight: usize) -> f64 {
        nothing::rate(&self.dtx, Pattern::TwoPhaseSaga, count as u64, in_flight).await
    }

    async fn counts(&self) -> [u64; 3] {
        let engine = self.dtx.stats();
        let hosts = self.dtx.host_stats().await;
        [engine.commands, hosts.iter().map(|(_, stats)| stats.commands).sum(), engine.replies]
    }
}

#[tokio::main]
async fn main() {
    let url = env::var("DTX_TEST_NATS_URL").expect("DTX_TEST_NATS_URL is set");
    let prefix = format!("b{}", uuid::Uuid::new_v4().simple());
    let samples = Samples::of(&url, &prefix).await;
    let shop = Shop::open(&url, &prefix).await;
    shop.run(2 * IN_FLIGHT, IN_FLIGHT).await;
    let bare = Arc::new(Bare::new(&url, &prefix, samples).await);
    for turn in 1..=TURNS {
        let before = shop.counts().await;
        let ours = shop.run(TURN, IN_FLIGHT).await;
        let after = shop.counts().await;
        let round_trips = bare.round_trips(TURN, IN_FLIGHT).await;
        let one_way = bare.one_way(TURN * MESSAGES).await / MESSAGES as f64;
        let share = |floor: f64| ours / floor * 100.0;
        println!(
            "turn {turn}: {ours:.0} transactions/s; bare round trips {round_trips:.0}/s ({:.0} %); \
             bare one way {one_way:.0}/s ({:.0} %)",
            share(round_trips),
            share(one_way)
        );
        let per = |at: usize| (after[at] - before[at]) as f64 / TURN as f64;
        println!(
            "  for each: commands sent {:.3}, received {:.3}, replies received {:.3}",
            per(0),
            per(1),
            per(2),
        );
    }
    let ours = 1e3 / shop.run(ALONE, 1).await;
    let floor = 1e3 / bare.round_trips(ALONE, 1).await;
    println!("alone: {ours:.2} ms a transaction; bare {floor:.2} ms");
    shop.dtx.shutdown(Duration::from_secs(10)).await;
}
