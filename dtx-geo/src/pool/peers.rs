//! What a region knows of the others. Hints, all of it: nothing that is safe rests on them.

use std::time::Duration;

use dtx_core::time::Timestamp;

use crate::pool::Digest;

/// A region that was silent for so long is not counted on.
pub(crate) const SILENT: Duration = Duration::from_secs(2);

/// Units that were asked for and have not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pull {
    pub(crate) sent: Timestamp,
    pub(crate) need: u64,
}

/// What is known of one other region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct View {
    pub(crate) digest: Digest,
    /// The logical time of the digest: an older one that comes later is not taken.
    pub(crate) stamp: u64,
    pub(crate) heard: Option<Timestamp>,
    pub(crate) pull: Option<Pull>,
    /// When it was last told what it was given.
    pub(crate) told: Timestamp,
}

impl View {
    pub(crate) fn is_silent(&self, now: Timestamp) -> bool {
        self.heard.is_none_or(|heard| now.since(heard) > SILENT)
    }

    /// How likely it has `units` when a message gets there, judged by how old the digest is then
    /// and how fast its units go.
    pub(crate) fn chance(&self, units: u64, now: Timestamp, way: Duration) -> f64 {
        if self.is_silent(now) || self.digest.free < units {
            return 0.0;
        }
        let age = self.heard.map_or(Duration::ZERO, |heard| now.since(heard)) + way * 2;
        let gone = self.digest.rate as f64 / 1e3 * age.as_secs_f64();
        let left = (self.digest.free - units) as f64 + 1.0 - gone;
        let deviations = left / (gone + 1.0).sqrt();
        1.0 / (1.0 + (-1.702 * deviations).exp())
    }
}
