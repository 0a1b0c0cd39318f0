//! A pool passes the suite of participants.

use std::sync::Arc;

use async_trait::async_trait;
use dtx_core::{pattern::Pattern, store::ParticipantStore, transport::Transport};
use dtx_geo::{
    model::{Provider, Shipped},
    pool::PoolSettings,
};
use dtx_geo_host::{PoolNode, PoolNodeSettings, PoolSpec, PoolUnits, Pools};
use dtx_runtime::participant::{Host, HostSettings};
use dtx_testkit::participant::{Guard, ParticipantHarness, Sample};

fn spec() -> PoolSpec {
    let map = Shipped::rtt(Provider::Aws).select(&["eu-west-1"]).expect("it is in the map");
    PoolSpec::new("cds", &map, "eu-west-1", PoolSettings::default()).expect("it can be")
}

#[derive(Debug)]
struct Pool;

#[async_trait]
impl ParticipantHarness for Pool {
    fn sample() -> Sample {
        let input = |units| {
            let units = PoolUnits { pool: "cds".into(), units };
            serde_json::to_vec(&units).expect("it is JSON").into()
        };
        Sample {
            participant: "inventory",
            action: "take-from-pool",
            action_version: 1,
            input: input(3),
            refused: Some(input(1_001)),
            patterns: vec![Pattern::ThreePhaseSaga],
            effect: 3,
        }
    }

    async fn open(store: Arc<dyn ParticipantStore>) -> Self {
        PoolNode::create(&*store, &spec(), 1_000).await.expect("it is created");
        Self
    }

    async fn start(
        &self,
        transport: Arc<dyn Transport>,
        store: Arc<dyn ParticipantStore>,
    ) -> Guard {
        let settings = PoolNodeSettings::default();
        let node = PoolNode::start(store.clone(), transport.clone(), spec(), settings).await;
        // The suite breaks any write; one of a start that fails ends this process at once.
        let Ok(node) = node else { return Box::new(()) };
        let participant = Pools::new().with(node.handle()).participant("inventory");
        let participant = participant.expect("a name");
        let settings = HostSettings::default();
        let host = Host::start(participant, transport, Some(store), settings).await;
        let Ok(host) = host else { return Box::new(node) };
        Box::new((host, node))
    }

    async fn observe(&self, store: Arc<dyn ParticipantStore>) -> i64 {
        let cells = PoolNode::read(store, &spec()).await.expect("the rows are good");
        (cells.sold() + cells.held()) as i64
    }
}

dtx_testkit::participant_conformance!(Pool);
