//! How a run begins: participants, coordinators, clients, and what will go wrong when.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dtx_core::{
    answer::Reason,
    engine::{EngineSettings, Signal, SignalEntry},
    name::ParticipantName,
    pattern::{Pattern, Phase},
    resource::{Ledger, Locks, Reservations, Resource},
};

use crate::{
    client::Client,
    clock::Clock,
    coordinator::{Coordinator, NAMES},
    event::{Event, Trouble},
    host::Host,
    inquiry::COLLECT_US,
    mutation::Mutation,
    swarm::{MS, SECOND},
    workload::{HostKind, Workload},
    world::World,
};

/// How long faults last.
const FAULTS_US: (u64, u64) = (4 * SECOND, 14 * SECOND);
/// With the mechanism off, nothing expires for this long.
const NEVER: Duration = Duration::from_secs(3_600);

impl World {
    pub(crate) fn begin_run(&mut self, workload: Workload) {
        self.open_hosts(&workload);
        self.settings = Arc::new(self.engine_settings());
        for index in 0..NAMES.len() {
            let holder = self.holder();
            let clock = self.clock();
            let mut coordinator = Coordinator::new(holder, clock);
            if self.swarm.drift {
                coordinator.skew = self.rng.below(4 * SECOND) as i64 - 2 * SECOND as i64;
            }
            self.coordinators.push(coordinator);
            self.after(1, Event::Leases { coordinator: index, run: 1 });
            let first = self.rng.range(1, SECOND);
            self.after(first, Event::Scan { coordinator: index, run: 1 });
        }
        for plan in workload.clients {
            let foreign = plan.transaction.operations().iter().any(|operation| {
                let host = self.names.get(operation.participant());
                host.is_some_and(|host| self.hosts[*host].is_foreign())
            });
            let client = self.clients.len();
            self.after(10 + plan.at, Event::Submit(client));
            let mut give = |at: u64, signal: Signal| {
                let (by, reason) = (Reason::new("client"), Reason::new(""));
                let entry = Box::new(SignalEntry { signal, by, reason });
                self.after(at, Event::Signal { client, entry });
            };
            if let Some(at) = plan.cancel_at {
                give(at, Signal::Cancel);
            }
            if let Some((at, agrees)) = plan.judged {
                give(at, if agrees { Signal::Approve } else { Signal::Reject });
            }
            self.clients.push(Client::new(plan, foreign));
        }
        self.plan_troubles();
    }

    fn open_hosts(&mut self, workload: &Workload) {
        for plan in &workload.hosts {
            let name = ParticipantName::new(&plan.name).expect("the workload names hosts well");
            let index = self.hosts.len();
            let resource: Option<Box<dyn Resource>> = match plan.kind {
                HostKind::Ledger => Some(Box::new(Ledger::default())),
                HostKind::Stock => Some(Box::new(Reservations::default())),
                HostKind::Locks => Some(Box::new(Locks::default())),
                HostKind::Detached | HostKind::Foreign => None,
            };
            for (pool, level) in &plan.pools {
                self.open_pool(&name, pool, *level);
            }
            let instances = [self.holder(), self.holder()];
            self.names.insert(name.clone(), index);
            self.hosts.push(Host {
                name,
                kind: plan.kind,
                resource,
                is_up: true,
                run: 1,
                instances,
                waiting: Default::default(),
                pinned: Default::default(),
                asks: false,
                watermarks: Default::default(),
            });
            if !self.swarm.collect_off || self.is_mutant(Mutation::ForgottenEarly) {
                let early = self.is_mutant(Mutation::ForgottenEarly);
                let first = if early { SECOND / 4 } else { COLLECT_US };
                self.after(first, Event::Collect { host: index });
            }
        }
    }

    fn open_pool(&mut self, name: &ParticipantName, pool: &str, level: u64) {
        let now = self.store_now();
        let read = Reservations::item(name, pool).expect("the workload names pools well");
        let rows = self.store.read(std::slice::from_ref(&read), now).expect("the key is valid");
        let set = Reservations::open_item(&read, &rows[0], level).expect("it is opened once");
        self.store.write(&set.into_iter().collect::<Vec<_>>(), now);
    }

    pub(crate) fn clock(&mut self) -> Clock {
        let rate = if self.swarm.drift { self.rng.range(250_000, 2_000_000) } else { 1_000_000 };
        Clock::new(self.now, rate)
    }

    fn engine_settings(&mut self) -> EngineSettings {
        let mut settings = EngineSettings {
            attempt_timeout_max: Duration::from_secs(2),
            retry: self.swarm.retry(),
            deadline: Duration::from_millis(self.swarm.deadline_us / MS),
            backoff_durable: Duration::from_millis(self.rng.range(150, 1_500)),
            park_after: Duration::from_millis(self.rng.range(100, 1_000)),
            breaker_failures: self.rng.range(3, 40) as u32,
            without_inbox: self.without_inbox(),
            ..EngineSettings::default()
        };
        for pattern in Pattern::ALL {
            for phase in Phase::ALL {
                let seconds = self.rng.range(1, 4);
                let time = if self.swarm.expiry_off { NEVER } else { Duration::from_secs(seconds) };
                // What the pattern does not have has no time.
                let _ = settings.bounds.base.set(pattern, phase, time);
            }
        }
        settings.check().expect("the settings are valid");
        settings
    }

    fn without_inbox(&self) -> BTreeSet<ParticipantName> {
        if self.is_mutant(Mutation::ForeignNotDeclared) {
            return BTreeSet::new();
        }
        self.hosts.iter().filter(|host| host.is_foreign()).map(|host| host.name.clone()).collect()
    }

    fn plan_troubles(&mut self) {
        let lasts = self.rng.range(FAULTS_US.0, FAULTS_US.1);
        let plan = [
            (self.swarm.coordinator_crashes, Trouble::CrashCoordinator),
            (self.swarm.coordinator_stalls, Trouble::StallCoordinator),
            (self.swarm.handovers, Trouble::HandOver),
            (self.swarm.participant_crashes, Trouble::CrashParticipant),
            (self.swarm.clock_steps, Trouble::StepClock),
        ];
        for (count, trouble) in plan {
            for _ in 0..count {
                let at = self.rng.below(lasts);
                self.after(at, Event::Trouble(trouble));
            }
        }
        self.after(lasts, Event::Heal);
        self.after(lasts + SECOND, Event::Settle);
    }

    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        let coordinator = self.rng.below(self.coordinators.len() as u64) as usize;
        let down = self.rng.range(10 * MS, 4 * SECOND);
        self.trace.mark(10, coordinator as u64, down);
        self.trace.line(self.now, "trouble", "trouble", || format!("{trouble:?} {coordinator}"));
        match trouble {
            Trouble::RestartCoordinator(coordinator) => self.restart_coordinator(coordinator),
            Trouble::RestartParticipant(host) => self.restart_participant(host),
            _ if self.is_healed() => {}
            Trouble::CrashCoordinator if self.coordinators[coordinator].is_up => {
                self.counters.crashes += 1;
                self.coordinators[coordinator].crash();
                self.after(down, Event::Trouble(Trouble::RestartCoordinator(coordinator)));
            }
            Trouble::StallCoordinator => {
                self.counters.stalls += 1;
                let until = self.now + self.rng.range(SECOND, 6 * SECOND);
                self.coordinators[coordinator].stalled_until = until;
            }
            Trouble::HandOver => {
                let c = &mut self.coordinators[coordinator];
                if let Some((_, seat)) = c.seats.pop_first() {
                    self.counters.handovers += 1;
                    self.store.release(&[seat.lease]);
                }
            }
            Trouble::CrashParticipant => {
                let host = self.rng.below(self.hosts.len() as u64) as usize;
                if self.hosts[host].is_up {
                    self.counters.crashes += 1;
                    self.hosts[host].crash();
                    self.after(down / 2, Event::Trouble(Trouble::RestartParticipant(host)));
                }
            }
            Trouble::StepClock => {
                let by = self.rng.range(MS, 8 * SECOND);
                let back = self.rng.below(4 * SECOND) as i64;
                let now = self.now;
                let c = &mut self.coordinators[coordinator];
                c.clock.step(now, by);
                c.skew -= back;
            }
            Trouble::CrashCoordinator => {}
        }
    }

    fn restart_coordinator(&mut self, coordinator: usize) {
        if self.coordinators[coordinator].is_up {
            return;
        }
        let (holder, clock) = (self.holder(), self.clock());
        let c = &mut self.coordinators[coordinator];
        (c.is_up, c.holder, c.clock) = (true, holder, clock);
        let run = c.run;
        self.after(1, Event::Leases { coordinator, run });
        self.after(SECOND, Event::Scan { coordinator, run });
    }

    fn restart_participant(&mut self, host: usize) {
        if self.hosts[host].is_up {
            return;
        }
        let instances = [self.holder(), self.holder()];
        (self.hosts[host].is_up, self.hosts[host].instances) = (true, instances);
        self.find_pinned(host);
    }

    /// Faults stop: everything is up and every message arrives.
    pub(crate) fn heal(&mut self) {
        self.healed_at = Some(self.now);
        self.trace.line(self.now, "trouble", "trouble", || "heal".to_owned());
        for coordinator in 0..self.coordinators.len() {
            self.restart_coordinator(coordinator);
            let c = &mut self.coordinators[coordinator];
            c.stalled_until = c.stalled_until.min(self.now);
            self.wake(coordinator);
        }
        for host in 0..self.hosts.len() {
            self.restart_participant(host);
        }
    }
}
