//! What is durable where before the client is told: in most regions, or in most zones.

use std::sync::Arc;

use dtx_geo::plan::{Kind, Mode};
use dtx_transport_inmem::InMemoryTransport;
use tokio::time::Instant;

use crate::{
    NAMES,
    data::{Data, until},
    pay::{SCHEMA, paid, serve},
    plans,
    proxy::Line,
    region::{commit, coordinate, not_told, told},
    rtt, shape, write,
};

/// The home of payments, from which it is coordinated, and that of what is bought.
pub(crate) const PAYS: usize = 0;
pub(crate) const BUYS: usize = 1;
/// The third region.
pub(crate) const OTHER: usize = 2;

/// Payments and purchases on two servers, which wait for what the plan of a checkout says.
pub(crate) async fn most_regions(test: &str) -> (Data, Data) {
    let operations = [write(PAYS, &[BUYS, OTHER]), write(BUYS, &[PAYS, OTHER])];
    let shape = shape(PAYS, Mode::StrongGlobal, &operations);
    let plan = plans().plan(&shape).expect("it can be had");
    assert_eq!((plan.kind, plan.coordinator), (Kind::TwoPhase, PAYS));
    assert_eq!(plan.served_by, [PAYS, BUYS]);
    let durability = plans().durability(&shape, &plan);
    let payments = Data::start(&format!("{test}-payments"), PAYS).with_copies(&[BUYS, OTHER]);
    let purchases = Data::start(&format!("{test}-purchases"), BUYS).with_copies(&[PAYS, OTHER]);
    let (payments, purchases) = (payments.await, purchases.await);
    let [Some(paying), Some(buying)] = &durability.writes[..] else { panic!("both are writes") };
    payments.wait_for(paying).await;
    purchases.wait_for(buying).await;
    // Decisions are on the server of the payments.
    let mut decision = durability.decision.expect("it has one");
    decision.regions.sort_unstable();
    assert_eq!((decision.regions, decision.needed), (paying.regions.clone(), paying.needed));
    (payments, purchases)
}

pub(crate) const BOTH: [&str; 2] = ["payment", "purchase"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strong_global_is_told_once_most_regions_have_it() {
    let (mut payments, mut purchases) = most_regions("global").await;
    let transport = Arc::new(InMemoryTransport::new());
    let paying = serve("payment", &payments.store(SCHEMA).await, &transport).await;
    let buying = serve("purchase", &purchases.store(SCHEMA).await, &transport).await;
    let dtx = coordinate(payments.store("dtx").await, &transport).await;
    let began = Instant::now();
    told(&mut dtx.submit(commit("first", &BOTH)).await.expect("it is taken")).await;
    // The vote was at a standby, and then the decision.
    let nearest = |home: usize| (0..3).filter(|to| *to != home).map(|to| rtt(home, to)).min();
    let least = nearest(PAYS).expect("there are others") * 2;
    assert!(began.elapsed() >= least, "{:?} < {least:?}", began.elapsed());
    // No other region has what is bought.
    purchases.set_ways(Line::Silent);
    let mut second = dtx.submit(commit("second", &BOTH)).await.expect("it is taken");
    not_told(&mut second).await;
    purchases.follower(NAMES[OTHER]).way.set(Line::Open);
    told(&mut second).await;
    // Its home is lost at once. The region that was cut off all the time does not have it.
    purchases.lose(BUYS);
    drop(buying);
    purchases.fail_over().await;
    assert_eq!(purchases.home, OTHER, "it has most");
    let bought = purchases.store(SCHEMA).await;
    let buying = serve("purchase", &bought, &transport).await;
    until("it is bought", async || paid(&bought).await.get("second") == Some(&1)).await;
    // No other region has the decision.
    payments.set_ways(Line::Silent);
    let third = dtx.try_submit(commit("third", &BOTH));
    let mut third = Box::pin(async { third.await.expect("it is taken").outcome().await });
    let early = tokio::time::timeout(std::time::Duration::from_millis(2_500), &mut third).await;
    assert!(early.is_err(), "told too early: {early:?}");
    payments.follower(NAMES[BUYS]).way.set(Line::Open);
    assert_eq!(third.await.expect("it is read").to_string(), "committed");
    payments.lose(PAYS);
    drop((paying, dtx));
    payments.fail_over().await;
    let paid_there = payments.store(SCHEMA).await;
    let _paying = serve("payment", &paid_there, &transport).await;
    let dtx = coordinate(payments.store("dtx").await, &transport).await;
    told(&mut dtx.submit(commit("third", &BOTH)).await.expect("it is known")).await;
    let all = ["first", "second", "third"].map(|what| (what.to_owned(), 1));
    for store in [&paid_there, &bought] {
        until("all is done once", async || paid(store).await == all.clone().into()).await;
    }
    drop(buying);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strong_regional_is_told_once_most_zones_have_it_and_no_other_region() {
    let operations = [write(PAYS, &[BUYS])];
    let shape = shape(PAYS, Mode::StrongRegional, &operations);
    let plan = plans().plan(&shape).expect("it can be had");
    assert_eq!((plan.kind, plan.coordinator), (Kind::Local, PAYS));
    let durability = plans().durability(&shape, &plan);
    let written = durability.writes[0].as_ref().expect("it is a write");
    assert_eq!((&written.regions[..], written.needed), (&[PAYS][..], 1));
    // The home alone has to have it: in most of its three zones.
    let mut data = Data::start("regional", PAYS).with_copies(&[BUYS]).await;
    let zones = ["zone-b", "zone-c"];
    for zone in zones {
        data.follow(zone, PAYS).await;
    }
    data.wait_for_any(1, zones).await;
    let transport = Arc::new(InMemoryTransport::new());
    let paying = serve("payment", &data.store(SCHEMA).await, &transport).await;
    let dtx = coordinate(data.store("dtx").await, &transport).await;
    data.set_ways(Line::Silent);
    told(&mut dtx.submit(commit("first", &["payment"])).await.expect("it is taken")).await;
    // One zone is lost, and then another one: nobody else has what comes now.
    data.followers.retain(|follower| follower.name != "zone-c");
    told(&mut dtx.submit(commit("second", &["payment"])).await.expect("it is taken")).await;
    data.follower("zone-b").way.set(Line::Silent);
    let third = dtx.try_submit(commit("third", &["payment"]));
    let mut third = Box::pin(async { third.await.expect("it is taken").outcome().await });
    let early = tokio::time::timeout(std::time::Duration::from_millis(2_500), &mut third).await;
    assert!(early.is_err(), "told too early: {early:?}");
    data.follower("zone-b").way.set(Line::Open);
    assert_eq!(third.await.expect("it is read").to_string(), "committed");
    // The zone of the server is lost. The copy in the other region never had anything, and maybe
    // not even the table.
    const SIZE: &str = "SELECT coalesce(pg_relation_size(to_regclass('shop.paid')), 0)::bigint";
    let behind: i64 = crate::data::ask(&data.follower(NAMES[BUYS]).server, SIZE).await;
    assert_eq!(behind, 0, "another region was waited for");
    data.server.kill().expect("it is killed");
    drop((paying, dtx));
    data.followers.retain(|follower| follower.region == PAYS);
    let follower = data.followers.remove(0);
    assert!(crate::data::ask::<bool>(&follower.server, "SELECT pg_promote(true, 60)").await);
    data.server = follower.server;
    crate::data::run(&data.server, "ALTER SYSTEM RESET synchronous_standby_names").await;
    crate::data::run(&data.server, "SELECT pg_reload_conf()").await;
    let store = data.store(SCHEMA).await;
    let all = ["first", "second", "third"].map(|what| (what.to_owned(), 1));
    assert_eq!(paid(&store).await, all.into());
}
