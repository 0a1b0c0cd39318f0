//! How long single messages between regions take.

use std::time::Duration;

use crate::model::{Jitter, JitterMap, Rng, RttMap};

/// The mean round trip of a pair of which nothing is known.
const UNKNOWN: Duration = Duration::from_secs(1);

/// The directed pairs of a map, each with its jitter: as measured, else as a mean has it
/// ([`Jitter::of_mean`]). A pair that the map does not know takes a second there and back.
#[derive(Clone, Debug)]
pub struct Ways {
    count: usize,
    jitter: Vec<Jitter>,
}

impl Ways {
    /// Of all regions of a map.
    pub fn new(map: &RttMap, jitters: &JitterMap) -> Self {
        let mut jitter = Vec::new();
        for (a, from) in map.regions().iter().enumerate() {
            for (b, to) in map.regions().iter().enumerate() {
                let mean = map.rtt(a, b).map_or(UNKNOWN, |rtt| rtt.value);
                jitter.push(jitters.get(from, to).unwrap_or_else(|| Jitter::of_mean(mean)));
            }
        }
        Self { count: map.regions().len(), jitter }
    }

    /// How long one message takes from one region to another, by their indices in the map.
    ///
    /// # Panics
    /// When the map has no such region.
    pub fn one_way(&self, from: usize, to: usize, rng: &mut Rng) -> Duration {
        assert!(from < self.count && to < self.count, "regions {from} and {to} are in the map");
        self.jitter[from * self.count + to].one_way(rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Provider, Shipped};

    #[test]
    fn each_direction_takes_about_half_of_its_round_trip() {
        let map = Shipped::rtt(Provider::Aws);
        let ways = Ways::new(&map, &Shipped::jitter(Provider::Aws));
        let (count, mut rng) = (map.regions().len(), Rng::new(1, 1));
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            let rtt = map.rtt(from, to).expect("all pairs are known").value;
            let mut ways: Vec<_> = (0..101).map(|_| ways.one_way(from, to, &mut rng)).collect();
            ways.sort_unstable();
            let off = ways[50].abs_diff(rtt / 2);
            assert!(
                off <= rtt / 10 + Duration::from_millis(1),
                "{from} to {to}: {off:?} of {rtt:?}"
            );
        }
    }
}
