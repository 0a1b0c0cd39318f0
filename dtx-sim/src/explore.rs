//! Many seeds.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use dtx_core::{engine::Placement, pattern::Pattern, transaction::Transaction};

use crate::{
    counters::Counters,
    draw::Draw,
    faults::{Fault, Faults},
    mutation::Mutation,
    participant::{Participant, Run},
    regions::Regions,
    report::{Report, Summary},
    rng::Rng,
    sim::{Crash, Sim},
    swarm::Swarm,
    workload::{HostPlan, Workload},
    world::World,
};

/// The most failing seeds that are listed.
const FAILING_MAX: usize = 32;

/// What must hold of a run.
#[derive(Clone)]
pub(crate) struct Check(pub(crate) Arc<Held>);

type Held = dyn Fn(&Run<'_>) -> Result<(), String> + Send + Sync;
type Factory = Arc<dyn Fn() -> Box<dyn Participant> + Send + Sync>;
type Transactions = Arc<dyn Fn(&mut Draw) -> Vec<Transaction> + Send + Sync>;
type Placements = Arc<dyn Fn(&mut Draw) -> Arc<dyn Placement> + Send + Sync>;

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check")
    }
}

/// What the runs of all seeds share.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub(crate) faults: Faults,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) crash: Option<Crash>,
    /// A journal is kept.
    pub(crate) is_kept: bool,
    pattern: Option<Pattern>,
    participants: Vec<(String, Factory)>,
    transactions: Option<Transactions>,
    placement: Option<Placements>,
    regions: Option<Regions>,
    checks: Vec<Check>,
    twice: bool,
}

impl Setup {
    pub(crate) fn workload(&self, seed: u64, swarm: &Swarm) -> Workload {
        let rng = &mut Rng::new(seed, 3);
        let place = |hosts: &mut [HostPlan]| {
            if let Some(regions) = &self.regions {
                regions.place(hosts, seed);
            }
        };
        if self.participants.is_empty() {
            return Workload::draw(rng, swarm, self.pattern, place);
        }
        let names: Vec<_> = self.participants.iter().map(|(name, _)| name.as_str()).collect();
        Workload::own(rng, swarm, &names, place, |rng, hosts| {
            let Some(wanted) = &self.transactions else {
                return Workload::transactions(rng, hosts, self.pattern);
            };
            let made = wanted(&mut Draw(Rng::new(rng.next(), 5)));
            let parts = made.iter().flat_map(|transaction| transaction.operations());
            for name in parts.map(|operation| operation.participant()) {
                assert!(names.contains(&name.as_str()), "there is no participant {name}");
            }
            made
        })
    }

    /// Gives a run what the user brings.
    pub(crate) fn equip(&self, world: &mut World) {
        let made = self.participants.iter().map(|(_, make)| make());
        world.own = made.enumerate().collect();
        world.checks.clone_from(&self.checks);
        world.twice = self.twice;
        let mut draw = Draw(Rng::new(world.seed, 9));
        world.regions.clone_from(&self.regions);
        world.placement = self.placement.as_ref().map(|make| make(&mut draw));
    }
}

/// Explores many seeds, on all processors: with dtx's own participants, or with the user's.
///
/// ```
/// use dtx_core::{
///     answer::{Done, PhaseAnswer, rejected},
///     pattern::{Pattern, Phase},
///     transaction::{OperationDraft, Transaction},
///     transport::Command,
/// };
/// use dtx_sim::{Draw, Faults, Participant, Sim};
/// use std::collections::BTreeSet;
///
/// /// One room, and who has it.
/// #[derive(Debug, Default)]
/// struct Room {
///     taken_by: BTreeSet<String>,
/// }
///
/// impl Participant for Room {
///     fn handle(&mut self, command: &Command, _: &mut Draw) -> PhaseAnswer {
///         let who = command.tx.to_string();
///         match command.phase {
///             Phase::Execute if self.taken_by.is_empty() => drop(self.taken_by.insert(who)),
///             // A repeat of what was done is done.
///             Phase::Execute if self.taken_by.contains(&who) => {}
///             Phase::Execute => return rejected("the room is taken"),
///             Phase::Compensate => drop(self.taken_by.remove(&who)),
///             _ => {}
///         }
///         Ok(Done::default())
///     }
/// }
///
/// let summary = Sim::explore(0..20)
///     .faults(Faults::all())
///     .participant("room", Room::default)
///     .transactions(|_| {
///         let book = OperationDraft::new("room", "book");
///         let built = Transaction::builder(Pattern::Saga).operation(book).build();
///         vec![built.expect("a valid definition"); 3]
///     })
///     .check(|run| {
///         let room = run.participant::<Room>("room").ok_or("there is a room")?;
///         if room.taken_by.len() > 1 { Err("booked twice".to_owned()) } else { Ok(()) }
///     })
///     .each_step_twice()
///     .run();
/// assert_eq!(summary.failed, 0, "{:?}", summary.first_violations);
/// ```
#[derive(Clone)]
#[must_use = "nothing is explored before `run`"]
pub struct Explorer {
    seeds: Range<u64>,
    setup: Setup,
    crash_everywhere: bool,
}

impl fmt::Debug for Explorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explorer").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

impl Explorer {
    pub(crate) fn new(seeds: Range<u64>) -> Self {
        // What an operator gives up or counts as done may break any invariant of a user.
        let faults = Faults::all().without(Fault::Operator);
        let mutation = Mutation::of_environment();
        let setup = Setup { faults, mutation, ..Setup::default() };
        Self { seeds, setup, crash_everywhere: false }
    }

    /// Keeps the runs to some faults. Without this all of [`Faults::all`] but
    /// [`Fault::Operator`] may be on: operators give transactions up and count things as done
    /// that are not, which your own invariants need not survive.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.setup.faults = faults;
        self
    }

    /// Keeps the drawn transactions to one pattern.
    pub fn pattern(mut self, pattern: Pattern) -> Self {
        self.setup.pattern = Some(pattern);
        self
    }

    /// A participant of the user's own, made anew for each run. With one or more of them there
    /// are no others.
    ///
    /// # Panics
    /// The run panics when the name is no valid name of a participant.
    pub fn participant<P: Participant>(
        mut self,
        name: impl Into<String>,
        make: impl Fn() -> P + Send + Sync + 'static,
    ) -> Self {
        let make: Factory = Arc::new(move || Box::new(make()));
        self.setup.participants.push((name.into(), make));
        self
    }

    /// The transactions of each run, over the user's participants. Without this they are drawn:
    /// of all patterns, with the action `work`.
    ///
    /// # Panics
    /// The run panics when a transaction names a participant that is not there.
    pub fn transactions(
        mut self,
        make: impl Fn(&mut Draw) -> Vec<Transaction> + Send + Sync + 'static,
    ) -> Self {
        self.setup.transactions = Some(Arc::new(make));
        self
    }

    /// A placement of the user's own for the coordinators of each run, made anew for each run.
    pub fn placement(
        mut self,
        make: impl Fn(&mut Draw) -> Arc<dyn Placement> + Send + Sync + 'static,
    ) -> Self {
        self.setup.placement = Some(Arc::new(make));
        self
    }

    /// Lays the nodes of each run out over regions, and names the region of each operation in the
    /// drawn transactions.
    pub fn regions(mut self, regions: Regions) -> Self {
        self.setup.regions = Some(regions);
        self
    }

    /// What must hold: looked at after each step of a participant of the user's, and when all has
    /// ended. An error is a violation.
    pub fn check(
        mut self,
        holds: impl Fn(&Run<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.setup.checks.push(Check(Arc::new(holds)));
        self
    }

    /// Every message arrives twice, and the user's participants are asked twice for each step, as
    /// after a crash between an effect and its answer.
    pub fn each_step_twice(mut self) -> Self {
        self.setup.twice = true;
        self
    }

    /// Runs each seed again for every event and every node, with a crash of that node at that
    /// event: some thousand runs for each seed.
    pub fn crash_everywhere(mut self) -> Self {
        self.crash_everywhere = true;
        self
    }

    /// Crashes a node at an event of each run: what [`Self::crash_everywhere`] has found is run
    /// again by `crash_at(event, node).replay(seed)`.
    ///
    /// # Panics
    /// The run panics when there is no node of that name; [`Report::nodes`] names them.
    pub fn crash_at(mut self, event: u64, node: impl Into<String>) -> Self {
        self.setup.crash = Some(Crash { event, node: node.into() });
        self
    }

    /// With a rule taken out.
    #[doc(hidden)]
    pub fn mutant(mut self, mutation: Mutation) -> Self {
        self.setup.mutation = Some(mutation);
        self
    }

    /// One run, with its journal. A seed of [`Self::crash_everywhere`] is run without a crash.
    pub fn replay(&self, seed: u64) -> Report {
        let setup = Setup { is_kept: true, ..self.setup.clone() };
        Sim::prepare(seed, &setup).run()
    }

    /// Runs all seeds.
    pub fn run(&self) -> Summary {
        self.run_with(|_| ())
    }

    /// As [`Self::run`]; `done` is told how many seeds are done, one more each time.
    pub fn run_with(&self, done: impl Fn(u64) + Sync) -> Summary {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (next, count) = (AtomicU64::new(self.seeds.start), Mutex::new(0));
        let work = || {
            let mut part = Part::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !self.seeds.contains(&seed) {
                    return part;
                }
                self.explore(seed, &mut part);
                // Told under the lock, so that it never goes back.
                let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
                *count += 1;
                done(*count);
            }
        };
        let parts: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let joined = running.into_iter().map(thread::ScopedJoinHandle::join);
            joined.map(|part| part.expect("a run does not panic")).collect()
        });
        sum(parts)
    }

    fn explore(&self, seed: u64, part: &mut Part) {
        let report = Sim::prepare(seed, &self.setup).run();
        part.seeds += 1;
        part.add(&report, "");
        if !self.crash_everywhere {
            return;
        }
        for node in &report.nodes {
            for event in 1..=report.counters.events {
                let crash = Some(Crash { event, node: node.clone() });
                let setup = Setup { crash, ..self.setup.clone() };
                let how = format!("crash of {node} at event {event}: ");
                part.add(&Sim::prepare(seed, &setup).run(), &how);
            }
        }
    }
}

/// What one thread found.
#[derive(Debug, Default)]
struct Part {
    seeds: u64,
    violations: u64,
    events: Vec<u64>,
    failing: BTreeMap<u64, String>,
    sometimes: BTreeMap<&'static str, u64>,
    longest_settling_us: u64,
    counters: Counters,
}

impl Part {
    fn add(&mut self, report: &Report, how: &str) {
        self.events.push(report.counters.events);
        self.counters.add(&report.counters);
        self.longest_settling_us = self.longest_settling_us.max(report.settled_after_us);
        self.violations += report.violations.len() as u64;
        for (name, count) in report.counters.list() {
            *self.sometimes.entry(name).or_default() += u64::from(count > 0);
        }
        if let Some(first) = report.violations.first() {
            let tx = first.tx.map_or_else(String::new, |tx| format!("{tx}: "));
            let text = format!("{how}{} ms: {tx}{}", first.at / 1_000, first.what);
            self.failing.entry(report.seed).or_insert(text);
        }
    }
}

fn sum(parts: Vec<Part>) -> Summary {
    let mut summary = Summary::default();
    let (mut events, mut failing) = (Vec::new(), BTreeMap::new());
    for part in parts {
        summary.seeds += part.seeds;
        summary.violations += part.violations;
        summary.counters.add(&part.counters);
        summary.longest_settling_us = summary.longest_settling_us.max(part.longest_settling_us);
        events.extend(part.events);
        failing.extend(part.failing);
        for (name, runs) in part.sometimes {
            *summary.sometimes.entry(name).or_default() += runs;
        }
    }
    summary.runs = events.len() as u64;
    summary.failed = failing.len() as u64;
    for (seed, text) in failing.into_iter().take(FAILING_MAX) {
        summary.failing_seeds.push(seed);
        summary.first_violations.push(format!("seed {seed}: {text}"));
    }
    events.sort_unstable();
    summary.median_events = events.get(events.len() / 2).copied().unwrap_or_default();
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(events: &[u64], failing: &[u64]) -> Part {
        let failing = failing.iter().map(|seed| (*seed, "a".to_owned()));
        Part {
            seeds: events.len() as u64,
            violations: 2 * failing.len() as u64,
            events: events.to_vec(),
            failing: failing.collect(),
            ..Part::default()
        }
    }

    #[test]
    fn the_parts_of_all_threads_are_summed_in_the_order_of_seeds() {
        let sum = sum(vec![part(&[9, 1], &[4]), part(&[5], &[3])]);
        assert_eq!((sum.seeds, sum.failed, sum.violations, sum.median_events), (3, 2, 4, 5));
        assert_eq!(sum.failing_seeds, [3, 4]);
        assert_eq!(sum.first_violations, ["seed 3: a", "seed 4: a"]);
    }

    #[test]
    fn no_more_failing_seeds_are_listed_than_allowed() {
        let failing: Vec<u64> = (0..=FAILING_MAX as u64).collect();
        let sum = sum(vec![part(&failing, &failing)]);
        assert_eq!(sum.failing_seeds.len(), FAILING_MAX);
        assert_eq!(sum.failed, FAILING_MAX as u64 + 1);
    }
}
