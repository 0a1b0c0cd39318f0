//! One run, from its seed to its report.

use std::sync::Arc;

use dtx_core::transaction::Transaction;

use crate::{
    event::Event,
    explore::{Explorer, Setup},
    report::Report,
    rng::Rng,
    swarm::{SECOND, Swarm},
    workload::{ClientPlan, HostKind, HostPlan, Workload},
    world::World,
};

/// After the faults everything must have ended within this time: more than every deadline, every
/// backoff and every lease together.
const LIVENESS_US: u64 = 240 * SECOND;
/// After the last transaction ended, what a clock may release is gone after this time.
const DRAIN_US: u64 = 10 * SECOND;
/// No run is longer, whatever happens.
pub(crate) const EVENTS_MAX: u64 = 400_000;

/// At this event this node crashes.
#[derive(Clone, Debug)]
pub(crate) struct Crash {
    pub(crate) event: u64,
    pub(crate) node: String,
}

/// A simulation that is ready to run. The same seed gives the same run.
#[derive(Debug)]
pub struct Sim {
    world: World,
    workload: Workload,
    crash: Option<Crash>,
}

impl Sim {
    /// The run of a seed, with every fault that dtx is to withstand.
    pub fn new(seed: u64) -> Self {
        Self::prepare(seed, &Setup::default())
    }

    /// Many seeds; see [`Explorer`].
    ///
    /// ```
    /// let summary = dtx_sim::Sim::explore(0..20).run();
    /// assert_eq!(summary.failed, 0, "{:?}", summary.first_violations);
    /// ```
    pub fn explore(seeds: std::ops::Range<u64>) -> Explorer {
        Explorer::new(seeds)
    }

    pub(crate) fn prepare(seed: u64, setup: &Setup) -> Self {
        let swarm = Swarm::draw(&mut Rng::new(seed, 2), &mut Rng::new(seed, 7), setup.faults);
        let workload = setup.workload(seed, &swarm);
        let mut world = World::new(seed, swarm, setup.mutation, setup.is_kept);
        setup.equip(&mut world);
        Self { world, workload, crash: setup.crash.clone() }
    }

    /// Transactions without any fault, one after the other, over participants of stock that are
    /// named in the transactions and that have 1,000 units of each of `items`.
    pub fn calm(transactions: Vec<Transaction>, items: &[&str]) -> Self {
        let mut names: Vec<String> = transactions
            .iter()
            .flat_map(|t| t.operations().iter().map(|o| o.participant().to_string()))
            .collect();
        names.sort_unstable();
        names.dedup();
        let pools: Vec<_> = items.iter().map(|item| ((*item).to_owned(), 1_000)).collect();
        let host =
            |name| HostPlan { name, kind: HostKind::Stock, pools: pools.clone(), region: None };
        let client = |(index, transaction)| ClientPlan {
            transaction: Arc::new(transaction),
            at: index as u64 * SECOND / 10,
            cancel_at: None,
            judged: None,
            poison: None,
        };
        let workload = Workload {
            hosts: names.into_iter().map(host).collect(),
            clients: transactions.into_iter().enumerate().map(client).collect(),
        };
        Self { world: World::new(0, Swarm::calm(), None, false), workload, crash: None }
    }

    /// Runs until everything has ended, or until it should have.
    pub fn run(mut self) -> Report {
        self.world.begin_run(self.workload);
        while !self.world.is_over
            && let Some((at, event)) = self.world.queue.pop()
        {
            self.world.now = at;
            self.world.counters.events += 1;
            if let Some(Crash { event, node }) = &self.crash
                && *event == self.world.counters.events
            {
                self.world.crash(node);
            }
            self.world.happen(event);
            if self.world.counters.events >= EVENTS_MAX {
                self.world.broken(None, "liveness: the run does not come to rest");
                break;
            }
        }
        self.world.finish()
    }
}

impl World {
    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Submit(client) => self.submit(client),
            Event::Remind(client) => self.remind(client),
            Event::Command { host, command } => self.arrive(host, command),
            Event::Reply(reply) => self.replied(*reply),
            Event::Land { batch } => self.land(batch),
            Event::Answered(answer) => self.answered(*answer),
            Event::Load { coordinator, run, tx } => self.load(coordinator, run, tx),
            Event::Loaded { coordinator, run, tx, found } => {
                self.loaded(coordinator, run, tx, found);
            }
            Event::Recover { coordinator, run, reading } => self.recover(coordinator, run, reading),
            Event::Tick { coordinator, run } => self.tick(coordinator, run),
            Event::Leases { coordinator, run } => self.leases(coordinator, run),
            Event::Scan { coordinator, run } => self.scan(coordinator, run),
            Event::Examine { coordinator, run } => self.examine(coordinator, run),
            Event::Orphan { coordinator, run, record, store_now } => {
                self.orphan(coordinator, run, record, store_now);
            }
            Event::Move => self.operator_move(),
            Event::Poke(tx) => self.poke(tx),
            Event::Signal { client, entry } => self.signal(client, entry),
            Event::SignalWrite { client, entry, write } => self.signal_write(client, entry, write),
            Event::Work { host, run, jobs } => self.take_up(host, run, jobs),
            Event::Poisoned { host, down } => self.crash_participant(host, down),
            Event::HostWrite(write) => self.host_write(*write),
            Event::Effect(run) => self.effect(*run),
            Event::Finish(run) => self.finish_run(*run),
            Event::Ask { host, run } => self.ask(host, run),
            Event::Inquiry { coordinator, inquiry } => self.inquiry(coordinator, inquiry),
            Event::InquiryWrite { coordinator, inquiry, write } => {
                self.inquiry_write(coordinator, inquiry, &write);
            }
            Event::InquiryAnswer { host, answer } => self.inquiry_answer(host, &answer),
            Event::Collect { host } => self.collect(host),
            Event::Trouble(trouble) => self.trouble(trouble),
            Event::Heal => self.heal(),
            Event::Settle => self.settle(),
        }
    }

    /// Whether the run may end.
    fn settle(&mut self) {
        let healed = self.healed_at.unwrap_or(self.now);
        let open = self.views.values().any(|view| view.is_open);
        let unsure = self.clients.iter().any(|client| client.may_submit());
        if !open && !unsure {
            let ended = *self.ended_at.get_or_insert(self.now);
            self.is_over = self.now >= ended + DRAIN_US;
        } else if self.now >= healed + LIVENESS_US {
            self.is_over = true;
        } else {
            self.ended_at = None;
            self.operate();
        }
        self.after(3 * SECOND, Event::Settle);
    }
}
