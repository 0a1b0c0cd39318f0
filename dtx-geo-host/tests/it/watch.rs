//! The checker of invariants, fed with what lands in the stores of all regions.

use std::sync::{Arc, Mutex, MutexGuard};

use dtx_geo::{
    pool::{Cells, HoldId, Member, PoolMap, PoolSettings},
    sim::{Checker, Disk, changes, left},
};
use tokio::time::Instant;

#[derive(Debug)]
struct Seen {
    checker: Checker,
    disks: Vec<(Cells, u32)>,
}

/// Shared by the stores of all regions.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    origin: Instant,
}

fn disks(all: &[(Cells, u32)]) -> Vec<Disk<'_>> {
    all.iter().map(|(cells, incarnation)| Disk { cells, incarnation: *incarnation }).collect()
}

impl Watch {
    /// For a pool whose regions begin with these rows.
    pub(crate) fn new(settings: PoolSettings, map: &PoolMap, begin: Vec<Cells>) -> Self {
        let minted = begin.iter().map(Cells::minted).sum();
        let checker = Checker::new(settings, map, minted);
        let disks = begin.into_iter().map(|cells| (cells, 0)).collect();
        let seen = Arc::new(Mutex::new(Seen { checker, disks }));
        Self { seen, origin: Instant::now() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics with it")
    }

    pub(crate) fn now(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64
    }

    /// Rows of a region are durable as they are here.
    pub(crate) fn landed(&self, node: Member, cells: Cells) {
        let now = self.now();
        let mut seen = self.seen();
        let Seen { checker, disks: all } = &mut *seen;
        // As it was up to now.
        checker.left(now, left(&disks(all)));
        let at = &mut all[usize::from(node.0)].0;
        let writes = changes(at, &cells);
        *at = cells;
        let disks = disks(all);
        checker.landed(&disks, node, &writes);
        checker.together(&disks);
        checker.left(now, left(&disks));
        let broken = checker.broken().map(str::to_owned);
        drop(seen);
        assert_eq!(broken, None);
    }

    /// A region begins again with nothing.
    pub(crate) fn lost_disk(&self, node: Member) {
        let mut seen = self.seen();
        let Seen { checker, disks: all } = &mut *seen;
        checker.lost_disk();
        let count = all.len();
        let at = &mut all[usize::from(node.0)];
        *at = (Cells::new(count), at.1 + 1);
    }

    pub(crate) fn sold(&self, at: Member, id: HoldId, units: u64) {
        let mut seen = self.seen();
        seen.checker.sold(at, id, units);
        let broken = seen.checker.broken().map(str::to_owned);
        drop(seen);
        assert_eq!(broken, None);
    }

    pub(crate) fn sold_out(&self, since: u64, units: u64) {
        let now = self.now();
        let mut seen = self.seen();
        let Seen { checker, disks: all } = &mut *seen;
        checker.left(now, left(&disks(all)));
        checker.sold_out(since, units);
        let broken = checker.broken().map(str::to_owned);
        drop(seen);
        assert_eq!(broken, None);
    }

    /// Free, held and sold units of all regions, and how many of what is left are on their way.
    pub(crate) fn sums(&self) -> Sums {
        let seen = self.seen();
        let all = &seen.disks;
        let sum = |of: fn(&Cells) -> u64| all.iter().map(|(cells, _)| of(cells)).sum::<u64>();
        let free: i64 = all.iter().map(|(cells, _)| cells.free()).sum();
        let moving = left(&disks(all)) - free;
        Sums { free, held: sum(Cells::held), sold: sum(Cells::sold), moving }
    }

    pub(crate) fn cells(&self, node: Member) -> Cells {
        self.seen().disks[usize::from(node.0)].0.clone()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) free: i64,
    pub(crate) held: u64,
    pub(crate) sold: u64,
    pub(crate) moving: i64,
}
