//! Round trips between the regions of one provider.

use std::{collections::BTreeMap, time::Duration};

use dtx_core::name::RegionName;

use crate::model::{
    LoadError, Provider, RegionId, estimate,
    load::{Line, lines},
};

/// The most regions in one map.
pub const MAP_REGIONS_MAX: usize = 128;

/// Where a round trip comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The source has it.
    Measured,
    /// The source has the other direction only.
    Reverse,
    /// Nobody measured it: it is the middle between what the triangles over other regions allow.
    Estimated,
    /// The sum of a way over other regions, which is shorter than the direct one.
    Relayed,
}

/// A round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    /// How long it takes.
    pub value: Duration,
    /// Where that is known from.
    pub origin: Origin,
}

/// The round trips between regions, for each direction of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RttMap {
    regions: Vec<RegionName>,
    cells: Vec<Option<Rtt>>,
}

const HEADER: [&str; 3] = ["region_a", "region_b", "rtt_ms"];

impl RttMap {
    /// Reads the lines of one provider out of a file with the columns `region_a`, `region_b` and
    /// `rtt_ms`. The regions are in the order of their names.
    ///
    /// Missing pairs are filled in and marked: from the other direction, else by an estimate from
    /// the triangles over other regions. The distance of a region to itself is zero where the
    /// file does not give it. A pair that no other region connects stays unknown.
    ///
    /// # Errors
    /// [`LoadError`], which names line and field.
    pub fn load(text: &str, provider: Provider) -> Result<Self, LoadError> {
        let mut pairs = BTreeMap::new();
        lines(text, &HEADER, |line| {
            let (from, to) = (region(line, 0)?, region(line, 1)?);
            if from.provider != to.provider {
                return Err(line.wrong(1, "it is a region of another provider"));
            }
            let value = line.millis(2)?;
            if from.provider != provider {
                return Ok(());
            }
            let pair = format!("{from} to {to}");
            if pairs.insert((from.name, to.name), value).is_some() {
                return Err(LoadError::Twice { line: line.number, pair });
            }
            Ok(())
        })?;
        let mut regions: Vec<_> =
            pairs.keys().flat_map(|(from, to)| [from.clone(), to.clone()]).collect();
        regions.sort();
        regions.dedup();
        if regions.len() > MAP_REGIONS_MAX {
            return Err(LoadError::TooMany { limit: MAP_REGIONS_MAX });
        }
        let measured = |from: &RegionName, to: &RegionName| {
            let known = pairs.get(&(from.clone(), to.clone())).copied();
            known.or_else(|| (from == to).then_some(Duration::ZERO))
        };
        Ok(Self::from_measured(regions, measured))
    }

    /// A map of these regions with the round trips that `measured` knows; the others are filled in
    /// as [`load`](Self::load) does.
    pub fn from_measured(
        regions: Vec<RegionName>,
        measured: impl Fn(&RegionName, &RegionName) -> Option<Duration>,
    ) -> Self {
        let mut cells = Vec::with_capacity(regions.len() * regions.len());
        for from in &regions {
            for to in &regions {
                let direct = measured(from, to).map(|value| (value, Origin::Measured));
                let known =
                    direct.or_else(|| measured(to, from).map(|value| (value, Origin::Reverse)));
                cells.push(known.map(|(value, origin)| Rtt { value, origin }));
            }
        }
        let mut map = Self { regions, cells };
        estimate::fill(&mut map);
        map
    }

    /// The regions, in the order of their indexes.
    pub fn regions(&self) -> &[RegionName] {
        &self.regions
    }

    /// The index of a region.
    pub fn index(&self, region: &str) -> Option<usize> {
        self.regions.iter().position(|known| known.as_str() == region)
    }

    /// The round trip from one region to another, by index.
    pub fn rtt(&self, from: usize, to: usize) -> Option<Rtt> {
        self.cells.get(from * self.regions.len() + to).copied().flatten()
    }

    pub(super) fn set(&mut self, from: usize, to: usize, rtt: Rtt) {
        let at = from * self.regions.len() + to;
        self.cells[at] = Some(rtt);
    }

    /// The map of some of the regions, in the given order; `None` when one is not in it.
    pub fn select(&self, regions: &[&str]) -> Option<Self> {
        let indexes: Option<Vec<_>> = regions.iter().map(|name| self.index(name)).collect();
        let indexes = indexes?;
        let cells = indexes.iter().flat_map(|from| indexes.iter().map(|to| self.rtt(*from, *to)));
        let cells = cells.collect();
        Some(Self { regions: indexes.iter().map(|i| self.regions[*i].clone()).collect(), cells })
    }

    /// The same map with both directions of each pair set to their mean. A round trip has no
    /// direction; what differs between the two is when they were measured.
    #[must_use]
    pub fn symmetric(&self) -> Self {
        let mut map = self.clone();
        for from in 0..self.regions.len() {
            for to in from + 1..self.regions.len() {
                if let (Some(there), Some(back)) = (self.rtt(from, to), self.rtt(to, from)) {
                    let value = (there.value + back.value) / 2;
                    map.set(from, to, Rtt { value, origin: there.origin });
                    map.set(to, from, Rtt { value, origin: back.origin });
                }
            }
        }
        map
    }

    /// The shortest way between each pair, over other regions where that is shorter.
    ///
    /// Round trips are no metric: about a third of the pairs are beaten by a way over a third
    /// region. So a lower bound on latency, and every theorem that needs the triangle inequality,
    /// holds for the closure and not for the map.
    #[must_use]
    pub fn closure(&self) -> Self {
        let mut map = self.clone();
        for over in 0..self.regions.len() {
            for from in 0..self.regions.len() {
                let Some(first) = map.rtt(from, over) else { continue };
                for to in (0..self.regions.len()).filter(|to| *to != from) {
                    let Some(second) = map.rtt(over, to) else { continue };
                    let value = first.value + second.value;
                    if map.rtt(from, to).is_none_or(|direct| value < direct.value) {
                        map.set(from, to, Rtt { value, origin: Origin::Relayed });
                    }
                }
            }
        }
        map
    }
}

pub(super) fn region(line: &Line<'_>, field: usize) -> Result<RegionId, LoadError> {
    line.parse(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn names(names: &[&str]) -> Vec<RegionName> {
        names.iter().map(|name| RegionName::new(name).expect("a name")).collect()
    }

    #[test]
    fn errors_name_the_line_and_the_field() {
        let load = |body: &str| {
            let text = format!("region_a,region_b,rtt_ms\n{body}");
            RttMap::load(&text, Provider::Aws).expect_err("an error").to_string()
        };
        assert_eq!(
            load("aws/a,aws/b,1\naws/a,aws/c,x\n"),
            "line 3, field rtt_ms: \"x\": invalid float literal"
        );
        assert_eq!(
            load("aws/a,aws/b,-1\n"),
            "line 2, field rtt_ms: \"-1\": it must be a number from 0"
        );
        assert_eq!(
            load("aws/a,aws/b,3600001\n"),
            "line 2, field rtt_ms: \"3600001\": it is longer than an hour"
        );
        assert!(load("aws/a,aws/b,NaN\n").contains("field rtt_ms"));
        assert!(
            load("aws/A,aws/b,1\n").starts_with("line 2, field region_a: \"aws/A\": region name")
        );
        assert!(load("aws/a,gcp/b,1\n").contains("field region_b"));
        assert!(load("aws/a,aws/b\n").starts_with("line 2: "));
        assert_eq!(
            load("aws/a,aws/b,1\naws/a,aws/b,2\n"),
            "line 3: aws/a to aws/b was given before"
        );
        let header = RttMap::load("a,b,c\n", Provider::Aws).expect_err("another header");
        assert!(header.to_string().starts_with("line 1: the header is \"a,b,c\""));
    }

    #[test]
    fn a_map_of_the_most_regions_loads_and_one_more_does_not() {
        let text = |regions: usize| {
            let lines = (1..regions).map(|i| format!("aws/r0,aws/r{i},1\n"));
            format!("region_a,region_b,rtt_ms\n{}", lines.collect::<String>())
        };
        let full = RttMap::load(&text(MAP_REGIONS_MAX), Provider::Aws).expect("the most");
        assert_eq!(full.regions().len(), MAP_REGIONS_MAX);
        assert!(matches!(
            RttMap::load(&text(MAP_REGIONS_MAX + 1), Provider::Aws),
            Err(LoadError::TooMany { .. })
        ));
    }

    #[test]
    fn the_closure_takes_the_way_over_a_third_region() {
        let map = RttMap::from_measured(names(&["a", "b", "c"]), |from, to| {
            match (from.as_str(), to.as_str()) {
                ("a", "c") | ("c", "a") => Some(ms(200)),
                (from, to) if from == to => Some(ms(0)),
                _ => Some(ms(30)),
            }
        });
        let closed = map.closure();
        assert_eq!(closed.rtt(0, 2), Some(Rtt { value: ms(60), origin: Origin::Relayed }));
        assert_eq!(closed.rtt(0, 1), Some(Rtt { value: ms(30), origin: Origin::Measured }));
        assert_eq!(closed.closure(), closed);
    }

    #[test]
    fn what_is_missing_is_filled_in_and_marked() {
        let map = RttMap::from_measured(names(&["a", "b", "c"]), |from, to| {
            match (from.as_str(), to.as_str()) {
                ("a", "b") => Some(ms(40)),
                ("b", "c") => Some(ms(60)),
                _ => None,
            }
        });
        assert_eq!(map.rtt(1, 0), Some(Rtt { value: ms(40), origin: Origin::Reverse }));
        assert_eq!(map.rtt(0, 2).map(|rtt| rtt.origin), Some(Origin::Estimated));
        let apart = RttMap::from_measured(names(&["a", "b"]), |_, _| None);
        assert_eq!(apart.rtt(0, 1), None);
    }

    #[test]
    fn directions_are_averaged_and_regions_selected() {
        let map = RttMap::from_measured(names(&["a", "b"]), |from, _| {
            Some(if from.as_str() == "a" { ms(10) } else { ms(20) })
        });
        assert_eq!(map.symmetric().rtt(0, 1).map(|rtt| rtt.value), Some(ms(15)));
        let other = map.select(&["b", "a"]).expect("both are there");
        assert_eq!(other.rtt(0, 1), map.rtt(1, 0));
        assert_eq!(map.select(&["c"]), None);
    }
}
