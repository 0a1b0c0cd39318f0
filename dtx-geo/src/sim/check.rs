//! What must hold of a pool whenever something has landed: the invariants I1 to I8.

use std::collections::BTreeMap;

use crate::pool::{Cells, Grants, Hold, HoldId, HoldState, Member, PoolMap, PoolSettings, Write};

/// The most units that one reserve may ask for where a [`Checker`] watches.
pub const CHECKED_UNITS_MAX: usize = 64;

/// What is durable of one region.
#[derive(Clone, Copy, Debug)]
pub struct Disk<'a> {
    /// Its rows.
    pub cells: &'a Cells,
    /// How often it has lost its disk.
    pub incarnation: u32,
}

/// Watches what lands in all regions of a pool, and what callers are told.
#[derive(Debug)]
pub struct Checker {
    settings: PoolSettings,
    buddy: Vec<Option<Member>>,
    minted: u64,
    /// The given cells of each region as they last landed, with the incarnations.
    given: Vec<Vec<(u32, u64)>>,
    own: Vec<u32>,
    holds: BTreeMap<(Member, u32, HoldId), Hold>,
    /// Units of holds that landed as sold, also of those that are forgotten since.
    sold: BTreeMap<(Member, u32, HoldId), u64>,
    /// When fewer than so many units were last left in all.
    low: [Option<u64>; CHECKED_UNITS_MAX + 1],
    /// Whether units may be missing, because a disk was lost.
    is_lossy: bool,
    /// Units that callers were told are sold, by hold.
    told: BTreeMap<(Member, u32, HoldId), u64>,
    broken: Option<String>,
}

impl Checker {
    /// For a pool with these settings, into which `minted` units were brought.
    pub fn new(settings: PoolSettings, map: &PoolMap, minted: u64) -> Self {
        let count = map.count();
        let leased = matches!(settings.grants, Grants::Leased { .. });
        let buddy = |index| map.nearest(Member::of(index)).filter(|_| leased);
        Self {
            settings,
            buddy: (0..count).map(buddy).collect(),
            minted,
            given: vec![vec![(0, 0); count]; count],
            own: vec![0; count],
            holds: BTreeMap::new(),
            sold: BTreeMap::new(),
            low: [None; CHECKED_UNITS_MAX + 1],
            is_lossy: false,
            told: BTreeMap::new(),
            broken: None,
        }
    }

    /// What is broken, once something is.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// From now on units may be missing: a region has lost its disk.
    pub fn lost_disk(&mut self) {
        self.is_lossy = true;
    }

    #[cfg(test)]
    pub(crate) fn break_with(&mut self, says: String) {
        self.broken = Some(says);
    }

    fn must(&mut self, holds: bool, says: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(says());
        }
    }

    /// So many units may be sold some time, by [`left`]. Called after every change.
    pub fn left(&mut self, now: u64, left: i64) {
        for low in self.low.iter_mut().skip(usize::try_from(left.max(0)).unwrap_or(0) + 1) {
            *low = Some(now);
        }
    }

    /// These writes have landed in a region; `disks` are as they are afterwards.
    pub fn landed(&mut self, disks: &[Disk<'_>], node: Member, writes: &[Write]) {
        let incarnation = disks[node.index()].incarnation;
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
            let peers = disks[node.index()].cells.peers.iter();
            self.given[node.index()] = peers.map(|peer| (peer.incarnation, peer.given)).collect();
        }
    }

    fn held(&mut self, key: (Member, u32, HoldId), hold: Hold) {
        // I5: a hold ends once.
        let before = self.holds.insert(key, hold);
        let ended = before.is_some_and(|before| !before.state.is_held());
        self.must(!ended, || format!("I5: {key:?} had ended: {before:?}, {hold:?}"));
        if hold.state == HoldState::Sold {
            self.sold.insert(key, hold.units);
        }
        // I6: its life is bounded, unless somebody has pinned it.
        let life = hold.until.since(hold.created);
        let most = self.settings.hold_total_max;
        self.must(hold.state != HoldState::Open || life <= most, || {
            format!("I6: {key:?} lives for {life:?}")
        });
    }

    /// After what has landed: the regions together.
    pub fn together(&mut self, disks: &[Disk<'_>]) {
        let mut total = 0_i64;
        for (index, node) in disks.iter().enumerate() {
            let disk = node.cells;
            // I2, also after what the buddy has taken and the region does not know of.
            let unknown = self.unknown(disks, index);
            let free = disk.free();
            self.must(free >= unknown, || {
                format!("I2: region {index} has {free} free, and {unknown} were taken")
            });
            // What was written off, a buddy may have taken: it is not counted here.
            total += disk.held() as i64 + disk.sold() as i64;
            // I5: of an id there is one hold that a region answers for.
            let twice = disk.routed.keys().find(|id| disk.holds.get(**id).is_some());
            self.must(twice.is_none(), || {
                format!("I5: region {index} has {twice:?}, and the way to another of it")
            });
            // Its buddy has lost its disk: what that had taken is not known, and nothing of this
            // is spent before that is settled.
            let unsettled = self.buddy[index]
                .is_some_and(|buddy| disks[buddy.index()].incarnation != disk.buddy);
            total += if unsettled { 0 } else { free - unknown };
            for (other, peer) in disk.peers.iter().enumerate() {
                let there = disks[other];
                let back = there.cells.peers[index];
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
        if !self.is_lossy {
            self.must(total == minted, || format!("I3: {total} units of {minted}"));
        } else {
            self.must(total <= minted, || format!("I3: {total} units of {minted}"));
        }
    }

    /// What a buddy has taken and the region does not know of.
    fn unknown(&self, disks: &[Disk<'_>], index: usize) -> i64 {
        let Some(buddy) = self.buddy[index] else { return 0 };
        let (node, at) = (disks[index], disks[buddy.index()]);
        let Some(ward) = at.cells.wards.get(&Member::of(index)) else { return 0 };
        if ward.incarnation != node.incarnation || node.cells.buddy != at.incarnation {
            return 0;
        }
        ward.reclaimed as i64 - (node.cells.reclaimed - node.cells.reclaimed_before) as i64
    }

    /// A caller was told that the units of a hold are sold, and in which region it is. That may
    /// have lost its disk while the answer was on its way.
    pub fn sold(&mut self, at: Member, id: HoldId, units: u64) {
        let is_sold = |of: &u32| self.sold.get(&(at, *of, id)) == Some(&units);
        let Some(incarnation) = (0..=self.own[at.index()]).rev().find(is_sold) else {
            self.must(false, || format!("I4: {units} units of {id:?} are not sold in {at:?}"));
            return;
        };
        self.told.insert((at, incarnation, id), units);
        let told: u64 = self.told.values().sum();
        let minted = self.minted;
        // I4, by the callers' own books.
        self.must(told <= minted, || format!("I4: {told} units of {minted} are sold"));
    }

    /// Units that callers were told are sold.
    pub fn told_sold(&self) -> u64 {
        self.told.values().sum()
    }

    /// A caller was told that fewer than `units` are left. It asked at `since`.
    pub fn sold_out(&mut self, since: u64, units: u64) {
        let low = self.low[units as usize];
        self.must(low.is_some_and(|low| low >= since), || {
            format!("I8: {units} units were left all the time since {since} (last {low:?})")
        });
    }
}

/// Units that may be sold some time: free or on their way.
pub fn left(disks: &[Disk<'_>]) -> i64 {
    let mut left = 0;
    for (index, disk) in disks.iter().enumerate() {
        left += disk.cells.free();
        for (other, peer) in disk.cells.peers.iter().enumerate() {
            let back = disks[other].cells.peers[index];
            if peer.incarnation == disks[other].incarnation && back.incarnation == disk.incarnation
            {
                left += peer.given as i64 - back.received as i64;
            }
        }
        for (ward, known) in &disk.cells.wards {
            let of = disks[ward.index()];
            if known.incarnation == of.incarnation && of.cells.buddy == disk.incarnation {
                left -= known.reclaimed as i64
                    - (of.cells.reclaimed - of.cells.reclaimed_before) as i64;
            }
        }
    }
    left
}

/// What has changed between two moments of one region, of what a [`Checker`] looks at.
pub fn changes(before: &Cells, after: &Cells) -> Vec<Write> {
    let mut writes = Vec::new();
    for (index, (old, new)) in before.peers.iter().zip(&after.peers).enumerate() {
        if old != new {
            writes.push(Write::Peer(Member::of(index), *new));
        }
    }
    for (id, hold) in after.holds.iter() {
        if before.holds.get(*id) != Some(hold) {
            writes.push(Write::Hold(*id, *hold));
        }
    }
    let gone = before.holds.iter().filter(|(id, _)| after.holds.get(**id).is_none());
    writes.extend(gone.map(|(id, _)| Write::Forget(*id)));
    writes
}
