//! A flash sale over three regions: each sells from its own part, units move to where they are
//! asked for, and the last ones are found wherever they are. Every buyer pays and takes one unit in
//! one transaction of three phases.
//!
//! Each region has a store of its own, in a file; one network is between them. In production they
//! are processes in three places, and the transport between them is a broker that all reach.
//!
//! `cargo run -p dtx --features geo --example geo_flash_sale`

use std::{error::Error, sync::Arc, time::Duration};

use dtx::{
    geo::{
        model::{Provider, Shipped},
        pool::PoolSettings,
    },
    geo_host::{PoolNode, PoolNodeSettings, PoolSpec, PoolUnits, Pools, TakeFromPool},
    prelude::*,
};

const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "sa-east-1"];
const STOCK: u64 = 60;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let map = Shipped::rtt(Provider::Aws).select(&REGIONS).ok_or("a region is not in the map")?;
    let between = Arc::new(InMemoryTransport::new());
    let mut stores = Vec::new();
    let mut nodes = Vec::new();
    for region in REGIONS {
        let store = RedbStore::open(folder.path().join(format!("{region}.redb"))).await?;
        let spec = PoolSpec::new("tickets", &map, region, PoolSettings::default())?;
        // Once in the life of a region; it is started as often as its process is.
        PoolNode::create(&store, &spec, STOCK / REGIONS.len() as u64).await?;
        let (rows, settings) = (Arc::new(store.clone()), PoolNodeSettings::default());
        nodes.push(PoolNode::start(rows, between.clone(), spec, settings).await?);
        stores.push(store);
    }

    // Everybody is in São Paulo, and wants one; a few more than there are.
    let (home, node) = (&stores[2], &nodes[2]);
    let ledger = Ledger::on(home);
    ledger.open_accounts("payment", &[("crowd".into(), 1_000_000)]).await?;
    let dtx = Dtx::builder()
        .store(home.clone())
        .transport(InMemoryTransport::new())
        .participant(ledger.participant("payment")?)
        .participant(Pools::new().with(node.handle()).participant("tickets")?)
        .start()
        .await?;
    let mut handles = Vec::new();
    for buyer in 0..STOCK + 5 {
        let checkout = Transaction::builder(Pattern::ThreePhaseSaga)
            .key(format!("buyer-{buyer}"))
            .call::<Debit>("payment", Amount { account: "crowd".into(), cents: 2_900 })
            .call::<TakeFromPool>("tickets", PoolUnits { pool: "tickets".into(), units: 1 })
            .build()?;
        handles.push(dtx.submit(checkout).await?);
    }
    let mut bought = 0;
    for handle in &mut handles {
        match handle.outcome().await? {
            Outcome::Committed => bought += 1,
            outcome => println!("no ticket: {outcome}"),
        }
    }
    // The execution follows the verdict; a shutdown waits for it.
    assert!(dtx.shutdown(Duration::from_secs(10)).await.drained);
    let mut sold = 0;
    for (region, node) in REGIONS.iter().zip(&nodes) {
        let state = node.handle().state().await?;
        println!("{region}: sold {}, free {}", state.sold, state.free);
        sold += state.sold;
    }
    println!("{bought} of {} buyers have a ticket", STOCK + 5);
    assert_eq!((sold, bought), (STOCK, STOCK));
    for node in nodes {
        node.stop().await?;
    }
    Ok(())
}
