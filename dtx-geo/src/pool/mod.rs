//! Regional pools: one resource whose units are shared out among regions.
//!
//! Each region has its own part and sells from it alone: a reserve at home asks nobody. Units
//! move between regions as cumulative totals that only their giver changes, so that messages may
//! be lost, doubled and late. `docs/geo-pools.md` says what holds and why, and when not to use
//! this.
//!
//! [`PoolRegion`] is one region's part of one pool. It is pure: it takes an [`Input`] with the
//! region's own clock and fills a [`Step`] with durable writes and with what may leave once these
//! writes, and all before them, have landed.

mod bug;
mod cells;
mod certificate;
mod claims;
mod codec;
mod demand;
mod hold;
mod lease;
mod life;
mod message;
mod overflow;
mod peers;
mod rebalance;
mod region;
mod settings;
mod targets;

pub(crate) use bug::Bug;
pub use cells::{Cells, Peer, Route, Ward, Write};
pub use codec::{
    Kept, MESSAGE_BYTES_MAX, NUMBER_MAX, Parcel, PoolCodecError, ROW_BYTES_MAX, RowName,
};
pub use demand::Demand;
pub use hold::{Hold, HoldId, HoldState};
pub use message::{Body, Change, Claim, Count, Digest, Message, Report};
pub use region::{Answer, Effect, Input, PoolRegion, Step};
pub use settings::{
    Grants, Member, Members, POOL_REGIONS_MAX, PoolMap, PoolSettings, PoolSettingsError,
};
pub use targets::{Need, targets};
