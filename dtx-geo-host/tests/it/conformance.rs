//! A pool passes the suite of participants.

use std::{error::Error, sync::Arc};

use async_trait::async_trait;
use dtx_core::{
    name::ParticipantName,
    pattern::Pattern,
    store::ParticipantStore,
    transport::{Interest, Subscribe, Transport},
};
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

async fn serve(
    transport: &Arc<dyn Transport>,
    store: Arc<dyn ParticipantStore>,
) -> Result<Guard, Box<dyn Error>> {
    let settings = PoolNodeSettings::default();
    let node = PoolNode::start(store.clone(), transport.clone(), spec(), settings).await?;
    let participant = Pools::new().with(node.handle()).participant("inventory")?;
    let settings = HostSettings::default();
    let host = Host::start(participant, transport.clone(), Some(store), settings).await?;
    Ok(Box::new((host, node)))
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
        match serve(&transport, store).await.ok() {
            Some(guard) => guard,
            // The suite has broken the store meanwhile: this process gets commands, and is gone.
            None => {
                let name = ParticipantName::new("inventory").expect("a name");
                let interest = Interest::Participant(name);
                let subscribe = Subscribe { interest, group: "inventory".into(), prefetch: 16 };
                Box::new(transport.subscribe(&subscribe).await.expect("it subscribes"))
            }
        }
    }

    async fn observe(&self, store: Arc<dyn ParticipantStore>) -> i64 {
        let cells = PoolNode::read(store, &spec()).await.expect("the rows are good");
        (cells.sold() + cells.held()) as i64
    }
}

dtx_testkit::participant_conformance!(Pool);
