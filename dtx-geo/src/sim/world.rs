//! Regions with their parts of a pool, their disks and clocks, and the network between them.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use dtx_core::time::Timestamp;

#[cfg(test)]
use crate::sim::check::{Checker, Disk, left};
use crate::{
    model::Rng,
    pool::{
        Answer, Cells, Effect, HoldId, Input, Member, Message, PoolMap, PoolRegion, PoolSettings,
        Step, Write,
    },
    sim::network::Network,
};

/// How often a region is told that time has passed, in microseconds.
const TICK: u64 = 100_000;

/// What happens at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<T> {
    Deliver {
        from: Member,
        to: Member,
        message: Message,
    },
    Land {
        node: Member,
        life: u32,
    },
    Tick {
        node: Member,
        life: u32,
    },
    /// What the caller of the world has put there.
    Own(T),
}

/// What the caller has to deal with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told<T> {
    Answer { node: Member, id: HoldId, answer: Answer },
    Own(T),
}

/// A step whose writes have not landed.
#[derive(Debug)]
struct Unlanded {
    at: u64,
    step: Step,
}

/// One region.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) part: Option<PoolRegion>,
    /// What its disk holds.
    pub(crate) disk: Cells,
    pub(crate) incarnation: u32,
    unlanded: VecDeque<Unlanded>,
    /// Grows with each start and each crash: what was meant for an earlier life is dropped.
    life: u32,
    /// The rate of its clock, in millionths off.
    drift: i64,
}

/// All of it. Time is real time, in microseconds.
#[derive(Debug)]
pub(crate) struct World<T> {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) rng: Rng,
    pub(crate) steps: u64,
    pub(crate) messages: u64,
    pub(crate) moves: u64,
    /// How long a commit takes, at least and at most.
    commit: (u64, u64),
    map: Arc<PoolMap>,
    settings: PoolSettings,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event<T>>>,
    unused: Vec<usize>,
    order: u64,
    told: VecDeque<Told<T>>,
    pub(crate) landed: Vec<(Member, Vec<Write>)>,
    keep_landed: bool,
    spare: Vec<Step>,
    #[cfg(test)]
    bug: Option<crate::pool::Bug>,
}

impl<T: Copy> World<T> {
    pub(crate) fn new(
        network: Network,
        map: PoolMap,
        settings: PoolSettings,
        commit: (u64, u64),
        seed: u64,
    ) -> Self {
        let count = map.count();
        let node = |_| Node {
            part: None,
            disk: Cells::new(count),
            incarnation: 0,
            unlanded: VecDeque::new(),
            life: 0,
            drift: 0,
        };
        Self {
            now: 1_000_000,
            nodes: (0..count).map(node).collect(),
            network,
            rng: Rng::new(seed, 1),
            steps: 0,
            messages: 0,
            moves: 0,
            commit,
            map: Arc::new(map),
            settings,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            unused: Vec::new(),
            order: 0,
            told: VecDeque::new(),
            landed: Vec::new(),
            keep_landed: false,
            spare: Vec::new(),
            #[cfg(test)]
            bug: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn with_bug(mut self, bug: Option<crate::pool::Bug>) -> Self {
        self.bug = bug;
        self.keep_landed = true;
        self
    }

    #[cfg(test)]
    pub(crate) fn set_drift(&mut self, node: Member, drift: i64) {
        self.nodes[node.index()].drift = drift;
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = Member> + use<T> {
        (0..self.nodes.len()).map(Member::of)
    }

    /// What a region's clock shows.
    pub(crate) fn clock(&self, node: Member) -> Timestamp {
        let drift = self.nodes[node.index()].drift;
        let off = self.now as i128 * i128::from(drift) / 1_000_000;
        Timestamp::from_micros((self.now as i128 + off) as u64)
    }

    pub(crate) fn at(&mut self, when: u64, event: Event<T>) {
        let slot = match self.unused.pop() {
            Some(slot) => {
                self.events[slot] = Some(event);
                slot
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.order += 1;
        self.queue.push(Reverse((when, self.order, slot)));
    }

    /// Starts a region, with what its disk holds.
    pub(crate) fn start(&mut self, node: Member) {
        let clock = self.clock(node);
        let at = &mut self.nodes[node.index()];
        let mut step = self.spare.pop().unwrap_or_default();
        step.clear();
        let own = (node, at.incarnation);
        let (map, disk) = (Arc::clone(&self.map), at.disk.clone());
        let part = PoolRegion::start(own, map, self.settings, disk, clock, &mut step);
        #[cfg_attr(not(test), expect(unused_mut, reason = "tests plant a bug"))]
        let mut part = part.expect("the settings of a simulation are valid");
        #[cfg(test)]
        {
            part.bug = self.bug;
        }
        at.part = Some(part);
        at.life += 1;
        let life = at.life;
        self.settle(node, step);
        let first = self.now + self.rng.below(TICK);
        self.at(first, Event::Tick { node, life });
    }

    /// A region stops: what has not landed is lost.
    #[cfg(test)]
    pub(crate) fn crash(&mut self, node: Member) {
        let at = &mut self.nodes[node.index()];
        at.part = None;
        at.unlanded.clear();
        at.life += 1;
    }

    /// The disk of a region that is down is replaced by an empty one.
    #[cfg(test)]
    pub(crate) fn lose_disk(&mut self, node: Member) {
        let count = self.nodes.len();
        let at = &mut self.nodes[node.index()];
        at.incarnation += 1;
        at.disk = Cells::new(count);
    }

    pub(crate) fn input(&mut self, node: Member, input: Input) -> bool {
        let clock = self.clock(node);
        let Some(part) = self.nodes[node.index()].part.as_mut() else { return false };
        let mut step = self.spare.pop().unwrap_or_default();
        part.step(clock, input, &mut step);
        self.steps += 1;
        self.settle(node, step);
        true
    }

    /// What a step wants done is done once its writes have landed.
    fn settle(&mut self, node: Member, step: Step) {
        let (least, most) = self.commit;
        let at = &mut self.nodes[node.index()];
        if at.unlanded.is_empty() && (step.writes.is_empty() || most == 0) {
            self.land(node, step);
            return;
        }
        let time = self.now + least + self.rng.below(most - least + 1);
        // One log: nothing lands before what was written earlier.
        let time = at.unlanded.back().map_or(time, |last| time.max(last.at));
        at.unlanded.push_back(Unlanded { at: time, step });
        let life = at.life;
        self.at(time, Event::Land { node, life });
    }

    fn land(&mut self, node: Member, mut step: Step) {
        for write in &step.writes {
            self.nodes[node.index()].disk.apply(write);
        }
        if self.keep_landed && !step.writes.is_empty() {
            self.landed.push((node, step.writes.clone()));
        }
        for effect in step.effects.drain(..) {
            match effect {
                Effect::Answer { id, answer } => {
                    self.told.push_back(Told::Answer { node, id, answer });
                }
                Effect::Send { to, message, moves } => {
                    self.messages += 1;
                    self.moves += u64::from(moves > 0);
                    for way in self.network.arrivals(node, to, &mut self.rng).into_iter().flatten()
                    {
                        self.at(self.now + way, Event::Deliver { from: node, to, message });
                    }
                }
            }
        }
        step.clear();
        self.spare.push(step);
    }

    /// What the caller has to deal with next, up to a time; `None`: nothing before it.
    pub(crate) fn next(&mut self, until: u64) -> Option<Told<T>> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            if !self.advance(until) {
                self.now = self.now.max(until);
                return None;
            }
        }
    }

    /// Lets the next event happen; `false`: there is none before `until`.
    pub(crate) fn advance(&mut self, until: u64) -> bool {
        let Some(Reverse((when, _, slot))) = self.queue.peek().copied() else { return false };
        if when > until {
            return false;
        }
        self.queue.pop();
        self.now = self.now.max(when);
        let event = self.events[slot].take();
        self.unused.push(slot);
        match event {
            Some(Event::Own(own)) => self.told.push_back(Told::Own(own)),
            Some(Event::Deliver { from, to, message }) => {
                self.input(to, Input::Message { from, message });
            }
            Some(Event::Tick { node, life }) if self.nodes[node.index()].life == life => {
                self.input(node, Input::Tick);
                self.at(self.now + TICK, Event::Tick { node, life });
            }
            Some(Event::Land { node, life }) if self.nodes[node.index()].life == life => {
                if let Some(unlanded) = self.nodes[node.index()].unlanded.pop_front() {
                    self.land(node, unlanded.step);
                }
            }
            Some(Event::Tick { .. } | Event::Land { .. }) | None => {}
        }
        true
    }

    /// What has landed in each region.
    #[cfg(test)]
    pub(crate) fn disks(&self) -> Vec<Disk<'_>> {
        let nodes = self.nodes.iter();
        nodes.map(|node| Disk { cells: &node.disk, incarnation: node.incarnation }).collect()
    }

    /// Units that may be sold some time, by what each region knows.
    #[cfg(test)]
    pub(crate) fn left(&self) -> i64 {
        let known: Vec<_> = self
            .nodes
            .iter()
            .map(|node| Disk {
                cells: node.part.as_ref().map_or(&node.disk, |part| part.cells()),
                incarnation: node.incarnation,
            })
            .collect();
        left(&known)
    }

    /// After a step: what has landed is checked.
    #[cfg(test)]
    pub(crate) fn checked(&mut self, checker: &mut Checker) {
        let landed = std::mem::take(&mut self.landed);
        let disks = self.disks();
        for (node, writes) in &landed {
            checker.landed(&disks, *node, writes);
        }
        if !landed.is_empty() {
            checker.together(&disks);
        }
        checker.left(self.now, self.left());
    }

    /// The next thing to tell, without letting time pass.
    #[cfg(test)]
    pub(crate) fn take_told(&mut self) -> Option<Told<T>> {
        self.told.pop_front()
    }
}
