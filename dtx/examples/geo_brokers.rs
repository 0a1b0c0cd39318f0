//! A broker in each of two regions: what one phase asks of participants in the other region crosses
//! as one message.
//!
//! Here the brokers are in memory. In production `here` and the ways are those of NATS or Kafka, and
//! each region is a process of its own with the same directory.
//!
//! `cargo run -p dtx --features geo --example geo_brokers`

use std::{collections::BTreeMap, error::Error, sync::Arc};

use dtx::{
    geo_host::{Directory, RegionalTransport},
    name::{ParticipantName, RegionName},
    participant::{Host, HostSettings},
    prelude::*,
    store::MemoryStore,
    transport::Transport,
};

const HOME: &str = "us-east-1";
const AWAY: &str = "eu-west-1";
const SERVICES: [&str; 2] = ["payment", "insurance"];

type Brokers = BTreeMap<&'static str, InMemoryTransport>;

/// The transport of a region: its own broker, and the ways to the others.
async fn transport(own: &str, brokers: &Brokers) -> Result<RegionalTransport, Box<dyn Error>> {
    let mut directory = Directory::new(RegionName::new(own)?, RegionName::new(HOME)?);
    for service in SERVICES {
        directory = directory.participant(ParticipantName::new(service)?, RegionName::new(AWAY)?);
    }
    let mut builder = RegionalTransport::builder(directory, Arc::new(brokers[own].clone()));
    for (region, broker) in brokers.iter().filter(|(region, _)| **region != own) {
        let broker = broker.clone();
        builder = builder.way(RegionName::new(region)?, move || {
            let broker: Arc<dyn Transport> = Arc::new(broker.clone());
            async move { Ok(broker) }
        });
    }
    Ok(builder.start().await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let brokers: Brokers = [HOME, AWAY].map(|region| (region, InMemoryTransport::new())).into();
    let away = Arc::new(transport(AWAY, &brokers).await?);
    let mut hosts = Vec::new();
    for service in SERVICES {
        let ledger = Ledger::on(&MemoryStore::new());
        ledger.open_accounts(service, &[("anna".into(), 10_000)]).await?;
        let (service, settings) = (ledger.participant(service)?, HostSettings::default());
        hosts.push(Host::start(service, away.clone(), None, settings).await?);
    }
    let home = Arc::new(transport(HOME, &brokers).await?);
    let dtx = Dtx::builder().store(MemoryStore::new()).allow_volatile();
    let dtx = dtx.shared_transport(home.clone()).start().await?;
    let amount = |cents| Amount { account: "anna".into(), cents };
    let checkout = Transaction::builder(Pattern::ThreePhaseSaga)
        .call::<Debit>("payment", amount(4_200))
        .call::<Debit>("insurance", amount(300))
        .build()?;
    let outcome = dtx.submit(checkout).await?.outcome().await?;
    let stats = home.stats();
    println!("{outcome}: {} commands crossed as {} messages", stats.messages, stats.sent);
    dtx.shutdown(std::time::Duration::from_secs(5)).await;
    Ok(())
}
