//! Ways over other regions, where those are shorter.

use std::time::Duration;

use crate::model::RttMap;

/// For each pair the way that messages take: directly, or over regions that pass them on.
///
/// About a third of the pairs of regions are beaten by a way over a third one, by 3 % in the
/// middle and by two thirds at most. So a lower bound over all ways can be met only by passing
/// messages on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    count: usize,
    /// The first region on the way, and how long the way and back takes.
    cells: Vec<Option<(usize, Duration)>>,
}

impl Routes {
    /// The shortest ways of a map, when each region that passes a message on and its answer back
    /// adds `relay` to the round trip.
    pub fn new(map: &RttMap, relay: Duration) -> Self {
        let count = map.regions().len();
        let cells = (0..count * count)
            .map(|cell| map.rtt(cell / count, cell % count).map(|rtt| (cell % count, rtt.value)));
        let mut routes = Self { count, cells: cells.collect() };
        for over in 0..count {
            for from in (0..count).filter(|from| *from != over) {
                let Some((first, there)) = routes.cell(from, over) else { continue };
                for to in (0..count).filter(|to| *to != from && *to != over) {
                    let Some((_, further)) = routes.cell(over, to) else { continue };
                    let value = there + relay + further;
                    if routes.cell(from, to).is_none_or(|direct| value < direct.1) {
                        routes.cells[from * count + to] = Some((first, value));
                    }
                }
            }
        }
        routes
    }

    fn cell(&self, from: usize, to: usize) -> Option<(usize, Duration)> {
        self.cells.get(from * self.count + to).copied().flatten().filter(|_| to < self.count)
    }

    /// How long the way and back takes; `None` where there is none.
    pub fn rtt(&self, from: usize, to: usize) -> Option<Duration> {
        self.cell(from, to).map(|cell| cell.1)
    }

    /// The regions of the way after `from`, with `to` as the last; none when there is no way.
    pub fn way(&self, from: usize, to: usize) -> Vec<usize> {
        let mut way = Vec::new();
        let mut at = from;
        while let Some((next, _)) = self.cell(at, to) {
            way.push(next);
            if next == to || way.len() > self.count {
                break;
            }
            at = next;
        }
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Provider, Shipped};

    #[test]
    fn ways_are_as_long_as_the_closure_says_and_the_sum_of_their_parts() {
        for provider in Provider::ALL {
            let map = Shipped::rtt(provider);
            let (closed, routes) = (map.closure(), Routes::new(&map, Duration::ZERO));
            let count = map.regions().len();
            for (from, to) in (0..count * count).map(|cell| (cell / count, cell % count)) {
                if from == to {
                    continue;
                }
                assert_eq!(routes.rtt(from, to), closed.rtt(from, to).map(|rtt| rtt.value));
                let mut at = from;
                let parts = routes.way(from, to).into_iter().map(|next| {
                    let rtt = map.rtt(std::mem::replace(&mut at, next), next);
                    rtt.expect("a part of a way is known").value
                });
                assert_eq!(Some(parts.sum()), routes.rtt(from, to), "{provider} {from} {to}");
                assert_eq!(at, to);
            }
        }
    }

    #[test]
    fn passing_on_costs_and_is_done_only_where_it_pays() {
        let map = Shipped::rtt(Provider::Aws);
        let free = Routes::new(&map, Duration::ZERO);
        let dear = Routes::new(&map, Duration::from_secs(10));
        let relayed = |routes: &Routes| {
            let pairs = (0..19 * 19).filter(|cell| cell / 19 != cell % 19);
            pairs.filter(|cell| routes.way(cell / 19, cell % 19).len() > 1).count()
        };
        assert!(relayed(&free) > 100 && relayed(&dear) == 0, "{}", relayed(&free));
        assert_eq!((free.rtt(0, 19), free.way(0, 19)), (None, Vec::new()));
    }
}
