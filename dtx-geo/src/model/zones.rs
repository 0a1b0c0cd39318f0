//! Round trips between the zones of a region.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dtx_core::name::RegionName;

use crate::model::{
    LoadError, MAP_REGIONS_MAX,
    load::{Line, lines},
};

/// The most zones of one region.
pub const ZONES_MAX: usize = 16;

const HEADER: [&str; 3] = ["zone_a", "zone_b", "rtt_ms"];

/// How long it takes until what one zone of a region has is in most of its zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneMap {
    regions: BTreeMap<RegionName, Zones>,
    median: Duration,
}

/// One region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Zones {
    count: usize,
    to_most: Option<Duration>,
}

/// What a file says of one region: by where they begin and end.
#[derive(Default)]
struct Measured {
    zones: BTreeSet<String>,
    trips: BTreeMap<(String, String), Duration>,
}

impl ZoneMap {
    /// Reads a file with the columns `zone_a`, `zone_b` and `rtt_ms`. A zone is written
    /// `REGION-CENTER-LETTER`, as in `eu-de-fra02-a`, and both of a line are of one region. A
    /// direction that is missing is taken from the other one; lines from a zone to itself are read
    /// and not used.
    ///
    /// # Errors
    /// [`LoadError`], which names line and field.
    pub fn load(text: &str) -> Result<Self, LoadError> {
        let mut regions: BTreeMap<RegionName, Measured> = BTreeMap::new();
        lines(text, &HEADER, |line| {
            let (region, other) = (region_of(line, 0)?, region_of(line, 1)?);
            if region != other {
                return Err(line.wrong(1, "it is a zone of another region"));
            }
            if regions.len() == MAP_REGIONS_MAX && !regions.contains_key(&region) {
                return Err(LoadError::TooMany { limit: MAP_REGIONS_MAX });
            }
            let measured = regions.entry(region).or_default();
            for field in [0, 1] {
                measured.zones.insert(line.text(field).to_owned());
                if measured.zones.len() > ZONES_MAX {
                    let reason = format!("its region has more than {ZONES_MAX} zones");
                    return Err(line.wrong(field, reason));
                }
            }
            let pair = (line.text(0).to_owned(), line.text(1).to_owned());
            let name = format!("{} to {}", pair.0, pair.1);
            if measured.trips.insert(pair, line.millis(2)?).is_some() {
                return Err(LoadError::Twice { line: line.number, pair: name });
            }
            Ok(())
        })?;
        let between = regions.values().flat_map(|measured| &measured.trips);
        let between = between.filter(|((from, to), _)| from != to).map(|(_, trip)| *trip);
        let median = middle(between.collect()).ok_or_else(|| {
            let reason = "no line is between two zones".to_owned();
            LoadError::Form { line: 1, reason }
        })?;
        let zones =
            |measured: Measured| Zones { count: measured.zones.len(), to_most: measured.to_most() };
        let regions = regions.into_iter().map(|(region, measured)| (region, zones(measured)));
        Ok(Self { regions: regions.collect(), median })
    }

    /// The round trip from the home zone of a region to as many others as make most of its zones
    /// with it: the nearest other of two or three, the second nearest of four or five.
    ///
    /// Which zone is home is nobody's promise: it is chosen by where a service was started, and
    /// moves when that zone is lost. So it is the round trip from the worst one, and nothing takes
    /// longer than it says because of the zone. `None` where a region was not measured, or not
    /// between enough of its zones.
    pub fn of(&self, region: &str) -> Option<Duration> {
        self.found(region)?.to_most
    }

    /// How many zones of a region were measured.
    pub fn zones(&self, region: &str) -> usize {
        self.found(region).map_or(0, |zones| zones.count)
    }

    /// The middle of all round trips that were measured between two zones of a region, for a region
    /// that was not measured: neither its zones nor how many they are is known of that one.
    pub fn median(&self) -> Duration {
        self.median
    }

    /// What is known of other regions than those of the file: the middle alone.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        Self { regions: BTreeMap::new(), median: self.median }
    }

    fn found(&self, region: &str) -> Option<&Zones> {
        self.regions.iter().find(|(name, _)| name.as_str() == region).map(|(_, zones)| zones)
    }
}

impl Measured {
    /// From the worst zone to most of them.
    fn to_most(&self) -> Option<Duration> {
        let others = self.zones.len() / 2;
        let from = |home: &String| {
            let trip = |to: &String| {
                let there = self.trips.get(&(home.clone(), to.clone()));
                there.or_else(|| self.trips.get(&(to.clone(), home.clone()))).copied()
            };
            let mut trips: Vec<_> =
                self.zones.iter().filter(|to| *to != home).filter_map(trip).collect();
            trips.sort_unstable();
            trips.get(others.checked_sub(1)?).copied()
        };
        let each: Option<Vec<_>> = self.zones.iter().map(from).collect();
        each?.into_iter().max()
    }
}

/// The region of the zone in a field.
fn region_of(line: &Line<'_>, field: usize) -> Result<RegionName, LoadError> {
    let mut parts = line.text(field).rsplitn(3, '-');
    let (letter, center, region) = (parts.next(), parts.next(), parts.next());
    match (letter, center, region) {
        (Some(letter), Some(center), Some(region)) if !letter.is_empty() && !center.is_empty() => {
            RegionName::new(region).map_err(|error| line.wrong(field, error))
        }
        _ => Err(line.wrong(field, "it is no zone: give REGION-CENTER-LETTER")),
    }
}

/// The middle one, or the mean of the two in the middle.
fn middle(mut trips: Vec<Duration>) -> Option<Duration> {
    trips.sort_unstable();
    let upper = *trips.get(trips.len() / 2)?;
    let lower = trips[(trips.len() - 1) / 2];
    Some((lower + upper) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn load(body: &str) -> Result<ZoneMap, LoadError> {
        ZoneMap::load(&format!("zone_a,zone_b,rtt_ms\n{body}"))
    }

    #[test]
    fn errors_name_the_line_and_the_field() {
        let error = |body: &str| load(body).expect_err("an error").to_string();
        let good = "a-x-1,a-y-1,1\n";
        assert_eq!(
            error(&format!("{good}a-x-1,a-z-1,x\n")),
            "line 3, field rtt_ms: \"x\": invalid float literal"
        );
        assert_eq!(
            error("a-x-1,a-y-1,3600001\n"),
            "line 2, field rtt_ms: \"3600001\": it is longer than an hour"
        );
        assert_eq!(
            error("a-x-1,b-y-1,1\n"),
            "line 2, field zone_b: \"b-y-1\": it is a zone of another region"
        );
        for (zone, why) in [("a-1", "no zone"), ("a--1", "no zone"), ("A-x-1", "region name")] {
            let found = error(&format!("{zone},a-y-1,1\n"));
            assert!(found.starts_with(&format!("line 2, field zone_a: \"{zone}\": ")), "{found}");
            assert!(found.contains(why), "{found}");
        }
        assert_eq!(error(&format!("{good}{good}")), "line 3: a-x-1 to a-y-1 was given before");
        assert_eq!(error("a-x-1,a-x-1,1\n"), "line 1: no line is between two zones");
        assert!(error("a-x-1,a-y-1\n").starts_with("line 2: "));
        let header = ZoneMap::load("a,b,c\n").expect_err("another header").to_string();
        assert!(header.starts_with("line 1: the header is \"a,b,c\""), "{header}");
    }

    #[test]
    fn the_most_zones_and_regions_load_and_one_more_does_not() {
        let zones =
            |count: usize| (1..count).map(|i| format!("a-x-0,a-x-{i},1\n")).collect::<String>();
        assert_eq!(load(&zones(ZONES_MAX)).map(|map| map.zones("a")), Ok(ZONES_MAX));
        let more = load(&zones(ZONES_MAX + 1)).expect_err("one more").to_string();
        assert!(more.starts_with("line 17, field zone_b: \"a-x-16\": its region has"), "{more}");
        let regions =
            |count: usize| (0..count).map(|i| format!("r{i}-x-0,r{i}-x-1,1\n")).collect::<String>();
        assert!(load(&regions(MAP_REGIONS_MAX)).is_ok());
        let more = load(&regions(MAP_REGIONS_MAX + 1));
        assert_eq!(more, Err(LoadError::TooMany { limit: MAP_REGIONS_MAX }));
    }

    #[test]
    fn most_of_the_zones_are_reached_from_the_worst_one() {
        // From z the nearest other one is 3 away; x and y have each other.
        let three = load("a-x-1,a-y-1,1\na-x-1,a-z-1,3\na-y-1,a-z-1,4\na-z-1,a-z-1,0.1\n");
        let three = three.expect("it loads");
        assert_eq!((three.of("a"), three.zones("a")), (Some(us(3_000)), 3));
        assert_eq!(three.median(), us(3_000));
        assert_eq!((three.of("b"), three.zones("b")), (None, 0));
        // Two of four are no most: the second nearest counts.
        let four = load(
            "a-w-1,a-x-1,1\na-w-1,a-y-1,2\na-w-1,a-z-1,3\n\
             a-x-1,a-y-1,4\na-x-1,a-z-1,5\na-y-1,a-z-1,6\n",
        );
        let four = four.expect("it loads");
        assert_eq!((four.of("a"), four.median()), (Some(us(5_000)), us(3_500)));
        let two = load("a-x-1,a-y-1,1\na-y-1,a-x-1,2\n").expect("it loads");
        assert_eq!(two.of("a"), Some(us(2_000)));
    }

    #[test]
    fn a_region_without_enough_round_trips_was_not_measured() {
        let body = "a-x-1,a-y-1,1\nb-x-1,b-x-1,1\nc-w-1,c-x-1,1\nc-w-1,c-y-1,1\nc-w-1,c-z-1,1\n";
        let map = load(body).expect("it loads");
        assert_eq!(map.of("a"), Some(us(1_000)));
        assert_eq!((map.of("b"), map.zones("b")), (None, 1));
        assert_eq!((map.of("c"), map.zones("c")), (None, 4));
    }
}
