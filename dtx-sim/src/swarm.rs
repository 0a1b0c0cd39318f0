//! What is wrong in a run: every seed draws which faults are on and how strong they are, and which
//! mechanisms are off, because mechanisms that repair each other's damage hide bugs.

use crate::{
    faults::{Fault, Faults},
    rng::Rng,
};

/// Microseconds of virtual time in a millisecond.
pub(crate) const MS: u64 = 1_000;
/// Microseconds of virtual time in a second.
pub(crate) const SECOND: u64 = 1_000_000;

/// In how many of a thousand seeds owners and participants dispute about what has passed.
const DISPUTES: u32 = 120;

/// The faults and the mechanisms of one run. Chances are per mille.
#[derive(Clone, Debug, Default)]
pub(crate) struct Swarm {
    /// A message is lost.
    pub(crate) loss: u32,
    /// A message arrives twice.
    pub(crate) duplicate: u32,
    /// A message takes up to `slow_us`.
    pub(crate) slow: u32,
    pub(crate) slow_us: u64,
    /// How long a message takes otherwise, at the most.
    pub(crate) delay_us: u64,
    /// How many times each kind of trouble comes.
    pub(crate) coordinator_crashes: u64,
    pub(crate) coordinator_stalls: u64,
    pub(crate) handovers: u64,
    pub(crate) participant_crashes: u64,
    pub(crate) partitions: u64,
    pub(crate) outages: u64,
    pub(crate) region_losses: u64,
    /// In so many of a thousand transactions there is what kills whoever handles it.
    pub(crate) poison: u32,
    /// The store acknowledges a write and loses it.
    pub(crate) amnesia: u32,
    /// A commit fails in one of several ways.
    pub(crate) store_faults: u32,
    /// How long a commit takes at the most.
    pub(crate) store_us: u64,
    /// Coordinators' clocks run at different rates.
    pub(crate) drift: bool,
    /// All of them are slow.
    pub(crate) slow_clocks: bool,
    /// How many times the clock of a coordinator, of the store or of a participant's store jumps.
    pub(crate) clock_steps: u64,
    /// Somebody cancels a transaction.
    pub(crate) cancels: u32,
    /// A handler says no.
    pub(crate) refusals: u32,
    /// A handler does not know.
    pub(crate) unknowns: u32,
    /// A handler says no after it has promised, or to going back, where it is asked again.
    pub(crate) broken_promises: u32,
    /// How long a transaction without a deadline of its own may stay undecided.
    pub(crate) deadline_us: u64,
    /// A claim never expires.
    pub(crate) expiry_off: bool,
    /// Participants never ask what was decided while faults last.
    pub(crate) inquiry_off: bool,
    /// Owners are never woken and find signals by their scans only.
    pub(crate) wakes_off: bool,
    /// Participants never forget.
    pub(crate) collect_off: bool,
    /// How often a command is sent. Retries are off when it is 1.
    pub(crate) attempts_max: u32,
    /// How often a transaction is taken up before it waits for an operator.
    pub(crate) resumes_max: u16,
    /// How many moves operators make while faults last.
    pub(crate) moves: u64,
    /// Each coordinator has a healer.
    pub(crate) healers: bool,
    /// Somebody who holds nothing asks about a transaction.
    pub(crate) strays: u32,
    /// A copy of a command comes when everything about it is forgotten.
    pub(crate) ancient: u32,
    /// How long a new owner takes from one page of what is open to the next, at the most.
    pub(crate) page_us: u64,
    /// How long the write of a built-in participant comes after its read; 0: at once.
    pub(crate) split_us: u64,
}

impl Swarm {
    /// Nothing is wrong.
    pub(crate) fn calm() -> Self {
        Self {
            delay_us: 2 * MS,
            store_us: 3 * MS,
            page_us: MS,
            attempts_max: 8,
            resumes_max: 16,
            deadline_us: 60 * SECOND,
            collect_off: true,
            ..Self::default()
        }
    }

    /// Each seed draws from all faults, so that the others stay as they are when one is left out.
    /// `side` is a stream of its own for the same reason.
    pub(crate) fn draw(rng: &mut Rng, side: &mut Rng, faults: Faults) -> Self {
        let moves = (if side.chance(300) { side.range(1, 8) } else { 0 }, side.chance(400));
        let strays = if side.chance(300) { side.range(1, 300) as u32 } else { 0 };
        let ancient = if side.chance(300) { side.range(1, 200) as u32 } else { 0 };
        let page_us = if side.chance(300) { side.range(MS, 2 * SECOND) } else { MS };
        let region_losses = if side.chance(400) { side.range(1, 3) } else { 0 };
        let is_dispute = rng.chance(DISPUTES);
        let swarm = Self::mixed(rng);
        let mut swarm = if is_dispute { swarm.into_dispute(rng) } else { swarm };
        (swarm.moves, swarm.healers) = moves;
        swarm.region_losses = region_losses;
        (swarm.strays, swarm.ancient, swarm.page_us) = (strays, ancient, page_us);
        swarm.amnesia = if faults.has(Fault::Volatile) { 100 } else { 0 };
        swarm.keep_to(faults);
        swarm
    }

    fn keep_to(&mut self, faults: Faults) {
        let off = |fault| !faults.has(fault);
        let none = |amount: &mut u32, fault| *amount = if off(fault) { 0 } else { *amount };
        none(&mut self.loss, Fault::Loss);
        none(&mut self.duplicate, Fault::Duplicate);
        none(&mut self.slow, Fault::Delay);
        none(&mut self.ancient, Fault::Delay);
        none(&mut self.strays, Fault::Duplicate);
        none(&mut self.store_faults, Fault::StoreError);
        none(&mut self.cancels, Fault::Cancel);
        none(&mut self.refusals, Fault::Refusal);
        none(&mut self.unknowns, Fault::Unknown);
        none(&mut self.broken_promises, Fault::BrokenPromise);
        none(&mut self.poison, Fault::Poison);
        let never = |times: &mut u64, fault| *times = if off(fault) { 0 } else { *times };
        never(&mut self.coordinator_crashes, Fault::CoordinatorCrash);
        never(&mut self.participant_crashes, Fault::ParticipantCrash);
        never(&mut self.coordinator_stalls, Fault::Stall);
        never(&mut self.handovers, Fault::Handover);
        never(&mut self.partitions, Fault::Partition);
        never(&mut self.outages, Fault::StoreOutage);
        never(&mut self.region_losses, Fault::RegionLoss);
        never(&mut self.clock_steps, Fault::Clock);
        never(&mut self.moves, Fault::Operator);
        self.healers &= faults.has(Fault::Healer);
        if off(Fault::Clock) {
            (self.drift, self.slow_clocks) = (false, false);
        }
    }

    /// The owners' clocks are slow and the store is too, so that participants ask, and get their
    /// abort, while an owner still believes that it may commit.
    fn into_dispute(self, rng: &mut Rng) -> Self {
        Self {
            loss: 250,
            slow: 0,
            coordinator_crashes: 0,
            coordinator_stalls: 0,
            handovers: 0,
            partitions: 0,
            outages: 0,
            poison: 0,
            drift: true,
            slow_clocks: true,
            clock_steps: 0,
            store_us: rng.range(100 * MS, 500 * MS),
            deadline_us: rng.range(SECOND / 2, 2 * SECOND),
            expiry_off: false,
            inquiry_off: false,
            wakes_off: rng.chance(500),
            attempts_max: 20,
            ..self
        }
    }

    fn mixed(rng: &mut Rng) -> Self {
        let mut on = |per_mille: u32| rng.chance(per_mille);
        let (loss, duplicate, slow) = (on(600), on(500), on(500));
        let (crashes, stalls, handovers, down) = (on(500), on(350), on(250), on(400));
        let (store, drift, steps, cancels) = (on(500), on(400), on(250), on(400));
        let (refusals, unknowns, broken) = (on(600), on(400), on(80));
        let (partitions, outages, poison) = (on(350), on(250), on(80));
        let latest = if on(500) { 3 * SECOND } else { 15 * SECOND };
        let mut upto = |is_on: bool, most: u64| if is_on { rng.range(1, most) } else { 0 };
        Self {
            loss: upto(loss, 250) as u32,
            duplicate: upto(duplicate, 300) as u32,
            slow: upto(slow, 150) as u32,
            slow_us: upto(true, 6 * SECOND),
            delay_us: upto(true, 80 * MS),
            coordinator_crashes: upto(crashes, 4),
            coordinator_stalls: upto(stalls, 3),
            handovers: upto(handovers, 3),
            participant_crashes: upto(down, 4),
            partitions: upto(partitions, 5),
            outages: upto(outages, 3),
            region_losses: 0,
            poison: upto(poison, 150) as u32,
            amnesia: 0,
            moves: 0,
            healers: false,
            strays: 0,
            ancient: 0,
            page_us: MS,
            store_faults: upto(store, 250) as u32,
            store_us: upto(true, 40 * MS),
            drift,
            slow_clocks: false,
            clock_steps: upto(steps, 4),
            cancels: upto(cancels, 400) as u32,
            refusals: upto(refusals, 250) as u32,
            unknowns: upto(unknowns, 300) as u32,
            broken_promises: upto(broken, 200) as u32,
            expiry_off: rng.chance(250),
            inquiry_off: rng.chance(250),
            wakes_off: rng.chance(250),
            collect_off: rng.chance(250),
            attempts_max: *rng.pick(&[1, 3, 8, 20]),
            resumes_max: *rng.pick(&[2, 4, 16]),
            deadline_us: rng.range(SECOND / 2, latest),
            split_us: if rng.chance(500) { rng.range(1, 60 * MS) } else { 0 },
        }
    }
}
