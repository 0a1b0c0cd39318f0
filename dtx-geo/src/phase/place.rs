//! From which region a transaction is coordinated.

use std::time::Duration;

use crate::model::RttMap;

/// Where a transaction is coordinated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The index of the region.
    pub region: usize,
    /// From the client to the coordinator, all rounds, and back.
    pub latency: Duration,
}

/// The region from which a transaction of so many rounds to its participants ends soonest for its
/// client: the one with the least `round trip from the client + rounds x round trip to the
/// farthest participant`. Of equal ones it is the first. `None` when no region reaches all.
///
/// With one round nothing is gained on a map without shorter ways over third regions: stay with
/// the client. From two rounds on it pays to go to the middle of the participants.
pub fn place(map: &RttMap, client: usize, participants: &[usize], rounds: u32) -> Option<Place> {
    let latency = |region: usize| {
        let farthest = participants.iter().try_fold(Duration::ZERO, |farthest, participant| {
            Some(farthest.max(map.rtt(region, *participant)?.value))
        })?;
        Some(map.rtt(client, region)?.value + farthest * rounds)
    };
    let places = (0..map.regions().len())
        .filter_map(|region| latency(region).map(|latency| Place { region, latency }));
    places.min_by_key(|place| (place.latency, place.region))
}

#[cfg(test)]
mod tests {
    use dtx_core::name::RegionName;

    use super::*;

    fn map(millis: [[u64; 3]; 3]) -> RttMap {
        let names = ["a", "b", "c"].map(|name| RegionName::new(name).expect("a name"));
        let at = |name: &RegionName| ["a", "b", "c"].iter().position(|n| *n == name.as_str());
        RttMap::from_measured(names.to_vec(), |from, to| {
            let cell = millis[at(from).expect("known")][at(to).expect("known")];
            (cell > 0 || from == to).then(|| Duration::from_millis(cell))
        })
    }

    #[test]
    fn one_round_stays_with_the_client_and_two_go_to_the_participants() {
        let map = map([[0, 100, 110], [100, 0, 20], [110, 20, 0]]);
        let at = |rounds| place(&map, 0, &[1, 2], rounds).expect("all are reached");
        assert_eq!(at(1), Place { region: 0, latency: Duration::from_millis(110) });
        assert_eq!(at(2), Place { region: 1, latency: Duration::from_millis(140) });
        assert_eq!(at(3), Place { region: 1, latency: Duration::from_millis(160) });
    }

    #[test]
    fn of_equal_places_it_is_the_first_and_what_is_not_reached_is_none() {
        let map = map([[0, 20, 100], [20, 0, 100], [100, 100, 0]]);
        assert_eq!(place(&map, 2, &[1, 0], 1).map(|place| place.region), Some(2));
        assert_eq!(place(&map, 2, &[1, 0], 3).map(|place| place.region), Some(0));
        assert_eq!(place(&map, 2, &[9], 1), None);
    }
}
