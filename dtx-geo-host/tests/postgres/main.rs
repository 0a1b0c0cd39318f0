//! Plans that are carried out on PostgreSQL. Three regions have a server for the data of which they
//! are the home, and standbys for those of others, which follow through proxies that hold them up
//! for half of a round trip of the shipped map. What a plan says is durable where is what the
//! servers wait for; then a way is cut or a region is lost, and what was told must be there.
#![allow(missing_docs)]

mod copy;
mod data;
mod eventual;
mod loss;
mod pay;
#[path = "../nats/proxy.rs"]
mod proxy;
mod region;
mod strong;

use std::time::Duration;

use dtx_geo::{
    model::{Provider, RttMap, Shipped},
    plan::{DataOperation, Mode, PlanMap, Shape},
};

pub(crate) const NAMES: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];

/// How far copies may be behind.
pub(crate) const LAG: Duration = Duration::from_secs(1);

const ZONES: Duration = Duration::from_millis(1);

pub(crate) fn map() -> RttMap {
    Shipped::rtt(Provider::Aws).symmetric().select(&NAMES).expect("they are in the map")
}

pub(crate) fn rtt(from: usize, to: usize) -> Duration {
    map().rtt(from, to).expect("every pair is known").value
}

pub(crate) fn plans() -> PlanMap {
    PlanMap::new(&map(), ZONES, LAG).expect("every pair is known")
}

/// A transaction that a client in a region waits for.
pub(crate) fn shape<'a>(
    client: usize,
    mode: Mode,
    operations: &'a [DataOperation<'a>],
) -> Shape<'a> {
    Shape { client, mode, operations, rounds: 1, allowed: &[true; 3] }
}

/// A write to data that has a home in one region and copies in others.
pub(crate) fn write(home: usize, copies: &[usize]) -> DataOperation<'_> {
    let staleness = Duration::ZERO;
    DataOperation { write: true, pooled: false, home, copies, staleness, bytes: 0 }
}
