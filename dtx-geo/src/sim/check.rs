//! What must hold of a pool after every step: the invariants I1 to I8.

use std::collections::BTreeMap;

use crate::{
    pool::{Cells, Hold, HoldId, HoldState, Member, PoolSettings, Write},
    sim::world::World,
};

/// The most units that one request asks for, in these runs.
pub(crate) const UNITS_MAX: usize = 64;

/// Watches a world.
#[derive(Debug)]
pub(crate) struct Checker {
    settings: PoolSettings,
    buddy: Vec<Option<Member>>,
    minted: u64,
    /// The given cells of each region as they last landed, with the incarnations.
    given: Vec<Vec<(u32, u64)>>,
    own: Vec<u32>,
    holds: BTreeMap<(Member, u32, HoldId), Hold>,
    /// When fewer than so many units were last left in all.
    pub(crate) low: [Option<u64>; UNITS_MAX + 1],
    /// Disks that were lost.
    pub(crate) lost: Vec<Cells>,
    /// Units that callers were told are sold, by hold.
    told: BTreeMap<(Member, u32, HoldId), u64>,
    pub(crate) broken: Option<String>,
}

impl Checker {
    pub(crate) fn new(settings: PoolSettings, buddy: Vec<Option<Member>>, minted: u64) -> Self {
        let count = buddy.len();
        Self {
            settings,
            buddy,
            minted,
            given: vec![vec![(0, 0); count]; count],
            own: vec![0; count],
            holds: BTreeMap::new(),
            low: [None; UNITS_MAX + 1],
            lost: Vec::new(),
            told: BTreeMap::new(),
            broken: None,
        }
    }

    fn must(&mut self, holds: bool, says: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(says());
        }
    }

    /// After a step.
    pub(crate) fn look<T: Copy>(&mut self, world: &mut World<T>) {
        let landed = std::mem::take(&mut world.landed);
        if !landed.is_empty() {
            for (node, writes) in &landed {
                self.landed(world, *node, writes);
            }
            self.disks(world);
        }
        let left = left(world);
        for low in self.low.iter_mut().skip(usize::try_from(left.max(0)).unwrap_or(0) + 1) {
            *low = Some(world.now);
        }
    }

    fn landed<T: Copy>(&mut self, world: &World<T>, node: Member, writes: &[Write]) {
        let incarnation = world.nodes[node.index()].incarnation;
        for write in writes {
            match *write {
                // I1: the own cells only grow.
                Write::Peer(to, peer) => {
                    let known = self.given[node.index()][to.index()];
                    let same = self.own[node.index()] == incarnation && known.0 == peer.incarnation;
                    self.must(!same || peer.given >= known.1, || {
                        format!("I1: {node:?} took back from {to:?}: {known:?}, {peer:?}")
                    });
                    self.given[node.index()][to.index()] = (peer.incarnation, peer.given);
                }
                Write::Hold(id, hold) => self.held((node, incarnation, id), hold),
                // After its time an id may be used for another hold.
                Write::Forget(id) => {
                    self.holds.remove(&(node, incarnation, id));
                }
                _ => {}
            }
        }
        if self.own[node.index()] != incarnation {
            self.own[node.index()] = incarnation;
            self.given[node.index()] = world.nodes[node.index()]
                .disk
                .peers
                .iter()
                .map(|peer| (peer.incarnation, peer.given))
                .collect();
        }
    }

    fn held(&mut self, key: (Member, u32, HoldId), hold: Hold) {
        // I5: a hold leaves `Open` once.
        let before = self.holds.insert(key, hold);
        let ended = before.is_some_and(|before| before.state != HoldState::Open);
        self.must(!ended, || format!("I5: {key:?} had ended: {before:?}, {hold:?}"));
        // I6: its life is bounded.
        let life = hold.until.since(hold.created);
        let most = self.settings.hold_total_max;
        self.must(hold.state != HoldState::Open || life <= most, || {
            format!("I6: {key:?} lives for {life:?}")
        });
    }

    fn disks<T: Copy>(&mut self, world: &World<T>) {
        let mut total = 0_i64;
        for (index, node) in world.nodes.iter().enumerate() {
            let disk = &node.disk;
            // I2, also after what the buddy has taken and the region does not know of.
            let unknown = self.unknown(world, index);
            let free = disk.free();
            self.must(free >= unknown, || {
                format!("I2: region {index} has {free} free, and {unknown} were taken")
            });
            // What was written off, a buddy may have taken: it is not counted here.
            total += disk.held() as i64 + disk.sold() as i64;
            // Its buddy has lost its disk: what that had taken is not known, and nothing of this
            // is spent before that is settled.
            let unsettled = self.buddy[index]
                .is_some_and(|buddy| world.nodes[buddy.index()].incarnation != disk.buddy);
            total += if unsettled { 0 } else { free - unknown };
            for (other, peer) in disk.peers.iter().enumerate() {
                let there = &world.nodes[other];
                let back = there.disk.peers[index];
                if peer.incarnation == there.incarnation && back.incarnation == node.incarnation {
                    // I3, of each pair: nothing arrives that was not given.
                    self.must(back.received <= peer.given, || {
                        format!(
                            "I3: {other} received {} of {} from {index}",
                            back.received, peer.given
                        )
                    });
                    total += peer.given as i64 - back.received as i64;
                }
            }
        }
        let minted = self.minted as i64;
        if self.lost.is_empty() {
            self.must(total == minted, || format!("I3: {total} units of {minted}"));
        } else {
            self.must(total <= minted, || format!("I3: {total} units of {minted}"));
        }
    }

    /// What a buddy has taken and the region does not know of.
    fn unknown<T: Copy>(&self, world: &World<T>, index: usize) -> i64 {
        let Some(buddy) = self.buddy[index] else { return 0 };
        let (node, at) = (&world.nodes[index], &world.nodes[buddy.index()]);
        let Some(ward) = at.disk.wards.get(&Member::of(index)) else { return 0 };
        if ward.incarnation != node.incarnation || node.disk.buddy != at.incarnation {
            return 0;
        }
        ward.reclaimed as i64 - (node.disk.reclaimed - node.disk.reclaimed_before) as i64
    }

    /// A caller was told that units are sold.
    pub(crate) fn sold<T>(&mut self, world: &World<T>, node: Member, id: HoldId, units: u64) {
        let incarnation = world.nodes[node.index()].incarnation;
        self.told.insert((node, incarnation, id), units);
        let told: u64 = self.told.values().sum();
        let minted = self.minted;
        // I4, by the callers' own books.
        self.must(told <= minted, || format!("I4: {told} units of {minted} are sold"));
    }

    pub(crate) fn told_sold(&self) -> u64 {
        self.told.values().sum()
    }

    /// A caller was told that fewer than `units` are left. It asked at `since`.
    pub(crate) fn sold_out(&mut self, since: u64, units: u64) {
        let low = self.low[units as usize];
        self.must(low.is_some_and(|low| low >= since), || {
            format!("I8: {units} units were left all the time since {since} (last {low:?})")
        });
    }
}

/// Units that may be sold some time: free or on their way, by what each region knows.
pub(crate) fn left<T>(world: &World<T>) -> i64 {
    let cells = |index: usize| {
        let node = &world.nodes[index];
        node.part.as_ref().map_or(&node.disk, |part| part.cells())
    };
    let mut left = 0;
    for index in 0..world.nodes.len() {
        left += cells(index).free();
        for (other, peer) in cells(index).peers.iter().enumerate() {
            let (there, own) = (world.nodes[other].incarnation, world.nodes[index].incarnation);
            let back = cells(other).peers[index];
            if peer.incarnation == there && back.incarnation == own {
                left += peer.given as i64 - back.received as i64;
            }
        }
        for (ward, known) in &cells(index).wards {
            let of = cells(ward.index());
            if known.incarnation == world.nodes[ward.index()].incarnation
                && of.buddy == world.nodes[index].incarnation
            {
                left -= known.reclaimed as i64 - (of.reclaimed - of.reclaimed_before) as i64;
            }
        }
    }
    left
}
