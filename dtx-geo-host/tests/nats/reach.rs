//! The brokers of all regions, as one region reaches them.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    error::TransportError,
    name::{ParticipantName, RegionName},
    transport::Transport,
};
use dtx_geo_host::{Directory, RegionalSettings, RegionalTransport};
use dtx_transport_nats::{NatsSettings, NatsTransport};

use crate::plan::{BUYS, NAMES, PAYS, Plan};

/// After this a message that was received and not acknowledged comes again.
const ACK_WAIT: Duration = Duration::from_secs(1);

/// What a broker elsewhere has not taken by then is lost.
const PATIENCE: Duration = Duration::from_secs(1);

fn region(index: usize) -> RegionName {
    RegionName::new(NAMES[index]).expect("a name")
}

async fn connect(broker: String) -> Result<Arc<dyn Transport>, TransportError> {
    let settings = NatsSettings::new(&broker)?.ack_wait(ACK_WAIT);
    let transport = NatsTransport::connect(settings.publish_timeout(PATIENCE)).await?;
    Ok(Arc::new(transport))
}

/// Connects to the own broker, and to the others as soon as they can be reached.
pub(crate) async fn reach(plan: &Plan) -> RegionalTransport {
    let payment = ParticipantName::new("payment").expect("a name");
    let directory = Directory::new(region(plan.region), region(BUYS))
        .participant(payment, region(PAYS))
        .pool(&plan.spec());
    let here = connect(plan.brokers[plan.region].clone()).await.expect("the own broker is there");
    let mut builder = RegionalTransport::builder(directory, here);
    for (index, broker) in plan.brokers.iter().cloned().enumerate() {
        if index != plan.region {
            builder = builder.way(region(index), move || connect(broker.clone()));
        }
    }
    // A broker that does not answer says so itself.
    let settings = RegionalSettings { way_timeout: 2 * PATIENCE, ..RegionalSettings::default() };
    builder.settings(settings).start().await.expect("it starts")
}
