//! How old a copy is: what was seen of its home, and when.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The most looks that are kept. When there are more, every second one goes, so that those of long
/// ago get rare. A copy that is far behind is taken for older than it is: for up to twice as old when
/// that is 800 looks, and for much older when it is more.
const LOOKS_MAX: usize = 256;

/// A place in the log of the home, and a moment before it was read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    at: Instant,
    end: u64,
}

/// Looks at the end of the log of a home. All that it had acknowledged at the moment of a look is
/// before the end that was seen. So a copy that has come to that end is no older than the look. Both
/// times are those of one monotonic clock, that of this process.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// The moments and the ends both grow.
    kept: VecDeque<Look>,
}

impl Looks {
    /// At a moment, or later, the log of the home ended there.
    pub(super) fn add(&mut self, at: Instant, end: u64) {
        // Another server has taken the place of the home, and never had the rest.
        self.kept.retain(|look| look.end <= end);
        match self.kept.back_mut() {
            Some(last) if last.end == end => last.at = last.at.max(at),
            _ => self.kept.push_back(Look { at, end }),
        }
        if self.kept.len() > LOOKS_MAX {
            let mut keeps = false;
            self.kept.retain(|_| {
                keeps = !keeps;
                keeps
            });
        }
    }

    /// How old a copy is at the most that has come to this place of the log; `None` when it has not
    /// come to any place that was seen.
    pub(super) fn age(&self, replayed: u64, now: Instant) -> Option<Duration> {
        let passed = self.kept.partition_point(|look| look.end <= replayed);
        let newest = self.kept.get(passed.checked_sub(1)?)?;
        Some(now - newest.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    fn looks(ends: impl IntoIterator<Item = u64>) -> (Looks, Instant) {
        let (mut looks, mut at) = (Looks::default(), Instant::now());
        for end in ends {
            at += TICK;
            looks.add(at, end);
        }
        (looks, at)
    }

    #[test]
    fn a_copy_is_as_old_as_the_newest_look_that_it_has_come_to() {
        let (looks, now) = looks([10, 20, 30, 40]);
        assert_eq!(looks.age(9, now), None, "it has come to nothing that was seen");
        assert_eq!(looks.age(19, now), Some(TICK * 3));
        assert_eq!(looks.age(20, now), Some(TICK * 2));
        assert_eq!(looks.age(45, now), Some(Duration::ZERO));
        assert_eq!(looks.age(45, now + TICK), Some(TICK));
    }

    #[test]
    fn where_nothing_is_written_a_copy_stays_new() {
        let (looks, now) = looks([10; 1000]);
        assert_eq!(looks.kept.len(), 1);
        assert_eq!(looks.age(10, now), Some(Duration::ZERO));
    }

    #[test]
    fn there_are_never_more_looks_than_the_most_and_none_is_taken_for_a_newer_one() {
        let (all, now) = looks(1..=10_000);
        assert!(all.kept.len() <= LOOKS_MAX);
        for behind in [0, 10, 100, 800, 5_000, 9_900] {
            let age = all.age(10_000 - behind, now).expect("it has come to some");
            let truth = TICK * behind as u32;
            assert!(age >= truth, "{behind}: {age:?} < {truth:?}");
            assert!(behind > 800 || age <= truth * 2, "{behind}: {age:?}, in truth {truth:?}");
        }
        let (mut full, now) = looks(1..=LOOKS_MAX as u64);
        assert_eq!(full.kept.len(), LOOKS_MAX);
        full.add(now + TICK, LOOKS_MAX as u64 + 1);
        assert_eq!(full.kept.len(), LOOKS_MAX / 2 + 1);
    }

    #[test]
    fn what_was_seen_of_a_home_that_was_lost_is_forgotten() {
        let (mut looks, now) = looks([10, 20, 30]);
        looks.add(now + TICK, 15);
        assert_eq!(looks.age(40, now + TICK), Some(Duration::ZERO));
        let (mut looks, now) = self::looks([10, 20, 30]);
        looks.add(now + TICK, 15);
        assert_eq!(looks.age(14, now + TICK), Some(TICK * 3));
    }
}
