//! One run with its faults.

use super::{
    fault::{Planned, Step},
    scenario::Scenario,
};
use crate::{report::Report, sim::EVENTS_MAX, world::World};

/// What a run was.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) report: Report,
    /// What each step was about.
    pub(super) steps: Vec<Step>,
    /// How many of the faults were done.
    pub(super) struck: usize,
}

/// Runs a scenario with these faults, which are in the order of their steps.
pub(super) fn run(scenario: &Scenario, plan: &[Planned], is_traced: bool) -> Outcome {
    // What takes its time takes the same time in every run of the scenario up to its first fault.
    let mut world = World::new(scenario.seed, scenario.swarm.clone(), scenario.mutation, is_traced);
    world.begin_run(scenario.workload.clone());
    let mut steps = Vec::new();
    let mut plan = plan.iter();
    let mut next = plan.next();
    let mut struck = 0;
    while !world.is_over
        && let Some((at, event)) = world.queue.pop()
    {
        world.now = at;
        world.counters.events += 1;
        let mut left = Some(event);
        if let Some(step) = left.as_ref().and_then(Step::of) {
            let index = steps.len() as u32;
            steps.push(step);
            while let Some(planned) = next.filter(|planned| planned.step == index) {
                struck += 1;
                left = left.and_then(|event| world.strike(planned.fault, event));
                next = plan.next();
            }
        }
        if let Some(event) = left {
            world.happen(event);
        }
        if world.counters.events >= EVENTS_MAX {
            world.broken(None, "liveness: the run does not come to rest");
            break;
        }
    }
    Outcome { report: world.finish(), steps, struck }
}
