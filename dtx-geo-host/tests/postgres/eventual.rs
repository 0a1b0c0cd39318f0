//! `EventualGlobal`: durable in the nearest region when the client is told, and in the others later.

use std::sync::Arc;

use dtx_geo::plan::{Kind, Mode};
use dtx_transport_inmem::InMemoryTransport;

use crate::{
    data::{Data, until},
    pay::{SCHEMA, paid, serve},
    plans,
    region::{coordinate, spread, told},
    shape, write,
};

/// The region of the client, which has a copy, and the home.
const NEAR: usize = 2;
const HOME: usize = 0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eventual_global_is_told_at_once_and_reaches_the_others_when_they_are_there() {
    let operations = [write(HOME, &[1, NEAR])];
    let shape = shape(NEAR, Mode::EventualGlobal, &operations);
    let plan = plans().plan(&shape).expect("it can be had");
    assert_eq!((plan.kind, &plan.served_by[..]), (Kind::Eventual, &[NEAR][..]));
    let durability = plans().durability(&shape, &plan);
    let written = durability.writes[0].as_ref().expect("it is a write");
    assert_eq!((&written.regions[..], written.needed), (&[NEAR][..], 1));
    // Each region takes writes by itself.
    let near = Data::start("eventual-near", NEAR);
    let mut home = Data::start("eventual-home", HOME);
    let other = Data::start("eventual-other", 1);
    let transport = Arc::new(InMemoryTransport::new());
    let (near_store, other_store) = (near.store(SCHEMA).await, other.store(SCHEMA).await);
    let _near = serve("wallet-near", &near_store, &transport).await;
    let _other = serve("wallet-other", &other_store, &transport).await;
    let home_store = home.store(SCHEMA).await;
    let serves_home = serve("wallet-home", &home_store, &transport).await;
    let dtx = coordinate(near.store("dtx").await, &transport).await;
    let all = ["wallet-near", "wallet-other", "wallet-home"];
    // The home is down.
    drop(serves_home);
    home.server.kill().expect("it is killed");
    let mut handle = dtx.submit(spread("first", &all)).await.expect("it is taken");
    told(&mut handle).await;
    assert_eq!(paid(&near_store).await, [("first".to_owned(), 1)].into());
    home.server.restart().expect("it starts again");
    assert!(paid(&home_store).await.is_empty(), "it was there before anybody sent it");
    let _home = serve("wallet-home", &home_store, &transport).await;
    for store in [&home_store, &other_store] {
        until("it arrives", async || paid(store).await.get("first") == Some(&1)).await;
    }
    assert_eq!(handle.finished().await.expect("it ends").to_string(), "committed");
    for store in [&near_store, &home_store, &other_store] {
        assert_eq!(paid(store).await, [("first".to_owned(), 1)].into(), "once");
    }
}
