//! How long to wait with each participant.

use std::time::Duration;

use thiserror::Error;

use crate::phase::Latency;

/// The most participants of one phase.
pub const PARTS_MAX: usize = 1_024;

/// One participant of a phase, or one region of participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// How long it takes.
    pub latency: Latency,
    /// Whether others wait for what it holds from the moment on that it is asked. One that holds
    /// nothing is asked as early as possible.
    pub locks: bool,
    /// The parts whose answers it needs, by index. They stand before it.
    pub after: &'a [usize],
}

/// What the times are chosen for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aim {
    /// Everything as early as possible.
    Eager,
    /// Locks are held as short as possible: a near participant is asked so that nine of ten of its
    /// answers come before half of those of the farthest.
    #[default]
    Locks,
    /// The transaction takes no longer: nineteen of twenty of the near one's answers come before
    /// nineteen of twenty of the farthest one's.
    Neutral,
}

impl Aim {
    fn far(self, latency: &Latency) -> Duration {
        if self == Self::Neutral { latency.low } else { latency.median }
    }

    fn near(self, latency: &Latency) -> Duration {
        if self == Self::Neutral { latency.late } else { latency.high }
    }
}

/// When one part is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendTime {
    /// Not before so much time after the begin of the phase, and not before what it needs is
    /// answered.
    pub delay: Duration,
    /// So much time after it was sent it is sent again.
    pub timeout: Duration,
}

/// Parts that cannot be scheduled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// More parts than a phase has.
    #[error("{parts} parts: a phase has at most {PARTS_MAX}")]
    TooMany {
        /// How many there are.
        parts: usize,
    },
    /// A part needs the answer of one that does not stand before it.
    #[error("part {part} needs part {on}, which does not stand before it")]
    Order {
        /// Which part.
        part: usize,
        /// What it needs.
        on: usize,
    },
}

/// When each part of one phase is asked. It keeps its memory, so that the next one takes none.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    sends: Vec<SendTime>,
    /// Until when each part has to be done, while it is computed.
    ends: Vec<Duration>,
    length: Duration,
}

impl Schedule {
    /// Computes the times of a phase.
    ///
    /// Forward: the earliest time at which each part can be done, and so the length of the phase.
    /// Backward: the latest time at which each part can begin without making the phase longer.
    /// Parts that lock begin then, the others as soon as they can. The work is one visit of each
    /// part and of each dependency in each direction.
    ///
    /// # Errors
    /// [`ScheduleError`]; nothing is scheduled then.
    pub fn compute(&mut self, parts: &[Part<'_>], aim: Aim) -> Result<(), ScheduleError> {
        self.sends.clear();
        self.ends.clear();
        self.length = Duration::ZERO;
        check(parts)?;
        for part in parts {
            let begin = part.after.iter().map(|on| self.ends[*on]).max().unwrap_or_default();
            let end = begin + aim.far(&part.latency);
            self.length = self.length.max(end);
            self.ends.push(end);
            self.sends.push(SendTime { delay: Duration::ZERO, timeout: part.latency.timeout });
        }
        if aim == Aim::Eager {
            return Ok(());
        }
        self.ends.fill(self.length);
        for (index, part) in parts.iter().enumerate().rev() {
            let begin = self.ends[index].saturating_sub(aim.near(&part.latency));
            if part.locks {
                self.sends[index].delay = begin;
            }
            for on in part.after {
                self.ends[*on] = self.ends[*on].min(begin);
            }
        }
        Ok(())
    }

    /// When each part is asked, in the order of the parts.
    pub fn sends(&self) -> &[SendTime] {
        &self.sends
    }

    /// How long the phase is expected to take.
    pub fn length(&self) -> Duration {
        self.length
    }
}

fn check(parts: &[Part<'_>]) -> Result<(), ScheduleError> {
    if parts.len() > PARTS_MAX {
        return Err(ScheduleError::TooMany { parts: parts.len() });
    }
    for (index, part) in parts.iter().enumerate() {
        if let Some(on) = part.after.iter().find(|on| **on >= index) {
            return Err(ScheduleError::Order { part: index, on: *on });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn exact(millis: u64, after: &[usize]) -> Part<'_> {
        Part { latency: Latency::exact(ms(millis)), locks: true, after }
    }

    fn delays(parts: &[Part<'_>], aim: Aim) -> Vec<u128> {
        let mut schedule = Schedule::default();
        schedule.compute(parts, aim).expect("a valid phase");
        schedule.sends().iter().map(|send| send.delay.as_millis()).collect()
    }

    /// Begin and end of each part when it is asked at the later of its delay and the answers that
    /// it needs.
    fn carried_out(parts: &[Part<'_>], delays: &[Duration]) -> Vec<(Duration, Duration)> {
        let mut times: Vec<(Duration, Duration)> = Vec::new();
        for (part, delay) in parts.iter().zip(delays) {
            let needed = part.after.iter().map(|on| times[*on].1).max().unwrap_or_default();
            let begin = needed.max(*delay);
            times.push((begin, begin + part.latency.median));
        }
        times
    }

    fn length(times: &[(Duration, Duration)]) -> Duration {
        times.iter().map(|time| time.1).max().unwrap_or_default()
    }

    #[test]
    fn each_waits_for_as_long_as_the_farthest_takes_longer() {
        let parts = [exact(20, &[]), exact(150, &[]), exact(90, &[])];
        assert_eq!(delays(&parts, Aim::Locks), [130, 0, 60]);
        assert_eq!(delays(&parts, Aim::Eager), [0, 0, 0]);
    }

    #[test]
    fn a_chain_is_as_late_as_what_needs_it_allows() {
        // 0 (30) before 1 (50); 2 (200) alone; 3 needs nothing and locks nothing.
        let mut parts = [exact(30, &[]), exact(50, &[0]), exact(200, &[]), exact(10, &[])];
        parts[3].locks = false;
        assert_eq!(delays(&parts, Aim::Locks), [120, 150, 0, 0]);
    }

    #[test]
    fn margins_are_those_of_the_aim() {
        let latency = |low, median, high, late| Latency {
            low: ms(low),
            median: ms(median),
            high: ms(high),
            late: ms(late),
            timeout: ms(500),
        };
        let near = Part { latency: latency(18, 20, 23, 25), locks: true, after: &[] };
        let far = Part { latency: latency(95, 100, 110, 120), locks: true, after: &[] };
        assert_eq!(delays(&[near, far], Aim::Locks), [77, 0]);
        assert_eq!(delays(&[near, far], Aim::Neutral), [70, 0]);
    }

    #[test]
    fn the_most_parts_are_scheduled_and_one_more_is_not() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.compute(&[exact(5, &[]); PARTS_MAX], Aim::Locks), Ok(()));
        assert_eq!(schedule.sends().len(), PARTS_MAX);
        let refused = schedule.compute(&[exact(5, &[]); PARTS_MAX + 1], Aim::Locks);
        assert_eq!(refused, Err(ScheduleError::TooMany { parts: PARTS_MAX + 1 }));
        assert!(schedule.sends().is_empty());
    }

    #[test]
    fn a_part_that_needs_a_later_one_or_itself_is_refused() {
        let mut schedule = Schedule::default();
        let refused = schedule.compute(&[exact(5, &[1]), exact(5, &[])], Aim::Locks);
        assert_eq!(refused, Err(ScheduleError::Order { part: 0, on: 1 }));
        let refused = schedule.compute(&[exact(5, &[]), exact(5, &[1])], Aim::Locks);
        assert_eq!(refused, Err(ScheduleError::Order { part: 1, on: 1 }));
    }

    prop_compose! {
        fn phases()(size in 1_usize..24)(
            millis in prop::collection::vec(1_u64..400, size),
            locks in prop::collection::vec(any::<bool>(), size),
            edges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
        ) -> (Vec<u64>, Vec<bool>, Vec<Vec<usize>>) {
            let mut after = vec![Vec::new(); millis.len()];
            for (part, on) in edges {
                let part = part.index(millis.len());
                if part > 0 {
                    after[part].push(on.index(part));
                }
            }
            (millis, locks, after)
        }
    }

    proptest! {
        /// With known latencies the phase is not longer than an eager one, and no lock can be
        /// taken later without making it longer.
        #[test]
        fn locks_are_as_late_as_can_be_at_no_cost((millis, locks, after) in phases()) {
            let parts: Vec<_> = millis.iter().zip(&locks).zip(&after)
                .map(|((millis, locks), after)| Part { locks: *locks, ..exact(*millis, after) })
                .collect();
            let mut schedule = Schedule::default();
            schedule.compute(&parts, Aim::Locks).expect("a valid phase");
            let delays: Vec<_> = schedule.sends().iter().map(|send| send.delay).collect();
            let eager = carried_out(&parts, &vec![Duration::ZERO; parts.len()]);
            let times = carried_out(&parts, &delays);
            prop_assert_eq!(length(&times), length(&eager));
            prop_assert_eq!(length(&eager), schedule.length());
            for (index, part) in parts.iter().enumerate() {
                let mut moved = delays.clone();
                if part.locks {
                    prop_assert_eq!(times[index].0, delays[index], "it never waits for others");
                    moved[index] += ms(1);
                    prop_assert!(length(&carried_out(&parts, &moved)) > length(&eager));
                } else {
                    prop_assert_eq!(moved[index], Duration::ZERO);
                }
            }
        }
    }
}
