//! Two-phase sagas of three participants over Kafka, 1,024 in flight, against a bare client of the
//! same library that carries the same messages, in turns in the same run.
//!
//! `cargo xtask services exec kafka -- cargo bench -p dtx-transport-kafka --features test-kafka`

mod bare;

use std::{
    env,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dtx_bench::nothing::{self, PARTICIPANTS};
use dtx_core::{pattern::Pattern, store::MemoryStore, transport::Transport};
use dtx_runtime::coordinator::{CoordinatorSettings, Dtx};
use dtx_transport_kafka::{KafkaSettings, KafkaTransport, TopicPrefix};

use crate::bare::Bare;

/// Commands and replies of prepare and execute.
const MESSAGES: u64 = 12;
const IN_FLIGHT: usize = 1_024;
/// As the documentation of the transport recommends under load.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How many transactions a turn has.
const TURN: u64 = 8_192;
const TURNS: usize = 5;
/// And how many, one after the other, that show how long one takes alone.
const ALONE: u64 = 100;

/// The whole of dtx in this process, over Kafka.
struct Shop {
    dtx: Arc<Dtx>,
    transport: Arc<KafkaTransport>,
}

impl Shop {
    async fn open(brokers: &str, prefix: &str) -> Self {
        let settings = KafkaSettings::new(brokers).expect("brokers");
        let settings = settings.topic_prefix(TopicPrefix::new(prefix).expect("a prefix"));
        let settings = settings.patterns([Pattern::TwoPhaseSaga]);
        let transport = Arc::new(settings.connect().await.expect("it connects"));
        let shared: Arc<dyn Transport> = Arc::clone(&transport) as _;
        let mut builder = Dtx::builder().store(MemoryStore::new()).shared_transport(shared);
        for participant in nothing::participants() {
            builder = builder.participant(participant);
        }
        let mut settings = CoordinatorSettings { allow_volatile: true, ..Default::default() };
        settings.engine.attempt_timeout_min = ATTEMPT_TIMEOUT;
        let dtx = builder.settings(settings).start().await.expect("it starts");
        Self { dtx: Arc::new(dtx), transport }
    }

    /// Transactions in a second.
    async fn run(&self, count: u64, in_flight: usize) -> f64 {
        nothing::rate(&self.dtx, Pattern::TwoPhaseSaga, count, in_flight).await
    }

    async fn counts(&self) -> [u64; 5] {
        let (published, engine) = (self.transport.stats(), self.dtx.stats());
        let hosts = self.dtx.host_stats().await;
        let received = hosts.iter().map(|(_, stats)| stats.commands).sum();
        let requests = published.produce_requests;
        [engine.commands, received, engine.replies, published.messages, requests]
    }
}

#[tokio::main]
async fn main() {
    let brokers = env::var("DTX_TEST_KAFKA_BROKERS").expect("DTX_TEST_KAFKA_BROKERS is set");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let prefix = format!("bench{now}");
    let shop = Shop::open(&brokers, &prefix).await;
    shop.run(2 * IN_FLIGHT as u64, IN_FLIGHT).await;
    let bare = Arc::new(Bare::new(&brokers, &prefix).await);
    for turn in 1..=TURNS {
        let before = shop.counts().await;
        let ours = shop.run(TURN, IN_FLIGHT).await;
        let after = shop.counts().await;
        let of = Arc::clone(&bare);
        let floors = tokio::task::spawn_blocking(move || {
            (of.round_trips(TURN, IN_FLIGHT), of.one_way(TURN * MESSAGES))
        });
        let (round_trips, one_way) = floors.await.expect("no panic");
        let one_way = one_way / MESSAGES as f64;
        let share = |floor: f64| ours / floor * 100.0;
        println!(
            "turn {turn}: {ours:.0} transactions/s; bare round trips {round_trips:.0}/s ({:.0} %); \
             bare one way {one_way:.0}/s ({:.0} %)",
            share(round_trips),
            share(one_way)
        );
        let per = |at: usize| (after[at] - before[at]) as f64 / TURN as f64;
        let filled = (after[3] - before[3]) as f64 / (after[4] - before[4]).max(1) as f64;
        println!(
            "  for each: commands sent {:.3}, received {:.3}, replies received {:.3}, messages \
             {:.3}; {filled:.1} messages in each produce request",
            per(0),
            per(1),
            per(2),
            per(3),
        );
    }
    let ours = 1e3 / shop.run(ALONE, 1).await;
    let of = Arc::clone(&bare);
    let floor = tokio::task::spawn_blocking(move || of.round_trips(ALONE, 1));
    let floor = 1e3 / floor.await.expect("no panic");
    println!("alone: {ours:.1} ms a transaction; bare {floor:.1} ms");
    shop.dtx.shutdown(Duration::from_secs(10)).await;
}
