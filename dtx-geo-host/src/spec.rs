//! Which region of which pool.

use std::sync::Arc;

use dtx_core::{
    ids::mix,
    name::{NameError, ParticipantName, RegionName},
    store::{Scope, ScopeError},
};
use dtx_geo::{
    model::RttMap,
    pool::{Member, Members, PoolMap, PoolSettings, PoolSettingsError},
};
use thiserror::Error;

/// One region of one pool: the same in every process, but for the own region.
#[derive(Clone, Debug)]
pub struct PoolSpec {
    pub(crate) name: String,
    pub(crate) regions: Vec<RegionName>,
    pub(crate) map: Arc<PoolMap>,
    pub(crate) own: Member,
    pub(crate) incarnation: u32,
    pub(crate) settings: PoolSettings,
    pub(crate) scope: Scope,
    /// Under which names the regions get each other's messages.
    pub(crate) addresses: Vec<ParticipantName>,
}

/// A region of a pool that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PoolSpecError {
    /// The pool and a region together make no name: at most 64 bytes of `a-z 0-9 - _`.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The map has no region of this name.
    #[error("the map has no region {0:?}")]
    Region(String),
    /// The map or the settings cannot be.
    #[error(transparent)]
    Settings(#[from] PoolSettingsError),
    /// The names make no scope of a store.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

impl PoolSpec {
    /// Region `own` of pool `name`, whose regions are those of the map, in its order. Name, map
    /// and settings are the same in every region.
    ///
    /// # Errors
    /// [`PoolSpecError`].
    pub fn new(
        name: &str,
        map: &RttMap,
        own: &str,
        settings: PoolSettings,
    ) -> Result<Self, PoolSpecError> {
        settings.check()?;
        let pool_map = Arc::new(PoolMap::new(map)?);
        let regions = map.regions().to_vec();
        let index = regions.iter().position(|region| region.as_str() == own);
        let index = index.and_then(|index| u8::try_from(index).ok());
        let own = Member(index.ok_or_else(|| PoolSpecError::Region(own.to_owned()))?);
        let scope = Scope::new(format!("pool/{name}/{}", regions[usize::from(own.0)]))?;
        let addresses = regions.iter().map(|region| {
            ParticipantName::new(format!("{name}-pool-{region}")).map_err(PoolSpecError::from)
        });
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        let name = name.to_owned();
        Ok(Self { name, regions, map: pool_map, own, incarnation: 0, settings, scope, addresses })
    }

    /// The same region after it has lost its disk for the `incarnation`th time, with nothing. It
    /// is 0 at first.
    #[must_use]
    pub fn incarnation(mut self, incarnation: u32) -> Self {
        self.incarnation = incarnation;
        self
    }

    /// The name of the pool.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of a region.
    pub fn region(&self, member: Member) -> Option<&RegionName> {
        self.regions.get(usize::from(member.0))
    }

    /// The names of some regions, with commas between.
    pub(crate) fn names(&self, members: Members) -> String {
        let names = members.iter().filter_map(|member| self.region(member));
        names.map(RegionName::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The same number in all regions of this pool, and in no other pool.
    pub(crate) fn layout(&self) -> u64 {
        let names = self.regions.iter().map(RegionName::as_str);
        let mut layout = 0;
        for name in std::iter::once(self.name.as_str()).chain(names) {
            for byte in name.bytes() {
                layout = mix(layout ^ u64::from(byte));
            }
            layout = mix(layout ^ u64::MAX);
        }
        layout
    }

    /// As [`layout`](Self::layout), and another one for each region.
    pub(crate) fn rows_layout(&self) -> u64 {
        mix(self.layout() ^ u64::from(self.own.0))
    }
}

#[cfg(test)]
mod tests {
    use dtx_geo::model::{Provider, Shipped};

    use super::*;

    fn spec(name: &str, regions: &[&str], own: &str) -> Result<PoolSpec, PoolSpecError> {
        let map = Shipped::rtt(Provider::Aws).select(regions).expect("they are in the map");
        PoolSpec::new(name, &map, own, PoolSettings::default())
    }

    #[test]
    fn a_layout_is_that_of_a_pool_and_the_order_of_its_regions() {
        let regions = ["us-east-1", "eu-west-1"];
        let one = spec("cds", &regions, "us-east-1").expect("it can be");
        let other = spec("cds", &regions, "eu-west-1").expect("it can be");
        assert_eq!(one.layout(), other.layout());
        assert_ne!(one.rows_layout(), other.rows_layout());
        let turned = spec("cds", &["eu-west-1", "us-east-1"], "us-east-1").expect("it can be");
        assert_ne!(one.layout(), turned.layout());
        assert_ne!(one.layout(), spec("cd", &regions, "us-east-1").expect("it can be").layout());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let missing = spec("cds", &["us-east-1"], "eu-west-1");
        assert_eq!(missing.err(), Some(PoolSpecError::Region("eu-west-1".into())));
        // With `-pool-us-east-1` it has 64 bytes, and one more.
        assert!(spec(&"a".repeat(49), &["us-east-1"], "us-east-1").is_ok());
        let long = spec(&"a".repeat(50), &["us-east-1"], "us-east-1");
        assert!(matches!(long, Err(PoolSpecError::Name(_))), "{long:?}");
        let settings = PoolSettings { waiting_max: 0, ..PoolSettings::default() };
        let map = Shipped::rtt(Provider::Aws).select(&["us-east-1"]).expect("it is in the map");
        let bad = PoolSpec::new("cds", &map, "us-east-1", settings);
        assert!(matches!(bad, Err(PoolSpecError::Settings(_))), "{bad:?}");
    }
}
