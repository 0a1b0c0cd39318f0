//! How a run begins: participants, coordinators, clients, and what will go wrong when.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dtx_core::{
    answer::Reason,
    engine::{EngineSettings, Signal, SignalEntry},
    name::ParticipantName,
    pattern::{Pattern, Phase},
    resource::{Ledger, Locks, Reservations, Resource},
    store::Scope,
};

use crate::{
    client::Client,
    clock::Clock,
    coordinator::{Coordinator, NAMES},
    event::Event,
    host::Host,
    inquiry::COLLECT_US,
    moves::EXAMINE_US,
    mutation::Mutation,
    regions::Atlas,
    swarm::{MS, SECOND},
    workload::{HostKind, Workload},
    world::World,
};

/// With the mechanism off, nothing expires for this long.
const NEVER: Duration = Duration::from_secs(3_600);

impl World {
    pub(crate) fn begin_run(&mut self, workload: Workload) {
        self.open_hosts(&workload);
        let places = workload.hosts.iter().map_while(|host| host.region.as_ref());
        let places = places.map(|(region, _)| *region).collect();
        let (seed, regions) = (self.seed, self.regions.take());
        self.atlas = regions.map(|regions| Atlas::new(regions, seed, NAMES.len(), places));
        self.settings = Arc::new(self.engine_settings());
        for index in 0..NAMES.len() {
            let holder = self.holder();
            let clock = self.clock();
            let mut coordinator = Coordinator::new(holder, clock, self.settings_of(index));
            if self.swarm.drift {
                coordinator.skew = self.rng.below(4 * SECOND) as i64 - 2 * SECOND as i64;
            }
            self.coordinators.push(coordinator);
            self.after(1, Event::Leases { coordinator: index, run: 1 });
            let first = self.rng.range(1, SECOND);
            self.after(first, Event::Scan { coordinator: index, run: 1 });
            if self.swarm.healers {
                self.after(EXAMINE_US, Event::Examine { coordinator: index, run: 1 });
            }
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
                HostKind::Detached | HostKind::Foreign | HostKind::Own => None,
            };
            let open = |(pool, level): &(String, u64)| self.open_pool(&name, pool, *level);
            let scopes: Vec<_> = plan.pools.iter().map(open).collect();
            let inbox_scope = Scope::new(format!("{name}/inbox")).expect("a name makes a scope");
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
                skew: 0,
                inbox_scope: inbox_scope.clone(),
                scopes: scopes.into_iter().chain([inbox_scope]).collect(),
                watermarks: Default::default(),
            });
            if !self.swarm.collect_off || self.is_mutant(Mutation::ForgottenEarly) {
                let early = self.is_mutant(Mutation::ForgottenEarly);
                let first = if early { SECOND / 4 } else { COLLECT_US };
                self.after(first, Event::Collect { host: index });
            }
        }
    }

    fn open_pool(&mut self, name: &ParticipantName, pool: &str, level: u64) -> Scope {
        let now = self.store_now();
        let read = Reservations::item(name, pool).expect("the workload names pools well");
        let rows = self.store.read(std::slice::from_ref(&read), now).expect("the key is valid");
        let set = Reservations::open_item(&read, &rows[0], level).expect("it is opened once");
        self.store.write(&set.into_iter().collect::<Vec<_>>(), now);
        read.scope
    }

    pub(crate) fn clock(&mut self) -> Clock {
        let rate = match (self.swarm.drift, self.swarm.slow_clocks) {
            (_, true) => self.rng.range(150_000, 400_000),
            (true, false) => self.rng.range(250_000, 2_000_000),
            (false, false) => 1_000_000,
        };
        Clock::new(self.now, rate)
    }

    fn engine_settings(&mut self) -> EngineSettings {
        let mut settings = EngineSettings {
            attempt_timeout_max: Duration::from_secs(2),
            retry: self.swarm.retry(),
            deadline: Duration::from_millis(self.swarm.deadline_us / MS),
            backoff_durable: Duration::from_millis(self.rng.range(150, 1_500)),
            park_after: Duration::from_millis(self.rng.range(100, 1_000)),
            resumes_max: self.swarm.resumes_max,
            breaker_failures: self.rng.range(3, 40) as u32,
            without_inbox: self.without_inbox(),
            placement: self.placement.clone(),
            ..EngineSettings::default()
        };
        for pattern in Pattern::ALL {
            for phase in Phase::ALL {
                let millis = self.rng.range(300, 4_000);
                let bounded = Duration::from_millis(millis);
                let time = if self.swarm.expiry_off { NEVER } else { bounded };
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
}
