//! The regions of `dtx sim --regions P`.

use std::sync::Arc;

use dtx::geo::{
    model::{Provider, Rng, Shipped, Ways},
    phase::{Aim, GeoPlacement},
};
use dtx_sim::Regions;

/// The shipped regions of a provider, with their ways and their jitter. Coordinators are in them
/// with GA, so that they ask each region at its time.
pub(super) fn regions(provider: Provider) -> Regions {
    let map = Shipped::rtt(provider);
    let ways = Ways::new(&map, &Shipped::jitter(provider));
    let names = map.regions().to_vec();
    let one_way = move |from, to, draw: &mut dtx_sim::Draw| {
        ways.one_way(from, to, &mut Rng::new(draw.below(u64::MAX), 0))
    };
    Regions::new(names, one_way).with_placement(move |region| {
        let placement = GeoPlacement::new(&map, region, Aim::Locks);
        Arc::new(placement.expect("the regions are those of the map"))
    })
}
