//! Plain logs beside the store: one that is synced and loses nothing, and one that is not synced
//! and must lose.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

/// Every so many lines of the unsynced log the synced one gets a line.
const SYNCED_EVERY: usize = 16;

const SYNCED: &str = "synced.log";
const UNSYNCED: &str = "unsynced.log";

/// The logs, and how many lines of each were acknowledged.
pub(crate) struct Logs {
    synced: File,
    unsynced: File,
    pub(crate) counts: Counts,
}

/// How many lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) synced: usize,
    pub(crate) unsynced: usize,
}

impl Logs {
    pub(crate) fn new(folder: &Path) -> Self {
        let create = |path: PathBuf| File::create(path).expect("the log is made");
        let (synced, unsynced) = (create(folder.join(SYNCED)), create(folder.join(UNSYNCED)));
        // The files themselves are there whatever happens.
        synced.sync_all().expect("it is synced");
        unsynced.sync_all().expect("it is synced");
        File::open(folder).and_then(|folder| folder.sync_all()).expect("it is synced");
        Self { synced, unsynced, counts: Counts::default() }
    }

    /// One line more. A disk that is gone takes none.
    pub(crate) fn add(&mut self) {
        if self.unsynced.write_all(line(self.counts.unsynced).as_bytes()).is_ok() {
            self.counts.unsynced += 1;
        }
        let is_turn = self.counts.unsynced.is_multiple_of(SYNCED_EVERY);
        if is_turn
            && self.synced.write_all(line(self.counts.synced).as_bytes()).is_ok()
            && self.synced.sync_data().is_ok()
        {
            self.counts.synced += 1;
        }
    }
}

fn line(number: usize) -> String {
    format!("{number:09} was acknowledged\n")
}

/// How many lines are there, from the first one on.
pub(crate) fn found(folder: &Path) -> Counts {
    let whole = |name: &str| {
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        let mut rest = bytes.as_slice();
        let mut count = 0;
        while let Some(after) = rest.strip_prefix(line(count).as_bytes()) {
            rest = after;
            count += 1;
        }
        count
    };
    Counts { synced: whole(SYNCED), unsynced: whole(UNSYNCED) }
}
