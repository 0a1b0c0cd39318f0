//! All runs of a scenario with so many faults.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde::Serialize;

use super::{
    fault::{Planned, Step, StepFault},
    run::{Outcome, run},
    scenario::Scenario,
};
use crate::report::Report;

/// The most violations whose text is kept.
const VIOLATIONS_MAX: usize = 16;

/// What all runs of a scenario came to.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Explored {
    /// Of which scenario.
    pub scenario: String,
    /// How many faults a run had at the most.
    pub faults: usize,
    /// How many steps the run without faults had.
    pub steps: u64,
    /// How many runs there were.
    pub schedules: u64,
    /// How many events there were in all of them.
    pub events: u64,
    /// How many of the runs have failed.
    pub failed: u64,
    /// What was wrong in the first ones, with their faults.
    pub violations: Vec<String>,
    /// How often each fault was done.
    pub struck: BTreeMap<&'static str, u64>,
    /// How often each outcome was told.
    pub outcomes: BTreeMap<String, u64>,
}

impl Explored {
    /// Whether there was something to explore and nothing was wrong.
    pub fn is_sound(&self) -> bool {
        self.failed == 0 && self.steps > 0 && self.faults > 0 && self.schedules > self.steps
    }

    fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.events += other.events;
        self.failed += other.failed;
        self.violations.extend(other.violations);
        self.violations.truncate(VIOLATIONS_MAX);
        for (name, count) in other.struck {
            *self.struck.entry(name).or_default() += count;
        }
        for (name, count) in other.outcomes {
            *self.outcomes.entry(name).or_default() += count;
        }
    }

    fn count(&mut self, plan: &[Planned], outcome: &Outcome) {
        self.schedules += 1;
        self.events += outcome.report.counters.events;
        for planned in plan {
            *self.struck.entry(planned.fault.name()).or_default() += 1;
        }
        for end in &outcome.report.ends {
            let told = end.outcome.map_or_else(|| "untold".to_owned(), |told| told.to_string());
            *self.outcomes.entry(told).or_default() += 1;
        }
        let mut wrong = outcome.report.violations.iter().map(|violation| violation.what.clone());
        let missed = (outcome.struck < plan.len()).then(|| "a fault was not done".to_owned());
        let first = wrong.next().or(missed);
        if let Some(what) = first {
            self.failed += 1;
            if self.violations.len() < VIOLATIONS_MAX {
                let plan: Vec<_> = plan.iter().map(Planned::to_string).collect();
                self.violations.push(format!("[{}]: {what}", plan.join(" ")));
            }
        }
    }
}

/// Runs a scenario without a fault, and with every choice of up to `faults` faults.
///
/// The second fault is looked for at every step of the run with the first one, so that what a
/// fault brings about, such as a take-over, is struck as well.
pub fn explore_faults(scenario: &Scenario, faults: usize) -> Explored {
    let calm = run(scenario, &[], false);
    let mut explored = Explored {
        scenario: scenario.name().to_owned(),
        faults,
        steps: calm.steps.len() as u64,
        ..Explored::default()
    };
    explored.count(&[], &calm);
    if faults == 0 {
        return explored;
    }
    let first = choices(scenario, &[], &calm.steps);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut part = Explored::default();
        while let Some(planned) = first.get(next.fetch_add(1, Ordering::Relaxed)) {
            deeper(scenario, &mut vec![*planned], faults, &mut part);
        }
        part
    };
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let parts: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = running.into_iter().map(|thread| thread.join());
        joined.map(|part| part.expect("a run does not panic")).collect()
    });
    parts.into_iter().for_each(|part| explored.add(part));
    explored
}

/// Runs a scenario once with these faults, with a trace.
pub fn replay_faults(scenario: &Scenario, plan: &[Planned]) -> Report {
    run(scenario, plan, true).report
}

fn deeper(scenario: &Scenario, plan: &mut Vec<Planned>, faults: usize, explored: &mut Explored) {
    let outcome = run(scenario, plan, false);
    explored.count(plan, &outcome);
    if plan.len() == faults {
        return;
    }
    for planned in choices(scenario, plan, &outcome.steps) {
        plan.push(planned);
        deeper(scenario, plan, faults, explored);
        plan.pop();
    }
}

/// Every fault that can follow those of the plan: at later steps, and at the step of the last one
/// what comes after it in the order of faults. Only one fault is done to what a step is about.
fn choices(scenario: &Scenario, plan: &[Planned], steps: &[Step]) -> Vec<Planned> {
    let last = plan.last();
    let from = last.map_or(0, |last| last.step as usize);
    let follows = |planned: &Planned| {
        last.is_none_or(|last| {
            let both_of_the_event = last.fault.is_of_the_event() && planned.fault.is_of_the_event();
            planned.step > last.step || (planned.fault > last.fault && !both_of_the_event)
        })
    };
    let all = steps.iter().enumerate().skip(from).flat_map(|(index, step)| {
        let of_step = move |fault: StepFault| Planned { step: index as u32, fault };
        step.faults(scenario.coordinators(), scenario.participants()).into_iter().map(of_step)
    });
    all.filter(follows).collect()
}
