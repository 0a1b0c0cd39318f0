//! Holds, and the table of them.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::{BuildHasherDefault, Hash, Hasher},
    time::Duration,
};

use dtx_core::{ids::mix, time::Timestamp};
use serde::{Deserialize, Serialize};

/// The id of a hold. Whoever reserves gives it: the same id is the same hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HoldId(pub u128);

/// Where a hold is in its life. It ends once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HoldState {
    /// Its units are taken out, and not sold.
    Open,
    /// As `Open`, and it does not end by itself any more.
    Pinned,
    /// Its units are sold.
    Sold,
    /// Its units are free again, because somebody said so.
    Cancelled,
    /// Its units are free again, because its time was over.
    Expired,
}

impl HoldState {
    /// Whether its units are taken out and not sold.
    pub(crate) fn is_held(self) -> bool {
        matches!(self, Self::Open | Self::Pinned)
    }
}

/// A claim on units, on the clock of the region that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hold {
    /// How many.
    pub units: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself, while open; when it is forgotten, afterwards. Never while it is
    /// pinned.
    pub until: Timestamp,
    /// How long it was made for at last: an extension is at most half of it.
    pub span: Duration,
    /// How often it was extended.
    pub extensions: u32,
    /// Where it is in its life.
    pub state: HoldState,
}

/// Ids are spread by a fixed function: the same table has the same order on every machine, and
/// ids are not chosen by strangers.
#[derive(Clone, Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0 ^ u64::from(*byte));
        }
    }
    fn write_u128(&mut self, id: u128) {
        self.0 = mix(id as u64 ^ mix((id >> 64) as u64));
    }
}

/// The holds of a region, with room for all that there may be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds {
    table: HashMap<HoldId, Hold, BuildHasherDefault<IdHasher>>,
    /// When to look at which; what does not fit any more is passed over.
    due: BinaryHeap<Reverse<(Timestamp, HoldId)>>,
    held: u64,
}

impl Holds {
    /// Takes the room at once, so that no reserve has to.
    pub(crate) fn reserve_room(&mut self, holds: usize) {
        self.table.reserve(holds.saturating_sub(self.table.len()));
        // A hold stands here for its expiry, each extension, and the end of its memory.
        self.due.reserve((2 * holds).saturating_sub(self.due.len()));
    }

    pub(crate) fn get(&self, id: HoldId) -> Option<&Hold> {
        self.table.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HoldId, &Hold)> {
        self.table.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Units of open holds.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    pub(crate) fn set(&mut self, id: HoldId, hold: Hold) {
        self.remove(id);
        if hold.state.is_held() {
            self.held += hold.units;
        }
        self.table.insert(id, hold);
        if hold.state != HoldState::Pinned {
            self.due.push(Reverse((hold.until, id)));
        }
    }

    pub(crate) fn remove(&mut self, id: HoldId) {
        if let Some(old) = self.table.remove(&id)
            && old.state.is_held()
        {
            self.held -= old.units;
        }
    }

    /// The next hold whose time has come.
    pub(crate) fn next_due(&mut self, now: Timestamp) -> Option<(HoldId, Hold)> {
        while let Some(Reverse((at, id))) = self.due.peek().copied() {
            if at > now {
                return None;
            }
            self.due.pop();
            if let Some(hold) = self.table.get(&id)
                && hold.until == at
            {
                return Some((id, *hold));
            }
        }
        None
    }
}

impl PartialEq for Holds {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

impl Eq for Holds {}

impl Hash for Holds {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The order of a table is no part of what it says.
        let mut all: Vec<_> = self.table.iter().collect();
        all.sort_unstable_by_key(|(id, _)| **id);
        all.hash(state);
    }
}
