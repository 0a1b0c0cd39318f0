//! What breaks while a run goes on, and how all of it is repaired.

use dtx_core::ids::TxId;

use crate::{
    event::{Event, Trouble},
    history::What,
    moves::EXAMINE_US,
    network::Node,
    swarm::{MS, SECOND, Swarm},
    workload::Poison,
    world::World,
};

/// How long faults last.
const FAULTS_US: (u64, u64) = (4 * SECOND, 14 * SECOND);
/// How far a clock of a store jumps at the most, ahead or back.
const STEP_US: i64 = 4 * SECOND as i64;

impl World {
    pub(crate) fn plan_troubles(&mut self) {
        let lasts = self.rng.range(FAULTS_US.0, FAULTS_US.1);
        let Swarm { coordinator_crashes, coordinator_stalls, handovers, .. } = self.swarm;
        let Swarm { participant_crashes, clock_steps, partitions, outages, .. } = self.swarm;
        let region_losses = if self.atlas.is_some() { self.swarm.region_losses } else { 0 };
        let plan = [
            (coordinator_crashes, Trouble::CrashCoordinator),
            (coordinator_stalls, Trouble::StallCoordinator),
            (handovers, Trouble::HandOver),
            (participant_crashes, Trouble::CrashParticipant),
            (clock_steps, Trouble::StepClock),
            (partitions, Trouble::Partition),
            (outages, Trouble::Outage),
            (region_losses, Trouble::LoseRegion),
        ];
        for (count, trouble) in plan {
            for _ in 0..count {
                let at = self.rng.below(lasts);
                self.after(at, Event::Trouble(trouble));
            }
        }
        self.plan_moves(lasts);
        self.after(lasts, Event::Heal);
        self.after(lasts + SECOND, Event::Settle);
    }

    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        let coordinator = self.rng.below(self.coordinators.len() as u64) as usize;
        let down = self.rng.range(10 * MS, 4 * SECOND);
        self.trace.mark(10, coordinator as u64, down);
        let text = || match trouble.fault() {
            Some(fault) => What::Fault { fault: fault.to_owned() },
            None => What::Note { text: format!("{trouble:?}") },
        };
        self.trace.note(self.now, ("trouble", "trouble"), None, text);
        match trouble {
            Trouble::RestartCoordinator(coordinator) => self.restart_coordinator(coordinator),
            Trouble::RestartParticipant(host) => self.restart_participant(host),
            _ if self.is_healed() => {}
            Trouble::CrashCoordinator => self.crash_coordinator(coordinator, down),
            Trouble::PoisonCoordinator(coordinator) => {
                self.crash_coordinator(coordinator, down / 10);
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
                self.crash_participant(host, down / 2);
            }
            Trouble::Partition => self.partition(),
            Trouble::Outage => self.outage(),
            Trouble::LoseRegion => self.lose_region(),
            Trouble::StepClock => self.step_clock(coordinator),
        }
    }

    /// The clock of a coordinator, of the shared store or of a participant's store jumps. A
    /// coordinator's own clock is monotonic, and its idea of the store's clock is not.
    fn step_clock(&mut self, coordinator: usize) {
        self.counters.clock_steps += 1;
        let by = self.rng.below(2 * STEP_US as u64) as i64 - STEP_US;
        match self.rng.below(4) {
            0 => self.store_shift += by,
            1 => {
                let host = self.rng.below(self.hosts.len() as u64) as usize;
                self.hosts[host].skew += by;
            }
            _ => {
                let ahead = self.rng.range(MS, 8 * SECOND);
                let now = self.now;
                let c = &mut self.coordinators[coordinator];
                c.clock.step(now, ahead);
                c.skew += by;
            }
        }
    }

    /// A coordinator crashes and is started again after a while.
    pub(crate) fn crash_coordinator(&mut self, coordinator: usize, down: u64) {
        if self.coordinators[coordinator].is_up {
            self.counters.crashes += 1;
            self.coordinators[coordinator].crash();
            self.after(down, Event::Trouble(Trouble::RestartCoordinator(coordinator)));
        }
    }

    /// A participant crashes and is started again after a while.
    pub(crate) fn crash_participant(&mut self, host: usize, down: u64) {
        if self.hosts[host].is_up {
            self.counters.crashes += 1;
            self.hosts[host].crash();
            self.after(down, Event::Trouble(Trouble::RestartParticipant(host)));
        }
    }

    /// Any node crashes.
    ///
    /// # Panics
    /// When there is none of that name.
    pub(crate) fn crash(&mut self, name: &str) {
        let text = || What::Fault { fault: "crash".to_owned() };
        self.trace.note(self.now, ("trouble", "trouble"), None, text);
        let Some(node) = self.node(name) else { panic!("there is no node {name:?}") };
        match node {
            Node::Coordinator(coordinator) => self.crash_coordinator(coordinator, SECOND / 2),
            Node::Host(host) => self.crash_participant(host, SECOND / 2),
            Node::Store => self.crash_store(self.now + SECOND / 2),
        }
    }

    /// Whether a transaction kills who handles it: until the faults are over, which stands for
    /// the release that repairs it.
    pub(crate) fn is_poison(&self, tx: TxId, poison: Poison) -> bool {
        let plan = self.owners.get(&tx).map(|client| &self.clients[*client].plan);
        !self.is_healed() && plan.is_some_and(|plan| plan.poison == Some(poison))
    }

    fn restart_coordinator(&mut self, coordinator: usize) {
        if self.coordinators[coordinator].is_up {
            return;
        }
        let (holder, clock) = (self.holder(), self.clock());
        let settings = self.settings_of(coordinator);
        let c = &mut self.coordinators[coordinator];
        (c.is_up, c.holder, c.clock, c.settings) = (true, holder, clock, settings);
        let run = c.run;
        self.after(1, Event::Leases { coordinator, run });
        self.after(SECOND, Event::Scan { coordinator, run });
        if self.swarm.healers {
            self.after(EXAMINE_US, Event::Examine { coordinator, run });
        }
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
        self.trace.note(self.now, ("trouble", "trouble"), None, || What::Healed);
        self.network.heal();
        self.store_slow_until = 0;
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
