//! When a coordinator asks the participants of its transactions.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dtx_core::{
    engine::Placement, name::RegionName, pattern::Phase, time::Timestamp, transaction::Operation,
};
use thiserror::Error;

use crate::{
    model::{LivePair, Recorded, RttMap},
    phase::{Aim, Latency, Part, Schedule},
};

/// So many answers of a region are counted before they take the place of the map.
pub const ANSWERS_MIN: u64 = 16;
/// After so many further answers at the most what is known of latencies is read again.
const ANSWERS_REFRESH: u64 = 64;
/// A command leaves up to so much after its time: timers are of a millisecond. So it is due that
/// much earlier.
const TIMER: Duration = Duration::from_millis(1);

/// GA: the regions of a coordinator's participants, and how long each takes. Give it to the
/// coordinator as its [`Placement`].
///
/// A transaction takes part when its operations name their regions; one that names none, or none
/// that the map knows, is sent at once as without it. The operations of a region are one group: they
/// leave together, in one publish.
///
/// What a region takes is read from the map first, and from the answers of its participants once
/// there are [`ANSWERS_MIN`] of them in the same phase: their way, their work and their waiting for
/// locks are all in it.
#[derive(Debug)]
pub struct GeoPlacement {
    aim: Aim,
    /// Of each region of the map: its index is that of the ways below.
    regions: BTreeMap<RegionName, usize>,
    /// The round trip to each, where the map knows it.
    trips: Vec<Option<Duration>>,
    known: Mutex<Known>,
}

/// What was measured, and room for schedules.
#[derive(Debug, Default)]
struct Known {
    paths: BTreeMap<(usize, Phase), Path>,
    schedule: Schedule,
    stats: PlacementStats,
}

/// One region in one phase.
#[derive(Debug, Default)]
struct Path {
    pair: LivePair,
    /// What was read of it last; `None` until there are enough answers.
    latency: Option<Latency>,
    unread: u64,
}

/// What a placement has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlacementStats {
    /// Phases whose commands were given their times.
    pub phases: u64,
    /// Commands that were made to wait.
    pub delayed: u64,
    /// Commands that waited and never left, because the transaction went back.
    pub withdrawn: u64,
    /// Answers that were measured.
    pub answers: u64,
    /// Changes of a route that were found in them.
    pub steps: u64,
}

/// A region of a coordinator that is not in its map.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("region {0} is not in the map")]
pub struct UnknownRegion(pub RegionName);

impl GeoPlacement {
    /// For a coordinator in region `own` of `map`.
    ///
    /// # Errors
    /// [`UnknownRegion`].
    pub fn new(map: &RttMap, own: &RegionName, aim: Aim) -> Result<Self, UnknownRegion> {
        let from = map.regions().iter().position(|region| region == own);
        let from = from.ok_or_else(|| UnknownRegion(own.clone()))?;
        let regions = map.regions().iter().cloned().zip(0..).collect();
        let trips = (0..map.regions().len()).map(|to| map.rtt(from, to).map(|rtt| rtt.value));
        Ok(Self { aim, regions, trips: trips.collect(), known: Mutex::default() })
    }

    /// What is known of how long a region takes in a phase; `None` for a region that the map does
    /// not know or does not reach.
    pub fn latency(&self, region: &RegionName, phase: Phase) -> Option<Latency> {
        let region = *self.regions.get(region)?;
        self.lock().latency(region, phase, &self.trips)
    }

    /// What it has done so far.
    pub fn stats(&self) -> PlacementStats {
        self.lock().stats
    }

    fn region(&self, operation: &Operation) -> Option<usize> {
        self.regions.get(operation.region()?).copied()
    }

    /// What is held is as good as it was when a holder panicked: each step leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn latency(&self, region: usize, phase: Phase, trips: &[Option<Duration>]) -> Option<Latency> {
        let measured = self.paths.get(&(region, phase)).and_then(|path| path.latency);
        measured.or_else(|| Some(Latency::exact((*trips.get(region)?)?)))
    }

    /// When each region is asked for the first of `phases`; nothing for one that is not reached.
    fn times(
        &mut self,
        regions: &[usize],
        phases: &[Phase],
        trips: &[Option<Duration>],
        aim: Aim,
    ) -> BTreeMap<usize, Duration> {
        let after: Vec<usize> = (0..regions.len() * phases.len()).collect();
        let mut parts: Vec<Part<'_>> = Vec::with_capacity(after.len());
        let mut reached = Vec::with_capacity(regions.len());
        for region in regions {
            let all: Option<Vec<Latency>> =
                phases.iter().map(|phase| self.latency(*region, *phase, trips)).collect();
            for (nth, latency) in all.into_iter().flatten().enumerate() {
                let at = parts.len();
                if nth == 0 {
                    reached.push((*region, at));
                }
                let after = if nth == 0 { &[][..] } else { &after[at - 1..at] };
                parts.push(Part { latency, locks: true, after });
            }
        }
        if self.schedule.compute(&parts, aim).is_err() {
            // More regions than a phase has parts: everything leaves at once.
            return BTreeMap::new();
        }
        let sends = self.schedule.sends();
        reached.into_iter().map(|(region, at)| (region, sends[at].delay)).collect()
    }
}

impl Placement for GeoPlacement {
    fn delays(&self, operations: &[&Operation], phases: &[Phase]) -> Vec<Duration> {
        let placed: Vec<_> = operations.iter().map(|operation| self.region(operation)).collect();
        let mut regions: Vec<usize> = placed.iter().flatten().copied().collect();
        regions.sort_unstable();
        regions.dedup();
        if regions.len() < 2 {
            // One region alone has no farther one to wait for.
            return Vec::new();
        }
        let mut known = self.lock();
        let times = known.times(&regions, phases, &self.trips, self.aim);
        let delay = |region: &Option<usize>| {
            let time = region.and_then(|region| times.get(&region));
            time.copied().unwrap_or_default().saturating_sub(TIMER)
        };
        let delays: Vec<Duration> = placed.iter().map(delay).collect();
        known.stats.phases += 1;
        known.stats.delayed += delays.iter().filter(|delay| !delay.is_zero()).count() as u64;
        delays
    }

    fn timeout(&self, operation: &Operation, phase: Phase) -> Option<Duration> {
        let region = self.region(operation)?;
        self.lock().latency(region, phase, &self.trips).map(|latency| latency.timeout)
    }

    fn answered(&self, operation: &Operation, phase: Phase, now: Timestamp, after: Duration) {
        let Some(region) = self.region(operation) else { return };
        let mut known = self.lock();
        let path = known.paths.entry((region, phase)).or_default();
        let is_step = path.pair.record(now, after, 1) == Recorded::Step;
        path.unread += 1;
        let due = match path.latency {
            // Half of few answers changes what is known, of many a part.
            Some(_) => path.unread * 2 >= path.pair.samples().min(2 * ANSWERS_REFRESH),
            None => path.pair.samples() >= ANSWERS_MIN,
        };
        if is_step || due {
            path.latency = Latency::measured(&path.pair);
            path.unread = 0;
        }
        known.stats.answers += 1;
        known.stats.steps += u64::from(is_step);
    }

    fn withdrawn(&self, operation: &Operation, _: Phase) {
        if self.region(operation).is_some() {
            self.lock().stats.withdrawn += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use dtx_core::{
        pattern::Pattern,
        transaction::{OperationDraft, Transaction},
    };

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn name(region: &str) -> RegionName {
        RegionName::new(region).expect("a name")
    }

    /// A coordinator at home, with a region 20 ms and one 150 ms away, and one that is not reached.
    fn placement(aim: Aim) -> GeoPlacement {
        let regions = ["home", "near", "far", "lost"];
        let map = RttMap::from_measured(regions.map(name).to_vec(), |from, to| {
            let pair = [from.as_str(), to.as_str()];
            match pair {
                [from, to] if from == to => Some(Duration::ZERO),
                _ if pair.contains(&"lost") => None,
                _ if pair.contains(&"far") => Some(ms(150)),
                _ => Some(ms(20)),
            }
        });
        GeoPlacement::new(&map, &name("home"), aim).expect("home is in the map")
    }

    fn transaction(regions: &[&str]) -> Transaction {
        let builder = Transaction::builder(Pattern::TwoPhaseCommit);
        let built = regions.iter().enumerate().fold(builder, |builder, (at, region)| {
            let draft = OperationDraft::new("p", "act").name(format!("o{at}"));
            let draft = if region.is_empty() { draft } else { draft.region(*region) };
            builder.operation(draft)
        });
        built.build().expect("a valid definition")
    }

    fn delays(placement: &GeoPlacement, regions: &[&str], phases: &[Phase]) -> Vec<u128> {
        let transaction = transaction(regions);
        let operations: Vec<_> = transaction.operations().iter().collect();
        let delays = placement.delays(&operations, phases);
        delays.iter().map(|delay| delay.as_millis()).collect()
    }

    fn answer(placement: &GeoPlacement, region: &str, phase: Phase, millis: &[u64]) {
        let transaction = transaction(&[region]);
        for (at, after) in millis.iter().enumerate() {
            let now = Timestamp::from_millis(at as u64 * 10);
            placement.answered(&transaction.operations()[0], phase, now, ms(*after));
        }
    }

    const PREPARE: &[Phase] = &[Phase::Prepare];
    const HOLD: &[Phase] = &[Phase::Reserve, Phase::Validate];

    #[test]
    fn a_near_region_waits_for_a_far_one_and_a_region_leaves_together() {
        let placement = placement(Aim::Locks);
        // A millisecond earlier, for the timer.
        assert_eq!(delays(&placement, &["near", "far", "near"], PREPARE), [129, 0, 129]);
        assert_eq!(delays(&placement, &["home", "far"], PREPARE), [149, 0]);
        let stats = PlacementStats { phases: 2, delayed: 3, ..PlacementStats::default() };
        assert_eq!(placement.stats(), stats);
    }

    #[test]
    fn two_rounds_before_the_decision_are_waited_for_as_two() {
        assert_eq!(delays(&placement(Aim::Locks), &["near", "far"], HOLD), [259, 0]);
    }

    #[test]
    fn what_has_no_known_place_leaves_at_once() {
        let placement = placement(Aim::Locks);
        assert_eq!(delays(&placement, &["near", "", "far"], PREPARE), [129, 0, 0]);
        assert_eq!(delays(&placement, &["near", "mars", "far"], PREPARE), [129, 0, 0]);
        assert_eq!(delays(&placement, &["near", "lost", "far"], PREPARE), [129, 0, 0]);
        let none: [&[&str]; 4] = [&["", ""], &["near", ""], &["near", "near"], &["near", "lost"]];
        for regions in none {
            let found = delays(&placement, regions, PREPARE);
            assert!(found.iter().all(|delay| *delay == 0), "{regions:?}: {found:?}");
        }
        let timeout = |region| {
            let transaction = transaction(&[region]);
            placement.timeout(&transaction.operations()[0], Phase::Prepare)
        };
        assert_eq!(["", "mars", "lost"].map(timeout), [None; 3]);
        assert_eq!(timeout("far"), Some(ms(225)));
    }

    #[test]
    fn eager_waits_for_nothing() {
        assert_eq!(delays(&placement(Aim::Eager), &["near", "far"], PREPARE), [0, 0]);
    }

    #[test]
    fn enough_answers_take_the_place_of_the_map_and_one_less_does_not() {
        let placement = placement(Aim::Locks);
        let least = ANSWERS_MIN as usize;
        answer(&placement, "far", Phase::Prepare, &vec![220; least - 1]);
        assert_eq!(delays(&placement, &["near", "far"], PREPARE), [129, 0]);
        answer(&placement, "far", Phase::Prepare, &[220]);
        let found = delays(&placement, &["near", "far"], PREPARE);
        assert!((198..=200).contains(&found[0]) && found[1] == 0, "{found:?}");
        // Another phase is measured for itself.
        assert_eq!(delays(&placement, &["near", "far"], HOLD), [259, 0]);
        let far = placement.latency(&name("far"), Phase::Prepare).expect("known");
        assert!((ms(219)..=ms(221)).contains(&far.median), "{far:?}");
        // A quarter over the mean, as the deviation is nothing by now.
        assert!((ms(270)..ms(290)).contains(&far.timeout), "{far:?}");
    }

    #[test]
    fn a_changed_route_is_followed_before_the_next_reading() {
        let placement = placement(Aim::Locks);
        answer(&placement, "far", Phase::Prepare, &[150; 200]);
        answer(&placement, "far", Phase::Prepare, &[60; 40]);
        assert_eq!(placement.stats().steps, 1);
        let found = delays(&placement, &["near", "far"], PREPARE);
        assert!((38..=41).contains(&found[0]), "{found:?}");
    }

    #[test]
    fn a_coordinator_outside_of_the_map_is_refused() {
        let map = RttMap::from_measured(vec![name("home")], |_, _| Some(Duration::ZERO));
        let refused = GeoPlacement::new(&map, &name("mars"), Aim::Locks).err();
        assert_eq!(refused, Some(UnknownRegion(name("mars"))));
    }

    #[test]
    fn what_was_withdrawn_is_counted() {
        let placement = placement(Aim::Locks);
        let transaction = transaction(&["near", ""]);
        for operation in transaction.operations() {
            placement.withdrawn(operation, Phase::Prepare);
        }
        assert_eq!(placement.stats().withdrawn, 1);
    }
}
