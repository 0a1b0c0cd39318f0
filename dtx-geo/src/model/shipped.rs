//! The files that come with the library. `data/README.md` names their sources.

use crate::model::{JitterMap, Prices, Provider, Published, RttMap, ZoneMap};

const RTT: &str = include_str!("../../../data/geo/rtt.csv");
const JITTER: &str = include_str!("../../../data/geo/rtt_jitter.csv");
const PRICE: &str = include_str!("../../../data/geo/price.csv");
const ZONES: &str = include_str!("../../../data/geo/rtt_az_ibm.csv");
const PUBLISHED: &str = include_str!("../../../data/geo/tiga_medians.csv");

/// What was measured and read by others and comes with the library.
#[derive(Clone, Copy, Debug)]
pub struct Shipped;

impl Shipped {
    /// Round trips between the regions of a provider.
    pub fn rtt(provider: Provider) -> RttMap {
        RttMap::load(RTT, provider).expect("a test loads every shipped map")
    }

    /// How much the round trips of a provider vary; pairs that were not measured are not in it
    /// (all of azure and ibm).
    pub fn jitter(provider: Provider) -> JitterMap {
        JitterMap::load(JITTER, provider).expect("a test loads every shipped map")
    }

    /// Round trips between the zones of the regions of a provider. Those of ibm alone were measured;
    /// the others have the middle of these.
    pub fn zones(provider: Provider) -> ZoneMap {
        let measured = ZoneMap::load(ZONES).expect("a test loads the shipped zones");
        if provider == Provider::Ibm { measured } else { measured.elsewhere() }
    }

    /// What AWS takes for transfer.
    pub fn prices() -> Prices {
        Prices::load(PRICE).expect("a test loads the shipped prices")
    }

    /// Medians that others have measured over the regions of Google Cloud.
    pub fn published() -> Vec<Published> {
        Published::load(PUBLISHED).expect("a test loads the shipped medians")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Destination, Origin};

    #[test]
    fn every_shipped_file_loads() {
        for (provider, regions) in
            [(Provider::Aws, 19), (Provider::Azure, 48), (Provider::Gcp, 20), (Provider::Ibm, 13)]
        {
            let map = Shipped::rtt(provider);
            assert_eq!(map.regions().len(), regions, "{provider}");
            assert!((0..regions * regions).all(|i| map.rtt(i / regions, i % regions).is_some()));
            Shipped::jitter(provider);
        }
        assert_eq!(Shipped::published().len(), 24);
        let price = Shipped::prices().usd_per_gb("us-east-1", Destination::Region("us-east-2"));
        assert_eq!(price, Some(0.01));
    }

    /// Plans say 0.76 ms where nobody has measured: it is the middle of the 84 round trips of the
    /// file between two zones. The middle of what regions take to most of their zones is near it.
    #[test]
    fn what_is_said_of_zones_that_were_not_measured_comes_from_those_that_were() {
        let us = Duration::from_micros;
        let (zones, map) = (Shipped::zones(Provider::Ibm), Shipped::rtt(Provider::Ibm));
        let regions = map.regions().iter();
        let to_most: Option<Vec<_>> = regions.map(|region| zones.of(region.as_str())).collect();
        let mut to_most = to_most.expect("all were measured");
        to_most.sort_unstable();
        assert_eq!(to_most.len(), 13);
        assert_eq!([to_most[0], to_most[6], to_most[12]], [us(130), us(740), us(2_010)]);
        assert_eq!((zones.of("us-south"), zones.zones("us-south")), (Some(us(2_010)), 4));
        assert_eq!(zones.median(), us(760));
        for other in [Provider::Aws, Provider::Azure, Provider::Gcp] {
            let zones = Shipped::zones(other);
            assert_eq!((zones.of("us-south"), zones.median()), (None, us(760)), "{other}");
        }
    }

    #[test]
    fn the_two_missing_cells_of_azure_come_from_the_other_direction() {
        let map = Shipped::rtt(Provider::Azure);
        let cells = (0..48 * 48).filter_map(|i| map.rtt(i / 48, i % 48));
        assert_eq!(cells.filter(|rtt| rtt.origin == Origin::Reverse).count(), 2);
    }

    /// The share of pairs for which a way over a third region is shorter.
    #[test]
    fn round_trips_are_no_metric() {
        for (provider, low, high) in [
            (Provider::Aws, 0.30, 0.45),
            (Provider::Azure, 0.15, 0.45),
            (Provider::Gcp, 0.15, 0.45),
            (Provider::Ibm, 0.05, 0.45),
        ] {
            let map = Shipped::rtt(provider).symmetric();
            let closed = map.closure();
            let count = map.regions().len();
            let pairs = count * (count - 1);
            let beaten = (0..count * count)
                .filter(|i| i / count != i % count)
                .filter(|i| closed.rtt(i / count, i % count) != map.rtt(i / count, i % count))
                .count();
            let share = beaten as f64 / pairs as f64;
            println!("{provider}: {share:.3} of the pairs have a shorter way");
            assert!((low..high).contains(&share), "{provider} {share}");
        }
    }
}
