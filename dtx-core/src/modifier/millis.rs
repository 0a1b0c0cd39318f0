//! Durations as whole milliseconds, for serde.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The duration in milliseconds, rounded up, so that nothing becomes zero by rounding.
pub(crate) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    whole_millis(*value).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

pub(super) mod option {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, whole_millis};

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(whole_millis).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

pub(super) mod map {
    use std::collections::BTreeMap;

    use super::{Deserialize, Deserializer, Duration, Serializer, whole_millis};
    use crate::pattern::Phase;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &BTreeMap<Phase, Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(value.iter().map(|(phase, time)| (phase, whole_millis(*time))))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Phase, Duration>, D::Error> {
        let map = BTreeMap::<Phase, u64>::deserialize(deserializer)?;
        Ok(map.into_iter().map(|(phase, time)| (phase, Duration::from_millis(time))).collect())
    }
}
