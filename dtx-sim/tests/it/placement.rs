//! A coordinator that is wrong about where everybody is keeps every promise.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dtx_core::{
    engine::Placement, ids::mix, pattern::Phase, time::Timestamp, transaction::Operation,
};
use dtx_sim::{Faults, Sim};

/// How many seeds.
const SEEDS: u64 = 3_000;

/// What all runs together were asked and told.
#[derive(Debug, Default)]
struct Counts {
    delayed: AtomicU64,
    timeouts: AtomicU64,
    answered: AtomicU64,
    withdrawn: AtomicU64,
}

/// Answers at random: nothing, a little, far too much, for ever; fewer and more than were asked for.
#[derive(Debug)]
struct Wrong {
    state: Mutex<u64>,
    counts: Arc<Counts>,
}

impl Wrong {
    fn draw(&self, end: u64) -> u64 {
        let mut state = self.state.lock().expect("no draw panics");
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(*state) % end
    }

    fn time(&self) -> Duration {
        match self.draw(8) {
            0 => Duration::ZERO,
            1 => Duration::from_micros(self.draw(1_000)),
            2..=4 => Duration::from_millis(self.draw(400)),
            5 => Duration::from_secs(self.draw(100_000)),
            6 => Duration::from_millis(self.draw(3_000)),
            _ => Duration::MAX,
        }
    }
}

impl Placement for Wrong {
    fn delays(&self, operations: &[&Operation], _: &[Phase]) -> Vec<Duration> {
        self.counts.delayed.fetch_add(1, Ordering::Relaxed);
        let count = self.draw(operations.len() as u64 + 3);
        (0..count).map(|_| self.time()).collect()
    }

    fn timeout(&self, _: &Operation, _: Phase) -> Option<Duration> {
        self.counts.timeouts.fetch_add(1, Ordering::Relaxed);
        (self.draw(4) > 0).then(|| self.time())
    }

    fn answered(&self, _: &Operation, _: Phase, _: Timestamp, _: Duration) {
        self.counts.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn withdrawn(&self, _: &Operation, _: Phase) {
        self.counts.withdrawn.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_placement_that_is_wrong_breaks_no_promise() {
    let counts = Arc::new(Counts::default());
    let told = counts.clone();
    let summary = Sim::explore(0..SEEDS)
        .faults(Faults::all())
        .placement(move |draw| {
            let state = Mutex::new(draw.below(u64::MAX));
            Arc::new(Wrong { state, counts: told.clone() })
        })
        .run();
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
    let seen = [&counts.delayed, &counts.timeouts, &counts.answered, &counts.withdrawn];
    let seen = seen.map(|count| count.load(Ordering::Relaxed));
    println!("{} runs; delayed, time-outs, answered, withdrawn: {seen:?}", summary.runs);
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}

#[test]
fn a_run_with_a_placement_is_the_same_run_again() {
    let explorer = Sim::explore(0..1).placement(|draw| {
        let state = Mutex::new(draw.below(u64::MAX));
        Arc::new(Wrong { state, counts: Arc::default() })
    });
    for seed in 0..5 {
        let (first, second) = (explorer.replay(seed), explorer.replay(seed));
        assert_eq!(first.trace_hash, second.trace_hash);
    }
}
