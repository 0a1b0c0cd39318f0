//! How far regions are from each other, how much that varies, and what it costs.

mod estimate;
mod jitter;
mod layout;
mod live;
mod load;
mod map;
mod price;
mod published;
mod region;
mod routes;
mod shipped;
mod topology;
mod ways;
mod zones;

pub use estimate::{estimate_by_distance, great_circle_km};
pub use jitter::{Jitter, JitterMap, Rng};
pub use layout::layout;
pub use live::{LIVE_SAMPLES_MAX, LIVE_WINDOW, LiveMap, LivePair, Recorded};
pub use load::LoadError;
pub use map::{MAP_REGIONS_MAX, Origin, Rtt, RttMap};
pub use price::{Destination, Prices};
pub use published::{Protocol, Published};
pub use region::{Provider, ProviderError, RegionId};
pub use routes::Routes;
pub use shipped::Shipped;
pub use topology::{FailedLink, Topology};
pub use ways::Ways;
pub use zones::{ZONES_MAX, ZoneMap};
